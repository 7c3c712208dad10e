"""What heads share: their options, and what they accept."""

from __future__ import annotations

import inspect
import logging
from typing import Any, Self

import numpy as np

from eno.models import Labels

logger = logging.getLogger(__name__)

_HELD_OUT = 0.1  # share of the training rows that take the place of validation rows, if none are given


class Options:
    """Options as scikit-learn has them: what a head was made with, under the names of its parameters."""

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


def check_shape(X: np.ndarray, fitted: tuple[int, ...]) -> None:
    """Make sure that rows have the shape of those that a head was fitted on.

    Raises
    ------
    ValueError
        They have another one.
    """
    if X.shape[1:] != fitted:
        raise ValueError(f"X has the shape {X.shape}; this head was fitted on (n, {', '.join(map(str, fitted))}).")


def check_training(X: np.ndarray, Y: Labels) -> tuple[np.ndarray, np.ndarray]:
    """Make sure that vectors and labels can be learned from.

    Parameters
    ----------
    X : np.ndarray [shape=(n, dim) or (n, layers, dim)]
        Vectors.
    Y : np.ndarray or sparse array of scipy [shape=(n, k)]
        Labels, 0 to 1.

    Returns
    -------
    X, Y : np.ndarray [dtype=float32]
        The same, dense.

    Raises
    ------
    ValueError
        Shapes do not fit together, a value is not finite, or a label is outside 0 … 1.
    """
    X = np.ascontiguousarray(X, dtype=np.float32)
    dense = np.asarray(Y if isinstance(Y, np.ndarray) else Y.toarray(), dtype=np.float32)
    if X.ndim not in (2, 3) or dense.ndim != 2 or len(X) != len(dense):
        raise ValueError(
            f"X has the shape {X.shape} and Y {dense.shape}; expected (n, dim) or (n, layers, dim), and (n, k)."
        )
    broken = ~np.isfinite(X.reshape(len(X), -1)).all(axis=1)
    if broken.any():
        raise ValueError(f"X holds NaN or infinite values, first in row {int(broken.argmax())}.")
    if not ((dense >= 0) & (dense <= 1)).all():
        raise ValueError("Y holds values outside 0 … 1.")
    return X, dense


def training_and_validation(
    X: np.ndarray,
    Y: Labels,
    X_val: np.ndarray | None,
    Y_val: Labels | None,
    *,
    groups: np.ndarray | None,
    sample_weight: np.ndarray | None,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Check what a head was given, and hold rows out where there are none for validation.

    Parameters
    ----------
    X, Y, X_val, Y_val, groups, sample_weight
        See `eno.models.Head.fit`.
    seed : int
        Decides which rows are held out: a tenth, in whole groups if there are any.

    Returns
    -------
    X, Y, weights, X_val, Y_val : np.ndarray
        Rows to learn from and to judge by.

    Raises
    ------
    ValueError
        See `check_training`; or there are too few rows.
    """
    X, dense = check_training(X, Y)
    for name, values in (("groups", groups), ("sample_weight", sample_weight)):
        if values is not None and len(values) != len(X):
            raise ValueError(f"{name} has {len(values)} values for {len(X)} rows.")
    weights = np.ones(len(X), np.float32) if sample_weight is None else np.asarray(sample_weight, np.float32)
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError("sample_weight holds values below 0, or that are not finite.")
    if X_val is not None and Y_val is not None:
        X_val, dense_val = check_training(X_val, Y_val)
        kept = np.arange(len(X))
    else:
        held_out, kept = _hold_out(len(X), groups, seed)
        X_val, dense_val = X[held_out], dense[held_out]
    if len(kept) < 2:
        raise ValueError(f"{len(kept)} training rows; at least 2 are needed.")
    return X[kept], dense[kept], weights[kept], X_val, dense_val


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


def single_class(Y: np.ndarray) -> np.ndarray:
    """Which labels are on every training row or on none [shape=(k,), dtype=bool]; they are named in a warning."""
    positives = np.count_nonzero(Y, axis=0)
    single: np.ndarray = np.isin(positives, (0, len(Y)))
    if single.any():
        logger.warning(
            "%d of %d labels are on all training rows or on none and are predicted by their prior, first number %d",
            single.sum(),
            len(single),
            single.argmax(),
        )
    return single


def priors(Y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How frequent each label is, never quite 0 or 1 (Laplace's rule of succession) [shape=(k,)]."""
    result: np.ndarray = (weights @ Y + 1) / (weights.sum() + 2)
    return result
