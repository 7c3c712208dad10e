"""Multi-label metrics, as scikit-learn defines them.

They are computed from counts and one sort per label: scikit-learn's own functions take most of a minute for 20,000
tracks and 1,000 labels, and treat a single label as two classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from eno.models.average_precision import average_precision_and_auc, has_both_classes, pooled_average_precision
from eno.models.types import Labels

BINS = 15
"""Number of bins of equal width for the expected calibration error."""

_VALUES_AT_ONCE = 1_000_000  # probabilities that are ranked together


@dataclass(frozen=True)
class Metrics:
    """Metrics of one set of predictions, over the labels with positives and negatives.

    Means over labels (macro), over all decisions together (micro), and over rows with a label (samples). Precision is 0
    where nothing is predicted.

    Attributes
    ----------
    lrap : float
        Label ranking average precision, over rows with a label: 1 if each row's labels are ranked first.
    coverage_error : float
        Mean rank of a row's last true label, over rows with a label.
    hamming_loss : float
        Fraction of wrong decisions.
    ece, ece_macro : float
        Expected calibration error over all decisions, and its mean over labels; see `calibration_errors`.
    labels, without_positives, without_negatives : int
        Number of labels with positives and negatives, and of excluded ones.
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


def evaluate(
    truth: np.ndarray,
    probabilities: np.ndarray,
    *,
    thresholds: float | np.ndarray = 0.5,
    known: np.ndarray | None = None,
    labels: np.ndarray | None = None,
) -> Metrics:
    """Compute metrics of probabilities.

    Parameters
    ----------
    truth, probabilities : np.ndarray [shape=(n, k)]
        Labels, positive above 0, and probabilities, 0 … 1.
    thresholds : float or np.ndarray [shape=(k,)]
        A label is predicted if its probability is strictly above.
    known : np.ndarray [shape=(n, k), dtype=bool], optional
        Which labels are known. Others, such as the descriptors of an album that nobody described, do not count: in a
        row, only known labels are ranked and predicted.
    labels : np.ndarray [dtype=int64], optional
        Indices of the labels that count; by default all. Their probabilities are not copied.

    Raises
    ------
    ValueError
        Shapes differ, a probability is not in 0 … 1, or no label has positives and negatives.
    """
    y, p, limits, known = check_predictions(truth, probabilities, thresholds, known)
    chosen = np.arange(y.shape[1]) if labels is None else labels
    usable = usable_labels(y, known, chosen)
    without_positives = int((y.sum(axis=0)[chosen] == 0).sum())
    without_negatives = len(chosen) - len(usable) - without_positives
    precisions, areas = average_precision_and_auc(y, p, known, usable)
    pooled = pooled_average_precision(y, p, known, usable)
    ranking, depth = rank_rows(y, p, known, usable)
    ece, ece_by_label = calibration_errors(y, p, known, usable)
    predicted = ((p > limits) & known)[:, usable]
    y, known = y[:, usable], known[:, usable]
    labelled, rows = y.any(axis=1), int(known.any(axis=1).sum())
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
        map_micro=pooled,
        roc_auc_macro=float(areas.mean()),
        lrap=float(ranking.mean()),
        coverage_error=float(depth.mean()),
        hamming_loss=float((predicted != y).sum() / known.sum()),
        ece=ece,
        ece_macro=float(ece_by_label.mean()),
        rows=rows,
        rows_without_labels=rows - int(labelled.sum()),
        labels=len(usable),
        without_positives=without_positives,
        without_negatives=without_negatives,
    )


def check_predictions(
    truth: np.ndarray,
    probabilities: np.ndarray,
    thresholds: float | np.ndarray = 0.5,
    known: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Check predictions for `evaluate`; return labels, probabilities, a threshold per label, and which are known.

    Labels are boolean, and false where they are not known. Thresholds [shape=(k,)] are converted to the dtype of the
    probabilities, so that a probability is not above an equal threshold.
    """
    labels, p = np.asarray(truth), np.asarray(probabilities)
    if np.isnan(labels).any():
        raise ValueError("truth has NaN values.")
    y = labels > 0
    if y.ndim != 2 or y.shape != p.shape:
        raise ValueError(f"truth has the shape {y.shape}, probabilities {p.shape}; expected (n, k) for both.")
    p = p if np.issubdtype(p.dtype, np.floating) else p.astype(np.float32)
    if p.size and not (p.min() >= 0 and p.max() <= 1):  # false also of NaN
        row, label = np.argwhere(~((p >= 0) & (p <= 1)))[0]
        raise ValueError(f"The probability in row {row}, label {label} is {p[row, label]}; expected 0 to 1.")
    limits = np.asarray(thresholds, p.dtype)
    if limits.shape not in ((), (y.shape[1],)) or np.isnan(limits).any():
        raise ValueError(f"thresholds have the shape {limits.shape}; expected one number or {y.shape[1]}, without NaN.")
    if known is None:
        known = np.broadcast_to(np.True_, y.shape)  # takes no memory
    elif known.shape != y.shape or known.dtype != bool:
        raise ValueError(f"known has the shape {known.shape} and dtype {known.dtype}; expected {y.shape} and bool.")
    return y & known, p, np.broadcast_to(limits, (y.shape[1],)), known


def usable_labels(truth: np.ndarray, known: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return those of some labels that have positives and negatives [dtype=int64]; raises a ValueError if none has."""
    usable: np.ndarray = labels[has_both_classes(truth, known)[labels]]
    if len(usable) == 0:
        raise ValueError(f"None of the {len(labels)} labels has both positives and negatives in {len(truth)} rows.")
    return usable


def precision_recall_f1(
    truth: np.ndarray, predicted: np.ndarray, *, axis: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall and F1 of decisions: per label (axis 0), per row (axis 1), or over all."""
    hits = (truth & predicted).sum(axis=axis)
    return rates(hits, predicted.sum(axis=axis), truth.sum(axis=axis))


def rates(hits: np.ndarray, predicted: np.ndarray, positives: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall and F1 from counts of any shape; 0 instead of a division by 0."""
    return (
        hits / np.maximum(predicted, 1),
        hits / np.maximum(positives, 1),
        2 * hits / np.maximum(predicted + positives, 1),
    )


def calibration_errors(
    truth: np.ndarray, probabilities: np.ndarray, known: np.ndarray | None = None, labels: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """Return the expected calibration error over all known decisions, and of each label [shape=(k,), dtype=float64].

    The mean over `BINS` bins of ``|mean probability - share of positives|``, weighted by decisions (C. Guo et al., "On
    calibration of modern neural networks", ICML 2017). Those of labels are higher: errors of different labels do not
    cancel, and bins have fewer rows. By default all labels count, or else those with the indices `labels`.
    """
    decisions, predicted, positives = reliability(truth, probabilities, known, labels)
    by_label = np.abs(predicted - positives).sum(axis=1) / np.maximum(decisions.sum(axis=1), 1)
    overall = np.abs(predicted.sum(axis=0) - positives.sum(axis=0)).sum() / max(1, decisions.sum())
    return float(overall), by_label


def reliability(
    truth: np.ndarray, probabilities: np.ndarray, known: np.ndarray | None = None, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bin known decisions about all labels, or those with some indices, by their probability.

    Returns
    -------
    decisions, predicted, positives : np.ndarray [shape=(k, BINS)]
        Number of decisions, sum of their probabilities, and number of positives in each bin of each label.
    """
    chosen = np.arange(truth.shape[1]) if labels is None else labels
    counts = np.empty((3, len(chosen), BINS))
    for place, label in enumerate(chosen.tolist()):
        rows = slice(None) if known is None else known[:, label]
        values = probabilities[rows, label]
        bins = np.minimum((values * BINS).astype(np.int64), BINS - 1)
        for i, weights in enumerate((None, values, truth[rows, label] > 0)):
            counts[i, place] = np.bincount(bins, weights, minlength=BINS)
    return counts[0], counts[1], counts[2]


def rank_rows(
    truth: np.ndarray, scores: np.ndarray, known: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return label ranking average precision and coverage error of each row with one of some labels [shape=(n,)]."""
    labelled = np.flatnonzero(truth[:, labels].any(axis=1))
    quality, depth = np.empty(len(labelled)), np.empty(len(labelled))
    step = max(1, _VALUES_AT_ONCE // len(labels))
    for first in range(0, len(labelled), step):
        block = slice(first, first + step)
        at = np.ix_(labelled[block], labels)
        ranks = rankdata(np.where(known[at], -scores[at], 1), method="max", axis=1).astype(np.int64)
        rows, columns = np.nonzero(truth[at])
        # Ranks of the labels of all rows in one sorted list; equal ranks count together.
        places = np.sort(rows * (len(labels) + 1) + ranks[rows, columns])
        starts = np.searchsorted(rows, np.arange(len(ranks)))
        of_row = places - rows * (len(labels) + 1)
        found = np.searchsorted(places, places, side="right") - starts[rows]
        quality[block] = np.add.reduceat(found / of_row, starts) / np.diff(starts, append=len(rows))
        depth[block] = np.maximum.reduceat(of_row, starts)
    return quality, depth


def prevalence_baseline(train_truth: Labels, rows: int, known: np.ndarray | None = None) -> np.ndarray:
    """Return the frequency of each label in training as its probability for every row [shape=(rows, k)].

    `train_truth` [shape=(n, k)] can be sparse; labels above 0 count as 1. `known` is the number of training rows in
    which each label is known [shape=(k,)], by default all.
    """
    positives = (train_truth > 0).sum(axis=0)
    counts = train_truth.shape[0] if known is None else known
    return np.tile((positives / np.maximum(counts, 1)).astype(np.float32), (rows, 1))
