"""From the tracks of an album to the album: labels are of albums, audio is of tracks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import expit, logit

_SMALLEST = 1e-7  # nearer to 0 or 1 a probability counts as this near: one certain track must not decide alone


def aggregate(
    probabilities: np.ndarray, albums: Sequence[str] | np.ndarray, how: str = "mean_logit"
) -> tuple[list[str], np.ndarray]:
    """Give each album one probability a label, from those of its tracks.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n, k)]
        Of the tracks, each in 0 … 1.
    albums : sequence of str [length=n]
        The album of each track.
    how : {"mean_logit", "mean", "max", "median_logit"}
        See `AGGREGATIONS`.

    Returns
    -------
    names : list of str [length=m]
        The albums, in the order in which they first occur.
    probabilities : np.ndarray [shape=(m, k), dtype=float32]
        Of the albums.

    Raises
    ------
    ValueError
        There is no such way, there are no tracks, or their numbers differ.

    Examples
    --------
    >>> names, probabilities = aggregate(np.array([[0.1], [0.9], [0.2]]), ["a", "a", "b"])
    >>> names, probabilities.round(3).tolist()
    (['a', 'b'], [[0.5], [0.20000000298023224]])
    """
    if how not in AGGREGATIONS:
        raise ValueError(f"aggregation {how!r}: choose from {', '.join(AGGREGATIONS)}.")
    values = np.asarray(probabilities, np.float64)
    if values.ndim != 2 or len(values) != len(albums):
        raise ValueError(f"probabilities have the shape {values.shape} for {len(albums)} albums of tracks.")
    if len(values) == 0:
        raise ValueError("there are no tracks to aggregate.")
    numbers: dict[str, int] = {}
    codes = np.array([numbers.setdefault(str(name), len(numbers)) for name in albums])
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(numbers)))
    return list(numbers), _WAYS[how](values[order], starts).astype(np.float32)


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

AGGREGATIONS = tuple(_WAYS)
"""Ways from tracks to albums: the mean of the logits, that of the probabilities, the largest, the median logit."""
