"""Checked training and validation rows; vectors are read in chunks, so that they can be on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from eno.data.labels.values import present
from eno.data.splits.stratify import folds_by_group, hold_out_by_group
from eno.models.bags import Bags
from eno.models.exclusive import ExclusiveLabels
from eno.models.label_weights import LabelWeights, SampleWeight
from eno.models.types import Labels, Vectors
from eno.views import JoinedView, RowView, forget

ROWS_AT_ONCE = 16_384
"""Rows that are read, or whose logits are computed, together, so that large collections fit in memory."""

_ROWS_OF_VIEW = 1_024  # read together: with every row of a mapped file, Linux reads 64 KiB around it
_FOLDS = 5
_FOLD_ROWS = 20_000  # of more rows, a tenth is held out once instead
_HELD_OUT = 0.1
_SIMILAR, _GROUPS, _CLUSTERED = 10, 20, 3_000  # rows per group on average, groups at least, rows that are clustered


def take(X: Vectors, rows: slice | np.ndarray) -> np.ndarray:
    """Read rows as an array [dtype=float32]; of windows, the mean per track.

    What is read of a view of a mapped file does not stay in memory.
    """
    if not isinstance(X, RowView | JoinedView):
        found = X[rows]
        return np.asarray(found.means() if isinstance(found, Bags) else found, np.float32)
    chosen = np.arange(len(X))[rows]
    values = np.empty((len(chosen), *X.shape[1:]), np.float32)
    for part in chunks(len(chosen), _ROWS_OF_VIEW):
        values[part] = X[chosen[part]]
        forget(X)
    return values


def select(X: Vectors, rows: np.ndarray) -> Vectors:
    """Return some rows, read when they are indexed."""
    if len(rows) == len(X) and (rows == np.arange(len(X))).all():
        return X
    return X[rows] if isinstance(X, Bags) else RowView(X, rows)


def chunks(rows: int, size: int = ROWS_AT_ONCE) -> Iterator[slice]:
    """Divide rows into slices, at least one."""
    return (slice(first, min(first + size, rows)) for first in range(0, max(rows, 1), size))


def check_labelled(X: Vectors, Y: Labels) -> tuple[Vectors, sparse.csr_array]:
    """Check vectors and labels, and convert labels to a sparse array [shape=(n, k), dtype=float32].

    Raises a ValueError if shapes do not match, a value is not finite, or a label is outside 0 … 1.
    """
    X = as_vectors(X)
    shape = np.shape(Y) if not sparse.issparse(Y) else Y.shape
    if len(X.shape) not in (2, 3) or len(shape) != 2 or len(X) != shape[0]:
        raise ValueError(f"X has the shape {X.shape} and Y {shape}; expected (n, dim) or (n, layers, dim), and (n, k).")
    if shape[1] == 0:
        raise ValueError("Y has no columns, so there are no labels to fit.")
    labels = sparse.csr_array(Y, dtype=np.float32, copy=True)  # the caller's array stays as it is
    labels.sum_duplicates()
    labels.eliminate_zeros()
    if not ((labels.data >= 0) & (labels.data <= 1)).all():
        raise ValueError("Y has values outside 0 … 1.")
    for rows in chunks(len(X)):
        check_finite(take(X, rows), rows.start)
    return X, labels


def as_vectors(X: Vectors) -> Vectors:
    """Convert lists to an array; sources that are read in chunks stay as they are."""
    if sparse.issparse(X):
        raise ValueError("X is a sparse array; expected a dense one: pass X.toarray().")
    return X if hasattr(X, "shape") else np.asarray(X, np.float32)


def check_finite(vectors: np.ndarray, first: int = 0) -> None:
    """Raise a ValueError if a value is NaN or infinite; `first` is the number of the first row, for the message."""
    broken = ~np.isfinite(vectors).all(axis=tuple(range(1, vectors.ndim)))
    if broken.any():
        raise ValueError(f"X has NaN or infinite values, first in row {first + int(broken.argmax())}.")


def constant_labels(Y: sparse.csr_array, weights: LabelWeights) -> np.ndarray:
    """Return which labels have only positives or only negatives among those with a weight [shape=(k,), dtype=bool]."""
    sums = weights.counted_of(Y).sum(axis=0, dtype=np.float64)
    constant: np.ndarray = (sums == 0) | (sums == weights.counts())
    return constant


@dataclass(frozen=True)
class TrainingData:
    """Training and validation rows.

    Attributes
    ----------
    X, X_val : Vectors
        Of which only `rows` and `rows_val` are used; the same if the validation rows were held out from training.
    Y, Y_val : scipy.sparse.csr_array [shape=(n, k), (n_val, k), dtype=float32]
        Labels of those rows, from 0 to 1; see `eno.data.labels.values`.
    weights, weights_val : LabelWeights
        Weights of the labels; 0 where a label is not known. For validation, only that counts.
    """

    X: Vectors
    Y: sparse.csr_array
    rows: np.ndarray
    weights: LabelWeights
    X_val: Vectors
    Y_val: sparse.csr_array
    rows_val: np.ndarray
    weights_val: LabelWeights

    @classmethod
    def of(
        cls,
        X: Vectors,
        Y: Labels,
        X_val: Vectors | None,
        Y_val: Labels | None,
        *,
        groups: np.ndarray | None,
        sample_weight: SampleWeight | None,
        sample_weight_val: SampleWeight | None = None,
        seed: int,
    ) -> list[TrainingData]:
        """Check the arguments of `eno.models.Head.fit`, and return what is fitted on and validated on.

        With validation rows, that is one element. Without, it is one per fold of whole groups, which is held out for
        validation; of more than 20,000 rows, a tenth is held out once. Without groups, these are `similar_rows`.
        """
        X, labels = check_labelled(X, Y)
        if groups is not None and np.shape(groups) != (len(X),):
            raise ValueError(f"groups has the shape {np.shape(groups)}; expected ({len(X)},), one value per row.")
        weights = LabelWeights.of(sample_weight, labels.shape)
        if (X_val is None) != (Y_val is None):
            raise ValueError("X_val and Y_val go together: pass both or neither.")
        if X_val is not None and Y_val is not None:
            X_val, labels_val = check_labelled(X_val, Y_val)
            if len(X_val) == 0:
                raise ValueError("X_val has no rows. Without X_val and Y_val, folds of the training rows are held out.")
            if tuple(X_val.shape[1:]) != tuple(X.shape[1:]) or labels_val.shape[1] != labels.shape[1]:
                raise ValueError(
                    f"X_val and Y_val have the shapes {X_val.shape} and {labels_val.shape}, which do not match "
                    f"X and Y, {X.shape} and {labels.shape}."
                )
            rows, rows_val = np.arange(len(X)), np.arange(len(X_val))
            weights_val = LabelWeights.of(sample_weight_val, labels_val.shape)
            folds = [cls(X, labels, rows, weights, X_val, labels_val, rows_val, weights_val)]
        else:
            folds = [
                cls(X, labels[rows], rows, weights[rows], X, labels[rows_val], rows_val, weights[rows_val])
                for rows, rows_val in _divide(
                    labels, similar_rows(X, seed) if groups is None else groups, weights, seed
                )
            ]
        if len(folds[0]) < 2:
            raise ValueError(f"Fitting needs at least 2 training rows; there are {len(folds[0])}.")
        folds = [fold for fold in folds if fold.weights.counted().any()]
        if not folds:
            raise ValueError("All training rows have weight 0.")
        return folds

    def validation(self) -> Vectors:
        """Return the vectors of the validation rows."""
        return select(self.X_val, self.rows_val)

    def with_held_out(self) -> TrainingData:
        """Return the rows to fit on together with the validation rows held out from them, and no validation rows."""
        rows = np.concatenate([self.rows, self.rows_val])
        order = np.argsort(rows)
        Y = sparse.vstack([self.Y, self.Y_val], format="csr")[order]
        weights = LabelWeights.joined([self.weights, self.weights_val])[order]
        none = np.zeros(0, np.int64)
        return TrainingData(self.X, Y, rows[order], weights, self.X_val, self.Y_val[none], none, self.weights_val[none])

    def exclusive_labels(self) -> ExclusiveLabels:
        """Return the labels of which no row has two, among the rows to fit on and those held out from them."""
        every = self.with_held_out() if self.X_val is self.X else self
        return ExclusiveLabels.of(every.Y, every.weights)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one vector: ``(dim,)`` or ``(layers, dim)``."""
        return tuple(self.X.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the inverse standard deviation of every dimension, for standardisation [dtype=float32].

        The inverse is 0 for a constant dimension, so that rounding errors are not amplified.
        """
        total = np.zeros(self.shape)
        for rows in chunks(len(self)):
            total += take(self.X, self.rows[rows]).sum(axis=0, dtype=np.float64)
        mean = total / len(self)
        squares = np.zeros(self.shape)
        for rows in chunks(len(self)):
            centred = take(self.X, self.rows[rows]) - mean
            squares += np.square(centred, out=centred).sum(axis=0)
            del centred  # before the next are read
        deviation = np.sqrt(squares / len(self))
        scale = np.where(deviation > 1e-6 * np.maximum(np.abs(mean), 1e-6), 1 / np.maximum(deviation, 1e-30), 0)
        return mean.astype(np.float32), scale.astype(np.float32)

    def positives(self) -> np.ndarray:
        """Return the number of training rows with each label present [shape=(k,), dtype=int64]."""
        return np.bincount(present(self.weights.counted_of(self.Y)).indices, minlength=self.Y.shape[1])

    def constant_labels(self) -> np.ndarray:
        """Return which labels have only positives or only negatives [shape=(k,), dtype=bool]."""
        return constant_labels(self.Y, self.weights)

    def base_rates(self) -> np.ndarray:
        """Return the frequency of each label [shape=(k,)], by Laplace's rule of succession never quite 0 or 1."""
        positive = self.weights.times(self.Y).sum(axis=0, dtype=np.float64)
        rates: np.ndarray = (positive + 1) / (self.weights.totals() + 2)
        return rates


def similar_rows(X: Vectors, seed: int) -> np.ndarray:
    """Return the group of each row [shape=(n,), dtype=int64], such that rows with similar vectors are in one group.

    They replace artists that are not known. Tracks of an artist resemble each other. If some of them are held out and
    the others are fitted on, options look best with which a head recognises artists, such as weak penalties. Whole
    clusters are held out instead (as by B. Meredig et al., Molecular Systems Design & Engineering 3, 2018).

    Clusters are those of Ward's method on standardised vectors, with ten rows on average. Of more than 3,000 rows, a
    random sample is clustered, and the others join the cluster with the nearest mean.
    """
    from scipy.cluster.hierarchy import fcluster, linkage  # takes a third of a second to import

    if len(X) <= _GROUPS:
        return np.arange(len(X))
    some = np.sort(np.random.default_rng(seed).permutation(len(X))[:_CLUSTERED])
    sample = _flat(X, some)
    mean, deviation = sample.mean(axis=0), sample.std(axis=0)
    scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    sample = (sample - mean) * scale
    found: np.ndarray = fcluster(linkage(sample, "ward"), max(_GROUPS, len(some) // _SIMILAR), "maxclust") - 1
    if found.max() + 1 < _FOLDS:  # most rows are identical
        return np.arange(len(X))
    if len(some) == len(X):
        return found
    sums = np.zeros((found.max() + 1, sample.shape[1]), np.float32)
    np.add.at(sums, found, sample)
    means = sums / np.bincount(found)[:, np.newaxis]
    squares = np.square(means).sum(axis=1)
    nearest = [(squares - 2 * ((_flat(X, rows) - mean) * scale) @ means.T).argmin(axis=1) for rows in chunks(len(X))]
    return np.concatenate(nearest)


def _flat(X: Vectors, rows: slice | np.ndarray) -> np.ndarray:
    found = take(X, rows)
    return found.reshape(len(found), -1)


def _divide(
    labels: sparse.csr_array, groups: np.ndarray, weights: LabelWeights, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield training and held-out rows of each fold; rows of weight 0 are not validated on."""
    rows, owners = labels.shape[0], np.asarray(groups)
    if len(np.unique(owners)) == 1 < rows:
        raise ValueError(
            f"All {rows} rows belong to one group, {str(owners[0])!r}, so none can be held out for "
            "validation. Pass X_val and Y_val, or no groups."
        )
    if rows > _FOLD_ROWS:
        fold_of = np.where(hold_out_by_group(present(labels), owners, _HELD_OUT, seed=seed), 0, -1)
    else:
        fold_of = folds_by_group(present(labels), owners, _FOLDS, seed=seed)
    counted = weights.counted()
    for fold in range(int(fold_of.max()) + 1):
        yield np.flatnonzero(fold_of != fold), np.flatnonzero((fold_of == fold) & counted)
