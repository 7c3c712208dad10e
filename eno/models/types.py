"""Types of vectors, labels and options, and the interface of heads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, Self, TypeAlias

import numpy as np
from pydantic import Field
from scipy import sparse

from eno.models.label_weights import SampleWeight

if TYPE_CHECKING:
    from eno.models.folds import OutOfFold

# Options with their valid values: settings are checked against the signatures of heads.
Count: TypeAlias = Annotated[int, Field(ge=1)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]
NonNegative: TypeAlias = Annotated[float, Field(ge=0)]
Share: TypeAlias = Annotated[float, Field(ge=0, lt=1)]

Labels: TypeAlias = np.ndarray | sparse.sparray | sparse.spmatrix
"""Multi-hot labels [shape=(n, k)], dense or sparse."""


class RowSource(Protocol):
    """Vectors that need not be in memory: indexing with rows returns an array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n, dim)`` or ``(n, layers, dim)``."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


Vectors: TypeAlias = np.ndarray | RowSource
"""Embeddings of tracks [shape=(n, dim) or (n, layers, dim)]: an array, possibly memory-mapped, a view of a store
(`eno.embeddings.store.embedding_store.EmbeddingStore.view`), or windows (`eno.models.bags.Bags`)."""


class Head(Protocol):
    """A multi-label classifier of vectors.

    `on_progress` is called with the number of steps done and in total while the head is fitted; set it before `fit`.
    `out_of_fold` has predictions for the training rows after a `fit` without validation rows.
    """

    on_progress: Callable[[int, int], None] | None
    out_of_fold: OutOfFold | None

    @property
    def takes_windows(self) -> bool:
        """Whether it takes the windows of a track (`eno.models.bags.Bags`) instead of their mean."""

    def fit(
        self,
        X: Vectors,
        Y: Labels,
        X_val: Vectors | None = None,
        Y_val: Labels | None = None,
        *,
        groups: np.ndarray | None = None,
        sample_weight: SampleWeight | None = None,
        sample_weight_val: SampleWeight | None = None,
    ) -> Self:
        """Fit the head.

        Parameters
        ----------
        X : Vectors [shape=(n, dim) or (n, layers, dim)]
        Y : np.ndarray or sparse array of scipy [shape=(n, k)]
            Targets from 0 to 1; those of at least 0.5 count as positives. For a label with only positives or only
            negatives, the base rate is predicted.
        X_val, Y_val : optional
            Validation rows, for model selection and early stopping. By default the training rows are divided into five
            folds: options are chosen, and `out_of_fold` is predicted, by heads that are fitted on four and validated on
            the fifth. The head that is kept has learned from all rows. Of more than 20,000 rows, a tenth is held out
            once instead, and then learned from as well.
        groups : np.ndarray [shape=(n,)], optional
            Group of each training row, such as its artist. Groups stay whole in the folds. By default groups of rows
            with similar vectors (`eno.models.training_data.similar_rows`).
        sample_weight : np.ndarray [shape=(n,) or (n, k)] or LabelWeights, optional
            Weights of the rows, or of every label in them: 0 where a label is not known.
        sample_weight_val : optional
            The same for the validation rows, where only known and unknown labels are told apart.
        """

    def predict_proba(self, X: Vectors) -> np.ndarray:
        """Return the probability of every label [shape=(n, k), dtype=float32]; raises NotFitted before `fit`."""

    def save(self, folder: Path | str) -> None:
        """Write the fitted head into a folder, without pickle."""

    @classmethod
    def load(cls, folder: Path | str, *, device: str = "auto") -> Self:
        """Load a saved head onto `device` (see `eno.devices.resolve_device`)."""
