"""What heads take and return, and the methods that every head has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Self, TypeAlias

import numpy as np
from scipy import sparse

Labels: TypeAlias = np.ndarray | sparse.sparray | sparse.spmatrix
"""Multi-hot labels [shape=(n, k)], dense or sparse."""


class RowSource(Protocol):
    """Vectors that need not be in memory; indexing with rows returns an array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n, dim)`` or ``(n, layers, dim)``."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


Vectors: TypeAlias = np.ndarray | RowSource
"""Vectors of tracks [shape=(n, dim) or (n, layers, dim)]: an array, memory-mapped or not; a view of a store
(`eno.embeddings.store.embedding_store.EmbeddingStore.view`); or windows (`eno.models.bags.Bags`)."""


class Head(Protocol):
    """A multi-label classifier of vectors.

    Attributes
    ----------
    on_progress : callable or None
        Called with the number of steps done and in total while the head is fitted; set it before `fit`.
    """

    on_progress: Callable[[int, int], None] | None

    @property
    def takes_windows(self) -> bool:
        """Whether it takes the single windows of a track (`eno.models.bags.Bags`) instead of their mean."""

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
        """Fit the head.

        Parameters
        ----------
        X : Vectors [shape=(n, dim) or (n, layers, dim)]
            Training vectors.
        Y : np.ndarray or sparse array of scipy [shape=(n, k)]
            Labels, 0 to 1. A label with only positives or only negatives is predicted by its base rate.
        X_val, Y_val : optional
            Validation rows, for model selection and early stopping. Without them a tenth of the training rows is held
            out.
        groups : np.ndarray [shape=(n,)], optional
            Group of each training row, such as its artist. Whole groups are held out.
        sample_weight : np.ndarray [shape=(n,)], optional
            Weight of each training row.
        """

    def predict_proba(self, X: Vectors) -> np.ndarray:
        """Return the probability of every label.

        Returns
        -------
        np.ndarray [shape=(n, k), dtype=float32]
            Each in 0 … 1.

        Raises
        ------
        NotFitted
            `fit` was not called yet.
        """

    def save(self, folder: Path | str) -> None:
        """Write the fitted head into a folder, without pickle."""

    @classmethod
    def load(cls, folder: Path | str, *, device: str = "auto") -> Self:
        """Read what `save` wrote. `device`: see `eno.devices.resolve_device`."""
