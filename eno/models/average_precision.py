"""Average precision and ROC-AUC per label, for early stopping, model selection and evaluation."""

from __future__ import annotations

import numpy as np


def has_both_classes(truth: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Return which labels have positives and negatives [shape=(k,), dtype=bool], among the `known` values [(n, k)]."""
    present = truth > 0
    if known is None:
        return np.asarray(present.any(axis=0) & ~present.all(axis=0))
    return np.asarray((present & known).any(axis=0) & (known & ~present).any(axis=0))


def average_precision_and_auc(
    truth: np.ndarray, scores: np.ndarray, known: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return average precision and ROC-AUC of every label, as scikit-learn defines them [shape=(k,), dtype=float64].

    Both are NaN for a label without positives, the ROC-AUC also without negatives.

    Parameters
    ----------
    truth, scores : np.ndarray [shape=(n, k)]
        Labels, positive above 0, and scores, which are higher for more likely positives. Ties share a rank.
    known : np.ndarray [shape=(n, k), dtype=bool], optional
        Which values of `truth` are known; the others do not count.
    """
    if truth.shape != scores.shape:
        raise ValueError(f"truth has the shape {truth.shape}, scores {scores.shape}; expected the same.")
    every = [slice(None)] * truth.shape[1] if known is None else list(known.T)
    ranked = [_rank(truth[rows, label] > 0, scores[rows, label]) for label, rows in enumerate(every)]
    precisions, areas = np.array(ranked, np.float64).reshape(-1, 2).T
    return precisions, areas


def _rank(truth: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    found, ordered = np.sort(scores[truth]), np.sort(scores)
    negatives = len(scores) - len(found)
    if len(found) == 0:
        return np.nan, np.nan
    reached, exceeded = (len(ordered) - np.searchsorted(ordered, found, side) for side in ("left", "right"))
    true, true_exceeded = (len(found) - np.searchsorted(found, found, side) for side in ("left", "right"))
    false = reached - true  # negatives with at least the same score
    tied = false - (exceeded - true_exceeded)
    area = np.mean(negatives - false + tied / 2) / negatives if negatives else np.nan
    return float(np.mean(true / reached)), float(area)


def macro_map(truth: np.ndarray, scores: np.ndarray, known: np.ndarray | None = None) -> float | None:
    """Return the mean average precision over labels with positives and negatives; None if there are no such labels."""
    rankable = has_both_classes(truth, known)
    if not rankable.any():
        return None
    some = None if known is None else known[:, rankable]
    return float(average_precision_and_auc(truth[:, rankable], scores[:, rankable], some)[0].mean())
