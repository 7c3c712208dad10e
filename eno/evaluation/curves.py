"""Data of the report's charts, reduced to as many points as a chart needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from eno.evaluation.metrics import rates, reliability

_POINTS = 200
_GRID = np.arange(1, 100) / 100


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Precision against ascending recall [shape=(points,)], of a label or of "all decisions"."""

    name: str
    average_precision: float
    recall: np.ndarray
    precision: np.ndarray


@dataclass(frozen=True, eq=False)
class Reliability:
    """Number of decisions, mean probability and share of positives per bin [shape=(bins,)]; NaN in an empty bin."""

    decisions: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray


@dataclass(frozen=True, eq=False)
class ThresholdCurve:
    """F1 with one threshold for all labels, at thresholds 0.01 … 0.99 [shape=(99,)]."""

    thresholds: np.ndarray
    f1_macro: np.ndarray
    f1_micro: np.ndarray


def precision_recall(
    name: str, average_precision: float, positives: np.ndarray, pieces: Iterable[np.ndarray]
) -> PrecisionRecall:
    """Compute the curve of one ranking from the scores of its positives, and pieces of all scores [shape=(n,)]."""
    found = np.sort(positives)
    levels = np.unique(found[np.linspace(0, len(found) - 1, _POINTS).astype(int)])[::-1]
    true, predicted = len(found) - np.searchsorted(found, levels), np.zeros(len(levels), np.int64)
    for piece in pieces:
        predicted += len(piece) - np.searchsorted(np.sort(piece), levels)
    return PrecisionRecall(name, average_precision, true / len(found), true / predicted)


def reliability_curve(
    truth: np.ndarray, probabilities: np.ndarray, known: np.ndarray | None = None, labels: np.ndarray | None = None
) -> Reliability:
    """Compute reliability over the decisions of all or some labels; see `eno.evaluation.metrics.reliability`."""
    of_labels = reliability(truth, probabilities, known, labels)
    decisions, predicted, positives = (counts.sum(axis=0) for counts in of_labels)
    with np.errstate(invalid="ignore"):
        return Reliability(decisions, predicted / decisions, positives / decisions)


def threshold_curve(
    truth: np.ndarray, probabilities: np.ndarray, known: np.ndarray | None = None, labels: np.ndarray | None = None
) -> ThresholdCurve:
    """Compute F1 with common thresholds over all or some labels, with positives and negatives among the known."""
    some, grid = np.arange(truth.shape[1]) if labels is None else labels, _GRID.astype(probabilities.dtype)
    hits, chosen = np.empty((2, len(grid), len(some)))
    for place, label in enumerate(some.tolist()):
        usable = slice(None) if known is None else known[:, label]
        above = np.searchsorted(grid, probabilities[usable, label], side="left")  # number of thresholds below
        for counts, rows in ((hits, above[truth[usable, label]]), (chosen, above)):
            reached = np.bincount(rows, minlength=len(grid) + 1)[::-1].cumsum()[::-1]
            counts[:, place] = reached[1:]
    positives = truth.sum(axis=0)[some]
    return ThresholdCurve(
        _GRID,
        rates(hits, chosen, positives)[2].mean(axis=1),
        rates(hits.sum(axis=1), chosen.sum(axis=1), positives.sum())[2],
    )
