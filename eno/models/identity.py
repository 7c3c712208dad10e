"""A head for vectors that are probabilities already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

import numpy as np

from eno.errors import ModelError
from eno.files import write_json
from eno.models.base import Options, check_labelled, chunks, take
from eno.models.heads import HEAD_FILE
from eno.models.types import Labels, Vectors


class IdentityHead(Options):
    """Pass vectors on unchanged: those of a network that ends in tag probabilities, such as musicnn's own tagger.

    Parameters
    ----------
    device : str
        Has no effect.
    """

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
        """Check that there is a probability for every label; there is nothing to fit. See `eno.models.Head.fit`.

        Raises
        ------
        ValueError
            The vectors are not probabilities of these labels.
        """
        X, labels = check_labelled(X, Y)
        if tuple(X.shape) != labels.shape:
            raise ValueError(f"X has the shape {X.shape}; expected a probability for each label, {labels.shape}.")
        for rows in chunks(len(X)):
            values = take(X, rows)
            if not ((values >= 0) & (values <= 1)).all():
                raise ValueError("X holds values outside 0 … 1, which are not probabilities.")
        return self

    def predict_proba(self, X: Vectors) -> np.ndarray:
        """Return the vectors [shape=(n, k), dtype=float32]; see `eno.models.Head.predict_proba`."""
        if len(X.shape) != 2:
            raise ValueError(f"X has the shape {X.shape}; expected probabilities of the shape (n, k).")
        return take(X, slice(None))

    def save(self, folder: Path | str) -> None:
        """Write ``head.json``."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / HEAD_FILE, {"head": "probabilities", "options": self._saved_options()})

    @classmethod
    def load(cls, folder: Path | str, *, device: str = "auto") -> Self:
        """Read what `save` wrote."""
        try:
            return cls(**json.loads((Path(folder) / HEAD_FILE).read_text(encoding="utf-8"))["options"], device=device)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{folder}: the saved head is damaged ({error!r}). Train it again.") from error
