"""A head for encoders whose vectors already are tag probabilities."""

from __future__ import annotations

import numpy as np

from eno.models.base import BaseHead
from eno.models.training_data import TrainingData, chunks, take
from eno.models.types import Vectors


class IdentityHead(BaseHead):
    """Return vectors unchanged: the probabilities of a network that predicts tags itself, such as musicnn."""

    name = "probabilities"
    _is_cross_fitted = False
    _shape = ()  # there is nothing to fit, so it can always be saved

    def __init__(self, *, device: str = "auto") -> None:
        self.device = device

    def _fit(self, data: TrainingData) -> None:
        if data.shape != data.Y.shape[1:]:
            raise ValueError(
                f"X has vectors of shape {data.shape}; expected a probability for each label, {data.Y.shape[1:]}."
            )
        for rows in chunks(len(data.X)):
            values = take(data.X, rows)
            if not ((values >= 0) & (values <= 1)).all():
                raise ValueError("X has values outside 0 … 1, which are not probabilities.")

    def _check(self, X: Vectors) -> None:
        if len(X.shape) != 2:
            raise ValueError(f"X has the shape {X.shape}; expected probabilities of the shape (n, k).")

    def _predict(self, X: np.ndarray) -> np.ndarray:
        return X
