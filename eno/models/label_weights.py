"""Weights of single labels of rows: of labels that are not known, and of users' corrections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import sparse


@dataclass(frozen=True, eq=False)
class LabelWeights:
    """The weight of every label in every row, compact for hundreds of thousands of rows and a thousand labels.

    Labels that share their weights are a family: a family that is not known in a row, such as the descriptors of an
    album that nobody described, has weight 0 there.

    Attributes
    ----------
    rows : np.ndarray [shape=(n, families), dtype=float32]
        Weight of each family in each row.
    family : np.ndarray [shape=(k,), dtype=int64]
        Family of each label.
    single : scipy.sparse.csr_array [shape=(n, k), dtype=float32]
        What is added to that for single labels.

    Examples
    --------
    >>> weights = LabelWeights.of_families(np.array([[1, 1], [1, 0]]), np.array([0, 0, 1]))
    >>> weights.dense().tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]
    """

    rows: np.ndarray
    family: np.ndarray
    single: sparse.csr_array

    @classmethod
    def of(cls, weights: SampleWeight | None, shape: tuple[int, int]) -> LabelWeights:
        """Check weights for labels of a shape (n, k): of rows (n,), of labels (n, k), or all 1.

        Raises a ValueError if the shape is another, a weight is negative or not finite, or all are 0.
        """
        if isinstance(weights, LabelWeights):
            found = weights
        else:
            values = np.ones(shape[0], np.float32) if weights is None else np.asarray(weights, np.float32)
            if values.shape == shape and values.ndim == 2:
                found = cls.of_families(values, np.arange(shape[1]))
            elif values.shape == shape[:1]:
                found = cls.of_families(values[:, np.newaxis], np.zeros(shape[1], np.int64))
            else:
                raise ValueError(
                    f"sample_weight has the shape {values.shape}; expected ({shape[0]},), one value per row, or "
                    f"{shape}, one per label."
                )
        if found.shape != shape:
            raise ValueError(f"sample_weight is for labels of the shape {found.shape}; expected {shape}.")
        lowest = min(found.rows.min(initial=0), found.corrected.data.min(initial=0))
        if not np.isfinite(found.rows).all() or not np.isfinite(found.single.data).all() or lowest < 0:
            raise ValueError("sample_weight has values that are negative or not finite.")
        return found

    @classmethod
    def of_families(cls, rows: np.ndarray, family: np.ndarray) -> LabelWeights:
        """Return the weights of families [shape=(n, families)] of which each label is one [shape=(k,)]."""
        shape = len(rows), len(family)
        return cls(
            np.asarray(rows, np.float32), np.asarray(family, np.int64), sparse.csr_array(shape, dtype=np.float32)
        )

    @classmethod
    def joined(cls, parts: Sequence[LabelWeights]) -> LabelWeights:
        """Return the rows of several weights of the same labels, one after the other."""
        if any(one.family.tolist() != parts[0].family.tolist() for one in parts):
            dense = [np.broadcast_to(one.dense(), one.shape) for one in parts]
            return cls.of_families(np.concatenate(dense), np.arange(parts[0].shape[1]))
        single = sparse.csr_array(sparse.vstack([one.single for one in parts], format="csr"))
        return cls(np.concatenate([one.rows for one in parts]), parts[0].family, single)

    def with_single(self, rows: np.ndarray, labels: np.ndarray, weight: float) -> LabelWeights:
        """Set the weights of single labels, one of each row in `rows`."""
        before = self.rows[rows, self.family[labels]] + self.single[rows, labels]
        change = sparse.csr_array((weight - before, (rows, labels)), self.shape, dtype=np.float32)
        return LabelWeights(self.rows, self.family, sparse.csr_array(self.single + change))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of labels."""
        return len(self.rows), len(self.family)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: np.ndarray | slice) -> LabelWeights:
        return LabelWeights(self.rows[rows], self.family, self.single[rows])

    @property
    def complete(self) -> bool:
        """Whether all labels of all rows have a weight."""
        return bool((self.rows > 0).all()) and self.single.nnz == 0

    def of_labels(self, labels: np.ndarray) -> LabelWeights:
        """Return the weights of some labels, by index."""
        return LabelWeights(self.rows, self.family[labels], self.single[:, labels])

    @property
    def by_row(self) -> np.ndarray | None:
        """The weights of the rows if all labels share them [shape=(n,)], else None."""
        return self.rows[:, 0] if self.rows.shape[1] == 1 and self.single.nnz == 0 else None

    @property
    def corrected(self) -> sparse.csr_array:
        """The weights of the single labels."""
        found = self.single.copy()
        found.data += self._of_family(found)
        return found

    def counted(self) -> np.ndarray:
        """Return which rows have a weight for any label [shape=(n,), dtype=bool]."""
        used = np.unique(self.family)
        result: np.ndarray = (self.rows[:, used] > 0).any(axis=1) | (np.diff(self.single.indptr) > 0)
        return result

    def counts(self) -> np.ndarray:
        """Return the number of rows in which each label has a weight [shape=(k,), dtype=int64]."""
        rows, labels = self.single.nonzero()
        before = self.rows[rows, self.family[labels]]
        change = (before + self.single[rows, labels] > 0).astype(np.int64) - (before > 0)
        counts: np.ndarray = (self.rows > 0).sum(axis=0)[self.family]
        return counts + np.bincount(labels, change, minlength=len(counts)).astype(np.int64)

    def scale(self) -> float:
        """Return the mean over the labels of their total weights, apart from single ones: what losses are divided by.

        A single weight thus changes the loss of its label alone.
        """
        totals = self.rows.sum(axis=0, dtype=np.float64)[self.family]
        return max(float(totals.mean()), 1e-12) if len(totals) else 1.0

    def means(self) -> np.ndarray:
        """Return the mean weight of the labels of each row [shape=(n,), dtype=float32]."""
        of_families = np.bincount(self.family, minlength=self.rows.shape[1]).astype(np.float32)
        means: np.ndarray = (self.rows @ of_families + self.single.sum(axis=1)) / np.float32(len(self.family))
        return means

    def dense(self) -> np.ndarray:
        """Return the weight of every label [shape=(n, k) or, if all labels share them, (n, 1), dtype=float32]."""
        if self.by_row is not None:
            return self.rows
        weights = self.rows[:, self.family]
        if self.single.nnz:
            weights += self.single.toarray()
        return weights

    def of_label(self, label: int) -> np.ndarray:
        """Return the weights of the rows for one label [shape=(n,), dtype=float32]."""
        weights = self.rows[:, self.family[label]]
        return weights + self.single[:, [label]].toarray()[:, 0] if self.single.nnz else weights

    def known(self) -> np.ndarray | None:
        """Return which labels have a weight [shape=(n, k), dtype=bool]; None if all have."""
        if self.complete:
            return None
        known: np.ndarray = self.dense() > 0 if self.single.nnz else (self.rows > 0)[:, self.family]
        return known

    def totals(self) -> np.ndarray:
        """Return the sum of the weights of each label [shape=(k,), dtype=float64]."""
        sums: np.ndarray = self.rows.sum(axis=0, dtype=np.float64)[self.family] + self.single.sum(axis=0)
        return sums

    def times(self, values: sparse.csr_array) -> sparse.csr_array:
        """Multiply a sparse array [shape=(n, k)] by the weights of its entries."""
        found = sparse.csr_array(values, copy=True)
        found.data = found.data * self._of_family(found)
        return sparse.csr_array(found + values.multiply(self.single)) if self.single.nnz else found

    def counted_of(self, values: sparse.csr_array) -> sparse.csr_array:
        """Return the entries of a sparse array [shape=(n, k)] that have a weight."""
        if self.complete:
            return values
        present = sparse.csr_array(values, copy=True)
        present.data = np.ones_like(present.data)
        found = sparse.csr_array(values.multiply(self.times(present) > 0))
        found.eliminate_zeros()
        return found

    def votes(self, ballots: sparse.csr_array) -> np.ndarray:
        """Return the product of a sparse array [shape=(m, n)] and the weights [shape=(m, k)]."""
        sums = ballots @ self.rows
        found: np.ndarray = sums[:, self.family]
        return found + (ballots @ self.single).toarray() if self.single.nnz else found

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return arrays to be saved with a head."""
        single = self.single.tocoo()
        values = {"single_rows": single.row, "single_labels": single.col, "single_weights": single.data}
        return {"weights": self.rows, "family": self.family} | (values if single.nnz else {})

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], shape: tuple[int, int]) -> LabelWeights:
        """Take what `to_arrays` returned, or the weights of rows alone, out of the saved arrays."""
        rows = arrays.pop("weights")
        if rows.ndim == 1:
            return cls.of(rows, shape)
        found = cls.of_families(rows, arrays.pop("family"))
        if "single_rows" in arrays:
            at = arrays.pop("single_rows"), arrays.pop("single_labels")
            single = sparse.csr_array((arrays.pop("single_weights"), at), shape, dtype=np.float32)
            found = cls(found.rows, found.family, single)
        return cls.of(found, shape)

    def _of_family(self, values: sparse.csr_array) -> np.ndarray:
        """Return the weights of the families at the entries of a sparse array."""
        rows = np.repeat(np.arange(len(self)), np.diff(values.indptr))
        found: np.ndarray = self.rows[rows, self.family[values.indices]]
        return found


SampleWeight: TypeAlias = np.ndarray | LabelWeights
"""Weights of rows [shape=(n,)] or of their labels [shape=(n, k)]."""
