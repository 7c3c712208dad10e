"""Data of the report's charts, reduced to as many points as a chart needs."""

from __future__ import annotations

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


def precision_recall(name: str, average_precision: float, truth: np.ndarray, scores: np.ndarray) -> PrecisionRecall:
    """Compute the curve of one ranking [shape=(n,)] with positives."""
    found, ordered = np.sort(scores[truth]), np.sort(scores)
    levels = np.unique(found[np.linspace(0, len(found) - 1, _POINTS).astype(int)])[::-1]
    true = len(found) - np.searchsorted(found, levels)
    return PrecisionRecall(
        name, average_precision, true / len(found), true / (len(ordered) - np.searchsorted(ordered, levels))
    )


def reliability_curve(truth: np.ndarray, probabilities: np.ndarray, known: np.ndarray | None = None) -> Reliability:
    """Compute reliability over the decisions of all labels; see `eno.evaluation.metrics.reliability`."""
    decisions, predicted, positives = (counts.sum(axis=0) for counts in reliability(truth, probabilities, known))
    with np.errstate(invalid="ignore"):
        return Reliability(decisions, predicted / decisions, positives / decisions)


def threshold_curve(truth: np.ndarray, probabilities: np.ndarray, known: np.ndarray | None = None) -> ThresholdCurve:
    """Compute F1 with common thresholds, for labels with positives and negatives among the known [shape=(n, k)]."""
    labels, grid = truth.shape[1], _GRID.astype(probabilities.dtype)
    hits, chosen = np.empty((2, len(grid), labels))
    for label in range(labels):
        usable = slice(None) if known is None else known[:, label]
        above = np.searchsorted(grid, probabilities[usable, label], side="left")  # number of thresholds below
        for counts, rows in ((hits, above[truth[usable, label]]), (chosen, above)):
            reached = np.bincount(rows, minlength=len(grid) + 1)[::-1].cumsum()[::-1]
            counts[:, label] = reached[1:]
    positives = truth.sum(axis=0)
    return ThresholdCurve(
        _GRID,
        rates(hits, chosen, positives)[2].mean(axis=1),
        rates(hits.sum(axis=1), chosen.sum(axis=1), positives.sum())[2],
    )
