"""Average precision and ROC-AUC per label, and the score by which options and epochs are chosen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from eno.data.labels.values import present

_CLIPPED = 1e-6  # so that a single wrong probability of 0 or 1 does not decide


def has_both_classes(truth: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Return which labels have positives and negatives [shape=(k,), dtype=bool], among the `known` values [(n, k)]."""
    positive = present(truth)
    if known is None:
        return np.asarray(positive.any(axis=0) & ~positive.all(axis=0))
    return np.asarray((positive & known).any(axis=0) & (known & ~positive).any(axis=0))


def average_precision_and_auc(
    truth: np.ndarray, scores: np.ndarray, known: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return average precision and ROC-AUC of every label, as scikit-learn defines them [shape=(k,), dtype=float64].

    Both are NaN for a label without positives, the ROC-AUC also without negatives.

    Parameters
    ----------
    truth, scores : np.ndarray [shape=(n, k)]
        Labels, positive from 0.5 on, and scores, which are higher for more likely positives. Ties share a rank.
    known : np.ndarray [shape=(n, k), dtype=bool], optional
        Which values of `truth` are known; the others do not count.
    """
    if truth.shape != scores.shape:
        raise ValueError(f"truth has the shape {truth.shape}, scores {scores.shape}; expected the same.")
    ranked = [_of_label(truth, scores, known, label) for label in range(truth.shape[1])]
    precisions, areas = np.array(ranked, np.float64).reshape(-1, 2).T
    return precisions, areas


def _of_label(truth: np.ndarray, scores: np.ndarray, known: np.ndarray | None, label: int) -> tuple[float, float]:
    rows = slice(None) if known is None else known[:, label]
    return _rank(present(truth[rows, label]), scores[rows, label])


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
    return float(np.mean([_of_label(truth, scores, known, label)[0] for label in np.flatnonzero(rankable).tolist()]))


class ValidationScore(NamedTuple):
    """How good probabilities of validation rows are.

    Attributes
    ----------
    map_macro : float
    overall : float
        Macro mAP minus the mean log-loss, by which options and epochs are chosen.

    Notes
    -----
    mAP alone follows the ranks of a few positives, and does not see probabilities that are all close to the base
    rates. Log-loss changes smoothly and sees them, but prefers exactly these for rare labels. Heads whose options are
    chosen by both have the better tags on data that they were not chosen on; see ``docs/benchmarks.md``.
    """

    map_macro: float
    overall: float


def validation_score(
    truth: np.ndarray, probabilities: np.ndarray, known: np.ndarray | None = None
) -> ValidationScore | None:
    """Return how good probabilities [shape=(n, k)] are; None if no label has positives and negatives."""
    map_macro = macro_map(truth, probabilities, known)
    if map_macro is None:
        return None
    clipped = np.clip(probabilities, _CLIPPED, 1 - _CLIPPED)
    losses = -(truth * np.log(clipped) + (1 - truth) * np.log1p(-clipped))
    return ValidationScore(map_macro, map_macro - float(losses.mean() if known is None else losses[known].mean()))
