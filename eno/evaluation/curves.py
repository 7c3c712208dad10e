"""The curves of the report, as few points as a picture needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eno.evaluation.metrics import rates, reliability

_POINTS = 200
_GRID = np.arange(1, 100) / 100


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Precision against recall, as a threshold falls.

    Attributes
    ----------
    name : str
        A label, or what else is ranked.
    average_precision : float
        The area below.
    recall, precision : np.ndarray [shape=(points,)]
        Recall rises.
    """

    name: str
    average_precision: float
    recall: np.ndarray
    precision: np.ndarray


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often what was promised came true.

    Attributes
    ----------
    decisions : np.ndarray [shape=(bins,)]
        How many decisions have such a probability.
    promised, found : np.ndarray [shape=(bins,)]
        Their mean probability, and the share of them that are positive; NaN in an empty bin.
    """

    decisions: np.ndarray
    promised: np.ndarray
    found: np.ndarray


@dataclass(frozen=True, eq=False)
class ThresholdCurve:
    """F1 if all labels had the same threshold.

    Attributes
    ----------
    thresholds : np.ndarray [shape=(99,)]
        0.01 … 0.99.
    f1_macro, f1_micro : np.ndarray [shape=(99,)]
        What each gives.
    """

    thresholds: np.ndarray
    f1_macro: np.ndarray
    f1_micro: np.ndarray


def precision_recall(name: str, average_precision: float, truth: np.ndarray, scores: np.ndarray) -> PrecisionRecall:
    """Draw the curve of one ranking that has positives, at evenly spread positives.

    Parameters
    ----------
    name, average_precision
        See `PrecisionRecall`.
    truth : np.ndarray [shape=(n,), dtype=bool]
    scores : np.ndarray [shape=(n,)]
    """
    found, ordered = np.sort(scores[truth]), np.sort(scores)
    levels = np.unique(found[np.linspace(0, len(found) - 1, _POINTS).astype(int)])[::-1]
    true = len(found) - np.searchsorted(found, levels)
    return PrecisionRecall(
        name, average_precision, true / len(found), true / (len(ordered) - np.searchsorted(ordered, levels))
    )


def reliability_curve(truth: np.ndarray, probabilities: np.ndarray) -> Reliability:
    """Pool the decisions of all labels; see `eno.evaluation.metrics.reliability`."""
    decisions, promised, found = (counts.sum(axis=0) for counts in reliability(truth, probabilities))
    with np.errstate(invalid="ignore"):
        return Reliability(decisions, promised / decisions, found / decisions)


def threshold_curve(truth: np.ndarray, probabilities: np.ndarray) -> ThresholdCurve:
    """Compute F1 at common thresholds.

    Parameters
    ----------
    truth : np.ndarray [shape=(n, k), dtype=bool]
        Labels that can all be judged.
    probabilities : np.ndarray [shape=(n, k)]
    """
    labels, grid = truth.shape[1], _GRID.astype(probabilities.dtype)
    hits, chosen = np.empty((2, len(grid), labels))
    for label in range(labels):
        above = np.searchsorted(grid, probabilities[:, label], side="left")  # so many thresholds it is strictly above
        for counts, rows in ((hits, above[truth[:, label]]), (chosen, above)):
            reached = np.bincount(rows, minlength=len(grid) + 1)[::-1].cumsum()[::-1]
            counts[:, label] = reached[1:]
    positives = truth.sum(axis=0)
    return ThresholdCurve(
        _GRID,
        rates(hits, chosen, positives)[2].mean(axis=1),
        rates(hits.sum(axis=1), chosen.sum(axis=1), positives.sum())[2],
    )
