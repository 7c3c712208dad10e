"""A head for vectors that are probabilities already."""

from __future__ import annotations

from typing import Self

import numpy as np

from eno.models.base import BaseHead
from eno.models.training_data import check_labelled, chunks, take
from eno.models.types import Labels, Vectors


class IdentityHead(BaseHead):
    """Returns vectors as they are: those of a network that ends in tag probabilities, such as musicnn's own tagger.

    Parameters
    ----------
    device : str
        Has no effect.
    """

    name = "probabilities"
    _shape = ()  # there is nothing to fit, so it can always be saved

    def __init__(self, *, device: str = "auto") -> None:
        self.device = device

    def fit(
        self,
        X: Vectors,
        Y: Labels,
        X_val: Vectors | None = None,
        Y_val: Labels | None = None,
        *,
        groups: np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
    ) -> Self:
        """Check that vectors are probabilities of these labels; see `eno.models.Head.fit`.

        Raises
        ------
        ValueError
            They are not.
        """
        X, labels = check_labelled(X, Y)
        if tuple(X.shape) != labels.shape:
            raise ValueError(f"X has the shape {X.shape}; expected a probability for each label, {labels.shape}.")
        for rows in chunks(len(X)):
            values = take(X, rows)
            if not ((values >= 0) & (values <= 1)).all():
                raise ValueError("X has values outside 0 … 1, which are not probabilities.")
        return self

    def predict_proba(self, X: Vectors) -> np.ndarray:
        """Return the vectors [shape=(n, k), dtype=float32]."""
        if len(X.shape) != 2:
            raise ValueError(f"X has the shape {X.shape}; expected probabilities of the shape (n, k).")
        return take(X, slice(None))
