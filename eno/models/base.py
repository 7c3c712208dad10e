"""What heads share: their options, and what they accept."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy import sparse

from eno.models.bags import Bags
from eno.models.types import Labels, Vectors

if TYPE_CHECKING:
    from eno.models.epochs import Epoch

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 16_384
"""Rows that are read, or whose logits are computed, together, so that large collections do not fill the memory."""

_HELD_OUT = 0.1  # share of the training rows that take the place of validation rows, if none are given


class Options:
    """Options as scikit-learn has them: what a head was made with, under the names of its parameters."""

    on_progress: Callable[[int, int], None] | None = None
    """Where a head that takes long says how many steps are done and how many there are at most."""

    on_epoch: Callable[[Epoch], None] | None = None
    """Called after each epoch by heads that are trained in epochs."""

    def _report(self, done: int, total: int) -> None:
        if self.on_progress is not None:
            self.on_progress(done, total)

    @property
    def takes_windows(self) -> bool:
        """See `eno.models.Head`; most heads take the mean of a track's windows."""
        return False

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Options with which this head was made.

        Parameters
        ----------
        deep : bool
            Without meaning here; scikit-learn's `clone` passes it.

        Returns
        -------
        dict
            By name; ``type(head)(**head.get_params())`` is another head like this one, not fitted.
        """
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **options: Any) -> Self:
        """Change options for the next `fit`.

        Raises
        ------
        ValueError
            There is no such option.
        """
        known = self.get_params()
        for name, value in options.items():
            if name not in known:
                raise ValueError(f"{type(self).__name__} has no option {name!r}; it has: {', '.join(known)}.")
            setattr(self, name, value)
        return self

    def _saved_options(self) -> dict[str, Any]:
        """Options that are the head's own; where it computes is decided when it is loaded."""
        return {name: value for name, value in self.get_params().items() if name != "device"}


def check_shape(X: Vectors, fitted: tuple[int, ...]) -> None:
    """Make sure that rows have the shape of those that a head was fitted on.

    Raises
    ------
    ValueError
        They have another one.
    """
    if tuple(X.shape[1:]) != fitted:
        raise ValueError(f"X has the shape {X.shape}; this head was fitted on (n, {', '.join(map(str, fitted))}).")


def take(X: Vectors, rows: slice | np.ndarray) -> np.ndarray:
    """Read rows as an array [dtype=float32]; of windows their means."""
    found = X[rows]
    return np.asarray(found.means() if isinstance(found, Bags) else found, np.float32)


def chunks(rows: int, size: int = ROWS_AT_ONCE) -> Iterator[slice]:
    """Divide rows into slices, at least one."""
    return (slice(first, min(first + size, rows)) for first in range(0, max(rows, 1), size))


@dataclass(frozen=True)
class Training:
    """What a head learns from and is judged by; vectors stay where they are.

    Attributes
    ----------
    X, X_val : Vectors
        Vectors, of which `rows` and `rows_val` count. Both are the same where validation rows were held out.
    Y, Y_val : scipy.sparse.csr_array [shape=(n, k), (n_val, k), dtype=float32]
        Labels of those rows.
    rows, rows_val : np.ndarray [dtype=int64]
        Which rows of `X` and `X_val`.
    weights : np.ndarray [shape=(n,), dtype=float32]
        What each training row weighs.
    """

    X: Vectors
    Y: sparse.csr_array
    rows: np.ndarray
    weights: np.ndarray
    X_val: Vectors
    Y_val: sparse.csr_array
    rows_val: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one vector: ``(dim,)`` or ``(layers, dim)``."""
        return tuple(self.X.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean of every dimension over the training rows, and what to multiply by so that its deviation becomes 1.

        Returns
        -------
        mean, scale : np.ndarray [shape=(dim,) or (layers, dim), dtype=float32]
            A dimension that never changes carries nothing: its scale is 0, instead of rounding noise blown up.
        """
        total = np.zeros(self.shape)
        for rows in chunks(len(self)):
            total += take(self.X, self.rows[rows]).sum(axis=0, dtype=np.float64)
        mean = total / len(self)
        squares = np.zeros(self.shape)
        for rows in chunks(len(self)):
            squares += np.square(take(self.X, self.rows[rows]) - mean).sum(axis=0)
        deviation = np.sqrt(squares / len(self))
        scale = np.where(deviation > 1e-6 * np.maximum(np.abs(mean), 1e-6), 1 / np.maximum(deviation, 1e-30), 0)
        return mean.astype(np.float32), scale.astype(np.float32)

    def positives(self) -> np.ndarray:
        """Training rows that have each label, whatever its value [shape=(k,), dtype=int64]."""
        return np.bincount(self.Y.indices, minlength=self.Y.shape[1])

    def single_class(self) -> np.ndarray:
        """Which labels are on every training row or on none [shape=(k,), dtype=bool]; a warning counts them."""
        sums = self.Y.sum(axis=0, dtype=np.float64)
        single: np.ndarray = (sums == 0) | (sums == len(self))
        if single.any():
            logger.warning(
                "%d of %d labels are on all training rows or on none and are predicted by their prior, first number %d",
                single.sum(),
                len(single),
                single.argmax(),
            )
        return single

    def priors(self) -> np.ndarray:
        """How frequent each label is, never quite 0 or 1 (Laplace's rule of succession) [shape=(k,)]."""
        result: np.ndarray = (self.Y.T @ self.weights + 1) / (self.weights.sum(dtype=np.float64) + 2)
        return result


def check_labelled(X: Vectors, Y: Labels) -> tuple[Vectors, sparse.csr_array]:
    """Make sure that vectors and labels can be learned from.

    Parameters
    ----------
    X : Vectors [shape=(n, dim) or (n, layers, dim)]
        Vectors.
    Y : np.ndarray or sparse array of scipy [shape=(n, k)]
        Labels, 0 to 1.

    Returns
    -------
    X : Vectors
        The same; what is no array and gives no rows has become an array.
    Y : scipy.sparse.csr_array [dtype=float32]

    Raises
    ------
    ValueError
        Shapes do not fit together, a value is not finite, or a label is outside 0 … 1.
    """
    if not hasattr(X, "shape"):
        X = np.asarray(X, np.float32)
    shape = np.shape(Y) if not sparse.issparse(Y) else Y.shape
    if len(X.shape) not in (2, 3) or len(shape) != 2 or len(X) != shape[0]:
        raise ValueError(f"X has the shape {X.shape} and Y {shape}; expected (n, dim) or (n, layers, dim), and (n, k).")
    labels = sparse.csr_array(Y, dtype=np.float32)
    labels.sum_duplicates()
    labels.eliminate_zeros()
    if not ((labels.data >= 0) & (labels.data <= 1)).all():
        raise ValueError("Y holds values outside 0 … 1.")
    for rows in chunks(len(X)):
        broken = ~np.isfinite(take(X, rows).reshape(rows.stop - rows.start, -1)).all(axis=1)
        if broken.any():
            raise ValueError(f"X holds NaN or infinite values, first in row {rows.start + int(broken.argmax())}.")
    return X, labels


def training_and_validation(
    X: Vectors,
    Y: Labels,
    X_val: Vectors | None,
    Y_val: Labels | None,
    *,
    groups: np.ndarray | None,
    sample_weight: np.ndarray | None,
    seed: int,
) -> Training:
    """Check what a head was given, and hold rows out where there are none for validation.

    Parameters
    ----------
    X, Y, X_val, Y_val, groups, sample_weight
        See `eno.models.Head.fit`.
    seed : int
        Decides which rows are held out: a tenth, in whole groups if there are any.

    Returns
    -------
    Training
        Rows to learn from and to judge by.

    Raises
    ------
    ValueError
        See `check_labelled`; or there are too few rows, or validation has other labels or dimensions.
    """
    X, labels = check_labelled(X, Y)
    for name, values in (("groups", groups), ("sample_weight", sample_weight)):
        if values is not None and len(values) != len(X):
            raise ValueError(f"{name} has {len(values)} values for {len(X)} rows.")
    weights = np.ones(len(X), np.float32) if sample_weight is None else np.asarray(sample_weight, np.float32)
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError("sample_weight holds values below 0, or that are not finite.")
    if (X_val is None) != (Y_val is None):
        raise ValueError("X_val and Y_val go together: give both, or neither.")
    if X_val is not None and Y_val is not None:
        X_val, labels_val = check_labelled(X_val, Y_val)
        if tuple(X_val.shape[1:]) != tuple(X.shape[1:]) or labels_val.shape[1] != labels.shape[1]:
            raise ValueError(
                f"validation has the shapes {X_val.shape} and {labels_val.shape}; "
                f"training has {X.shape} and {labels.shape}."
            )
        rows, rows_val = np.arange(len(X)), np.arange(len(X_val))
    else:
        rows_val, rows = _hold_out(len(X), groups, seed)
        X_val, labels_val = X, labels[rows_val]
    if len(rows) < 2:
        raise ValueError(f"{len(rows)} training rows; at least 2 are needed.")
    return Training(X, labels[rows], rows, weights[rows], X_val, labels_val, rows_val)


def _hold_out(rows: int, groups: np.ndarray | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    wanted = max(1, round(_HELD_OUT * rows))
    if groups is None:
        order = random.permutation(rows)
        return order[:wanted], order[wanted:]
    _, members = np.unique(np.asarray(groups), return_inverse=True)
    sizes = np.bincount(members)
    chosen = random.permutation(len(sizes))
    count = int(np.searchsorted(np.cumsum(sizes[chosen]), wanted)) + 1
    held_out = np.isin(members, chosen[:count])
    return np.flatnonzero(held_out), np.flatnonzero(~held_out)
