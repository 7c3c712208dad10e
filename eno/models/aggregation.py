"""Aggregate the probabilities of tracks into those of albums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
from scipy.special import expit, logit

Aggregation: TypeAlias = Literal["mean_logit", "mean", "max", "median_logit"]
"""Mean of the logits, mean or maximum of the probabilities, or median of the logits."""

_VALUES_AT_ONCE = 1_000_000
_SMALLEST = 1e-7  # probabilities are clipped, so that one certain track does not decide alone


def aggregate(
    probabilities: np.ndarray, albums: Sequence[str] | np.ndarray, how: str = "mean_logit"
) -> tuple[list[str], np.ndarray]:
    """Return the albums, in the order of their first track, and their probabilities [shape=(m, k), dtype=float32].

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n, k)]
        Of tracks, each in 0 … 1.
    albums : sequence of str [length=n]
        The album of each track.

    Examples
    --------
    >>> names, probabilities = aggregate(np.array([[0.1], [0.9], [0.2]]), ["a", "a", "b"])
    >>> names, probabilities.round(3).tolist()
    (['a', 'b'], [[0.5], [0.20000000298023224]])
    """
    if how not in AGGREGATIONS:
        raise ValueError(f"aggregation = {how!r}: expected one of {', '.join(AGGREGATIONS)}.")
    values = np.asarray(probabilities)
    if values.ndim != 2 or len(values) != len(albums):
        raise ValueError(f"probabilities have the shape {values.shape}; expected {len(albums)} rows, one per track.")
    if len(values) == 0:
        raise ValueError("There are no tracks to aggregate.")
    numbers: dict[str, int] = {}
    codes = np.array([numbers.setdefault(str(name), len(numbers)) for name in albums])
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(numbers)))
    result = np.empty((len(numbers), values.shape[1]), np.float32)
    step = max(1, _VALUES_AT_ONCE // len(values))
    for first in range(0, values.shape[1], step):
        some = slice(first, first + step)
        result[:, some] = _WAYS[how](values[:, some][order].astype(np.float64), starts)
    return list(numbers), result


def _means(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.add.reduceat(values, starts) / np.diff(starts, append=len(values))[:, None]
    return result


def _medians(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return np.array([np.median(rows, axis=0) for rows in np.split(values, starts[1:])])


def _logits(values: np.ndarray) -> np.ndarray:
    return np.asarray(logit(np.clip(values, _SMALLEST, 1 - _SMALLEST)))


_WAYS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "mean_logit": lambda values, starts: expit(_means(_logits(values), starts)),
    "mean": _means,
    "max": lambda values, starts: np.maximum.reduceat(values, starts),
    "median_logit": lambda values, starts: expit(_medians(_logits(values), starts)),
}

AGGREGATIONS: tuple[str, ...] = get_args(Aggregation)
