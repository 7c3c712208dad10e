"""How well scores rank: the measure by which heads decide when to stop, and by which all are judged."""

from __future__ import annotations

import numpy as np


def judged_labels(truth: np.ndarray) -> np.ndarray:
    """Tell which labels have positives and negatives [shape=(k,), dtype=bool]."""
    present = truth > 0
    return np.asarray(present.any(axis=0) & ~present.all(axis=0))


def rank_labels(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Judge how every label ranks rows that all weigh the same.

    Parameters
    ----------
    truth, scores : np.ndarray [shape=(n, k)]
        Labels, what is above 0 counts; and scores, the higher, the likelier. Equal scores share one rank.

    Returns
    -------
    average_precision, roc_auc : np.ndarray [shape=(k,), dtype=float64]
        NaN where the label lacks positives; the area also where it lacks negatives.
    """
    ranked = [_rank(truth[:, label] > 0, scores[:, label]) for label in range(truth.shape[1])]
    precisions, areas = np.array(ranked, np.float64).reshape(-1, 2).T
    return precisions, areas


def _rank(truth: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    found, ordered = np.sort(scores[truth]), np.sort(scores)
    negatives = len(scores) - len(found)
    if len(found) == 0:
        return np.nan, np.nan
    reached, exceeded = (len(ordered) - np.searchsorted(ordered, found, side) for side in ("left", "right"))
    true, true_exceeded = (len(found) - np.searchsorted(found, found, side) for side in ("left", "right"))
    false = reached - true  # negatives that are not below
    tied = false - (exceeded - true_exceeded)
    area = np.mean(negatives - false + tied / 2) / negatives if negatives else np.nan
    return float(np.mean(true / reached)), float(area)


def average_precisions(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Average precision of every label, as `sklearn.metrics.average_precision_score` defines it.

    Parameters
    ----------
    truth, scores : np.ndarray [shape=(n, k)]
        See `rank_labels`.

    Returns
    -------
    np.ndarray [shape=(k,), dtype=float64]
        NaN where a label has no positive, since nothing can be ranked first there.
    """
    if truth.shape != scores.shape:
        raise ValueError(f"truth has the shape {truth.shape}, scores {scores.shape}.")
    return rank_labels(truth, scores)[0]


def macro_map(truth: np.ndarray, scores: np.ndarray) -> float | None:
    """Mean average precision over the labels that have positives and negatives; None if none has.

    Parameters
    ----------
    truth, scores
        See `average_precisions`.
    """
    judged = judged_labels(truth)
    return float(average_precisions(truth[:, judged], scores[:, judged]).mean()) if judged.any() else None
