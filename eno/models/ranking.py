"""How well scores rank: the measure by which heads decide when to stop."""

from __future__ import annotations

import numpy as np

_AT_ONCE = 2_000_000  # scores that are sorted together


def average_precisions(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Average precision of every label, as `sklearn.metrics.average_precision_score` defines it, but many at once.

    Parameters
    ----------
    truth : np.ndarray [shape=(n, k)]
        Labels; what is above 0 counts.
    scores : np.ndarray [shape=(n, k)]
        The higher, the likelier. Equal scores share one rank.

    Returns
    -------
    np.ndarray [shape=(k,), dtype=float64]
        NaN where a label has no positive, since nothing can be ranked first there.
    """
    if truth.shape != scores.shape:
        raise ValueError(f"truth has the shape {truth.shape}, scores {scores.shape}.")
    result = np.full(truth.shape[1], np.nan)
    if len(truth) == 0:
        return result
    step = max(1, _AT_ONCE // len(truth))
    for first in range(0, truth.shape[1], step):
        labels = slice(first, first + step)
        result[labels] = _average_precisions(truth[:, labels].T > 0, scores[:, labels].T)
    return result


def _average_precisions(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    order = np.argsort(scores, axis=1)[:, ::-1]
    ranked, found = np.take_along_axis(scores, order, axis=1), np.take_along_axis(truth, order, axis=1)
    count = ranked.shape[1]
    # A row counts with all rows of its score: precision is taken at the last of them.
    last = np.append(ranked[:, 1:] != ranked[:, :-1], np.ones((len(ranked), 1), bool), axis=1)
    ends = np.where(last, np.arange(count), count)
    ends = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    precision = np.take_along_axis(found.cumsum(axis=1), ends, axis=1) / (ends + 1)
    positives = found.sum(axis=1)
    with np.errstate(invalid="ignore"):
        result: np.ndarray = np.where(positives > 0, (precision * found).sum(axis=1) / positives, np.nan)
    return result


def macro_map(truth: np.ndarray, scores: np.ndarray) -> float | None:
    """Mean average precision over the labels that have positives and negatives; None if none has.

    Parameters
    ----------
    truth, scores
        See `average_precisions`.
    """
    present = truth > 0
    judged = present.any(axis=0) & ~present.all(axis=0)
    return float(average_precisions(truth[:, judged], scores[:, judged]).mean()) if judged.any() else None
