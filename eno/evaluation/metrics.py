"""Multi-label metrics, as scikit-learn defines them.

They are computed from counts and from one sort a label: scikit-learn's own functions take most of a minute for 20,000
tracks and 1,000 labels, and take a single label for two classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from eno.models.average_precision import average_precision_and_auc, has_both_classes

BINS = 15
"""Bins of equal width between 0 and 1 for the expected calibration error."""

_AT_ONCE = 4_000_000  # probabilities that are ranked together


@dataclass(frozen=True)
class Metrics:
    """Metrics of one set of predictions, over the labels that have positives and negatives.

    Attributes
    ----------
    precision_macro, recall_macro, f1_macro : float
        Means over labels of what a threshold gives; 0 for a label of which nothing was predicted.
    precision_micro, recall_micro, f1_micro : float
        The same over all decisions together.
    precision_samples, recall_samples, f1_samples : float
        Means over the rows that have a label; 0 for a row for which nothing was predicted.
    map_macro, roc_auc_macro : float
        Means over labels of average precision and area under the ROC curve, which need no threshold.
    map_micro : float
        Average precision of all decisions in one ranking.
    lrap : float
        Label ranking average precision, over the rows that have a label: 1 where each row's labels are ranked first.
    coverage_error : float
        How many labels must be read, on average, to have seen all of a row's; over the rows that have one.
    hamming_loss : float
        Share of wrong decisions.
    ece, ece_macro : float
        Expected calibration error over all decisions, and the mean of those of the labels. See `calibration_errors`.
    rows, rows_without_labels : int
        Rows, and those among them that have none of the labels.
    labels : int
        Labels that could be judged.
    without_positives, without_negatives : int
        Labels that are on no row or on all, which were left out.
    """

    precision_macro: float
    recall_macro: float
    f1_macro: float
    precision_micro: float
    recall_micro: float
    f1_micro: float
    precision_samples: float
    recall_samples: float
    f1_samples: float
    map_macro: float
    map_micro: float
    roc_auc_macro: float
    lrap: float
    coverage_error: float
    hamming_loss: float
    ece: float
    ece_macro: float
    rows: int
    rows_without_labels: int
    labels: int
    without_positives: int
    without_negatives: int


def evaluate(truth: np.ndarray, probabilities: np.ndarray, *, thresholds: float | np.ndarray = 0.5) -> Metrics:
    """Compare probabilities with the truth.

    Parameters
    ----------
    truth : np.ndarray [shape=(n, k)]
        Labels; what is above 0 counts.
    probabilities : np.ndarray [shape=(n, k)]
        What was predicted, each in 0 … 1.
    thresholds : float or np.ndarray [shape=(k,)]
        A label counts as predicted where its probability is strictly above it.

    Returns
    -------
    Metrics
        Over the labels that have positives and negatives; the others are counted.

    Raises
    ------
    ValueError
        The shapes differ, a probability is no number in 0 … 1, or no label can be judged.
    """
    y, p, limits = check_predictions(truth, probabilities, thresholds)
    judged = has_both_classes(y)
    if not judged.any():
        raise ValueError(f"none of the {y.shape[1]} labels has both positives and negatives in {len(y)} rows.")
    without_positives = int((~y.any(axis=0)).sum())
    without_negatives = int((~judged).sum()) - without_positives
    y, p = y[:, judged], p[:, judged]
    predicted = p > limits[judged]
    precisions, areas = average_precision_and_auc(y, p)
    labelled = y.any(axis=1)
    lrap, coverage = _rank_rows(y[labelled], p[labelled])
    ece, ece_by_label = calibration_errors(y, p)
    macro, micro = precision_recall_f1(y, predicted, axis=0), precision_recall_f1(y, predicted)
    samples = precision_recall_f1(y[labelled], predicted[labelled], axis=1)
    return Metrics(
        precision_macro=float(macro[0].mean()),
        recall_macro=float(macro[1].mean()),
        f1_macro=float(macro[2].mean()),
        precision_micro=float(micro[0]),
        recall_micro=float(micro[1]),
        f1_micro=float(micro[2]),
        precision_samples=float(samples[0].mean()),
        recall_samples=float(samples[1].mean()),
        f1_samples=float(samples[2].mean()),
        map_macro=float(precisions.mean()),
        map_micro=float(average_precision_and_auc(y.reshape(-1, 1), p.reshape(-1, 1))[0][0]),
        roc_auc_macro=float(areas.mean()),
        lrap=lrap,
        coverage_error=coverage,
        hamming_loss=float((predicted != y).mean()),
        ece=ece,
        ece_macro=float(ece_by_label.mean()),
        rows=len(y),
        rows_without_labels=int((~labelled).sum()),
        labels=int(judged.sum()),
        without_positives=without_positives,
        without_negatives=without_negatives,
    )


def check_predictions(
    truth: np.ndarray, probabilities: np.ndarray, thresholds: float | np.ndarray = 0.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make sure that predictions can be judged.

    Returns
    -------
    truth : np.ndarray [shape=(n, k), dtype=bool]
    probabilities : np.ndarray [shape=(n, k)]
    thresholds : np.ndarray [shape=(k,)]
        Of the type of the probabilities, so that a probability is not above a threshold of the same digits.

    Raises
    ------
    ValueError
        See `evaluate`.
    """
    y, p = np.asarray(truth) > 0, np.asarray(probabilities)
    if y.ndim != 2 or y.shape != p.shape:
        raise ValueError(f"truth has the shape {y.shape}, probabilities {p.shape}; expected (n, k) twice.")
    p = p if np.issubdtype(p.dtype, np.floating) else p.astype(np.float32)
    if p.size and not (p.min() >= 0 and p.max() <= 1):  # false also of NaN
        row, label = np.argwhere(~((p >= 0) & (p <= 1)))[0]
        raise ValueError(f"probabilities hold {p[row, label]} in row {row}, label {label}; expected 0 to 1.")
    limits = np.asarray(thresholds, p.dtype)
    if limits.shape not in ((), (y.shape[1],)) or np.isnan(limits).any():
        raise ValueError(f"thresholds have the shape {limits.shape}; expected one number, or {y.shape[1]}, none NaN.")
    return y, p, np.broadcast_to(limits, (y.shape[1],))


def precision_recall_f1(
    truth: np.ndarray, predicted: np.ndarray, *, axis: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1, 0 where they would divide by 0.

    Parameters
    ----------
    truth, predicted : np.ndarray [shape=(n, k), dtype=bool]
        Labels and decisions.
    axis : {0, 1}, optional
        0 for one figure a label, 1 for one a row; otherwise over all decisions.
    """
    hits = (truth & predicted).sum(axis=axis)
    return rates(hits, predicted.sum(axis=axis), truth.sum(axis=axis))


def rates(hits: np.ndarray, predicted: np.ndarray, positives: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 from counts of any shape, 0 where they would divide by 0."""
    return (
        hits / np.maximum(predicted, 1),
        hits / np.maximum(positives, 1),
        2 * hits / np.maximum(predicted + positives, 1),
    )


def calibration_errors(truth: np.ndarray, probabilities: np.ndarray) -> tuple[float, np.ndarray]:
    """Expected calibration error: how far probabilities are from the frequencies of what they promise.

    Parameters
    ----------
    truth, probabilities : np.ndarray [shape=(n, k)]
        See `evaluate`.

    Returns
    -------
    overall : float
        Over all decisions together.
    by_label : np.ndarray [shape=(k,), dtype=float64]
        Of each label alone: higher, since errors of labels do not cancel and few rows fill a bin.

    Notes
    -----
    The mean over bins of ``|mean probability - share of positives|``, weighted by the decisions in them: C. Guo et al.,
    "On calibration of modern neural networks", ICML 2017, with its 15 bins of equal width.
    """
    _, promised, found = reliability(truth, probabilities)
    decisions = max(1, truth.shape[0])
    by_label = np.abs(promised - found).sum(axis=1) / decisions
    overall = np.abs(promised.sum(axis=0) - found.sum(axis=0)).sum() / (decisions * max(1, truth.shape[1]))
    return float(overall), by_label


def reliability(truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sort decisions into bins by their probability.

    Returns
    -------
    decisions, promised, found : np.ndarray [shape=(k, BINS)]
        How many there are in each bin of each label, the sum of their probabilities, and how many are positive.
    """
    labels = truth.shape[1]
    counts = np.empty((3, labels, BINS))
    for label in range(labels):
        values = probabilities[:, label]
        bins = np.minimum((values * BINS).astype(np.int64), BINS - 1)
        for i, weights in enumerate((None, values, truth[:, label] > 0)):
            counts[i, label] = np.bincount(bins, weights, minlength=BINS)
    return counts[0], counts[1], counts[2]


def _rank_rows(truth: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Label ranking average precision and coverage error of rows that each have a label."""
    quality, depth = np.empty(len(truth)), np.empty(len(truth))
    labels = truth.shape[1]
    step = max(1, _AT_ONCE // labels)
    for first in range(0, len(truth), step):
        block = slice(first, first + step)
        ranks = rankdata(-scores[block], method="max", axis=1).astype(np.int64)
        rows, columns = np.nonzero(truth[block])
        # Places of a row's labels in one sorted list of all rows: equal ranks count together.
        places = np.sort(rows * (labels + 1) + ranks[rows, columns])
        starts = np.searchsorted(rows, np.arange(len(ranks)))
        of_row = places - rows * (labels + 1)
        found = np.searchsorted(places, places, side="right") - starts[rows]
        quality[block] = np.add.reduceat(found / of_row, starts) / np.diff(starts, append=len(rows))
        depth[block] = np.maximum.reduceat(of_row, starts)
    return float(quality.mean()), float(depth.mean())


def prevalence_baseline(train_truth: np.ndarray, rows: int) -> np.ndarray:
    """Predict for everything how frequent each label is: what any head must beat.

    Parameters
    ----------
    train_truth : np.ndarray [shape=(n, k)]
        Labels of the training rows.
    rows : int
        How many rows to predict.

    Returns
    -------
    np.ndarray [shape=(rows, k), dtype=float32]
        The same row again and again.
    """
    return np.tile(train_truth.mean(axis=0).astype(np.float32), (rows, 1))
