"""Average precision and ROC-AUC per label, and the score by which options and epochs are chosen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from eno.data.labels.values import present
from eno.models.training_data import chunks
from eno.views import RowView

_VALUES_AT_ONCE = 1_000_000
_CLIPPED = 1e-6  # so that a single wrong probability of 0 or 1 does not decide


def has_both_classes(truth: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Return which labels have positives and negatives [shape=(k,), dtype=bool], among the `known` values [(n, k)]."""
    found = np.zeros((2, truth.shape[1]), bool)
    for rows in chunks(len(truth), max(1, _VALUES_AT_ONCE // max(1, truth.shape[1]))):
        positive, counted = present(truth[rows]), True if known is None else known[rows]
        found |= (positive & counted).any(axis=0), (~positive & counted).any(axis=0)
    both: np.ndarray = found[0] & found[1]
    return both


def average_precision_and_auc(
    truth: np.ndarray, scores: np.ndarray, known: np.ndarray | None = None, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return average precision and ROC-AUC of labels, as scikit-learn defines them [shape=(k,), dtype=float64].

    Both are NaN for a label without positives, the ROC-AUC also without negatives.

    Parameters
    ----------
    truth, scores : np.ndarray [shape=(n, k)]
        Labels, positive from 0.5 on, and scores, which are higher for more likely positives. Ties share a rank.
    known : np.ndarray [shape=(n, k), dtype=bool], optional
        Which values of `truth` are known; the others do not count.
    labels : np.ndarray [dtype=int64], optional
        Indices of the labels; by default all.
    """
    if truth.shape != scores.shape:
        raise ValueError(f"truth has the shape {truth.shape}, scores {scores.shape}; expected the same.")
    chosen = range(truth.shape[1]) if labels is None else labels.tolist()
    ranked = [_of_label(truth, scores, known, label) for label in chosen]
    precisions, areas = np.array(ranked, np.float64).reshape(-1, 2).T
    return precisions, areas


def _of_label(
    truth: np.ndarray, scores: np.ndarray | RowView, known: np.ndarray | None, label: int
) -> tuple[float, float]:
    rows = slice(None) if known is None else known[:, label]
    of_rows = scores[rows, label]
    return _rank(of_rows[present(truth[rows, label])], [of_rows])


def pooled_average_precision(truth: np.ndarray, scores: np.ndarray, known: np.ndarray, labels: np.ndarray) -> float:
    """Return the average precision of the decisions about some labels, all of them ranked together."""
    return _rank(positive_scores(truth, scores, labels), known_scores(scores, known, labels))[0]


def positive_scores(truth: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the scores of the positives of some labels, where `truth` [dtype=bool] is false if it is not known."""
    rows, columns = np.nonzero(truth[:, labels])
    found: np.ndarray = scores[rows, labels[columns]]
    return found


def known_scores(scores: np.ndarray, known: np.ndarray, labels: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the known scores of some labels in pieces: together, they would be a copy of all."""
    for rows in chunks(len(scores), max(1, _VALUES_AT_ONCE // max(1, len(labels)))):
        yield scores[rows][:, labels][known[rows][:, labels]]


def _rank(positives: np.ndarray, pieces: Iterable[np.ndarray]) -> tuple[float, float]:
    """Return average precision and ROC-AUC from the scores of positives, and pieces of the scores of all."""
    found = np.sort(positives)
    if len(found) == 0:
        return np.nan, np.nan
    reached, exceeded, total = np.zeros(len(found), np.int64), np.zeros(len(found), np.int64), 0
    for piece in pieces:
        ordered = np.sort(piece)
        reached += len(ordered) - np.searchsorted(ordered, found, "left")
        exceeded += len(ordered) - np.searchsorted(ordered, found, "right")
        total += len(ordered)
    negatives = total - len(found)
    true, true_exceeded = (len(found) - np.searchsorted(found, found, side) for side in ("left", "right"))
    false = reached - true  # negatives with at least the same score
    tied = false - (exceeded - true_exceeded)
    area = np.mean(negatives - false + tied / 2) / negatives if negatives else np.nan
    return float(np.mean(true / reached)), float(area)


def macro_map(truth: np.ndarray, scores: np.ndarray | RowView, known: np.ndarray | None = None) -> float | None:
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
