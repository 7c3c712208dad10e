"""Metrics of single labels, of families of labels, and of frequency bands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from eno.data.families import heading
from eno.evaluation.metrics import Metrics, calibration_errors, check_predictions, evaluate, precision_recall_f1
from eno.models.average_precision import average_precision_and_auc, has_both_classes

BANDS = ("head", "torso", "tail")
"""See `frequency_bands`."""

PER_LABEL_SCHEMA = pa.schema(
    [
        ("label", pa.string()),
        ("family", pa.string()),
        ("band", pa.string()),
        ("train_positives", pa.int64()),
        ("test_positives", pa.int64()),
        ("prevalence", pa.float64()),
        ("predicted", pa.int64()),
        ("precision", pa.float64()),
        ("recall", pa.float64()),
        ("f1", pa.float64()),
        ("average_precision", pa.float64()),
        ("lift", pa.float64()),
        ("roc_auc", pa.float64()),
        ("ece", pa.float64()),
        ("threshold", pa.float64()),
    ]
)
"""Columns of ``per_label.parquet``, one row per label: ``prevalence`` is the share of test rows with the label
among those in which it is known,
``lift`` average precision divided by that of a random ranking. Null if a label has no positives or no negatives."""


def frequency_bands(train_positives: np.ndarray) -> np.ndarray:
    """Divide labels into frequency bands by their number of training rows [shape=(k,), dtype=str].

    The head has the most frequent labels with the first third of all positives, the torso those with the second third,
    the tail all others. Equally frequent labels share a band.

    Examples
    --------
    >>> frequency_bands(np.array([2, 50, 20, 10, 9, 9])).tolist()
    ['tail', 'head', 'torso', 'tail', 'tail', 'tail']
    """
    counts = np.asarray(train_positives, np.float64)
    ordered = np.sort(counts)[::-1]
    sums = np.append(0, np.cumsum(ordered))
    more_frequent = sums[np.searchsorted(-ordered, -counts, side="left")]  # positives of more frequent labels
    bands = np.minimum(3 * more_frequent / max(sums[-1], 1), 2).astype(int)
    return np.where(counts > 0, np.array(BANDS)[bands], BANDS[-1])


def breakdown(
    truth: np.ndarray,
    probabilities: np.ndarray,
    *,
    thresholds: float | np.ndarray = 0.5,
    families: Sequence[str],
    train_positives: np.ndarray,
    known: np.ndarray | None = None,
) -> dict[str, Metrics | None]:
    """Evaluate each family of labels and each of `BANDS`; None if none of their labels has positives and negatives.

    Parameters
    ----------
    truth, probabilities, thresholds, known
        See `eno.evaluation.metrics.evaluate`.
    families : sequence of str
        The family of each label, such as ``"genre"``.
    train_positives : np.ndarray [shape=(k,)]
        Number of training rows with each label.
    """
    y, p, limits, known = check_predictions(truth, probabilities, thresholds, known)
    named, bands = np.array(list(map(heading, families))), frequency_bands(train_positives)
    parts = {name: named == name for name in dict.fromkeys(named.tolist())} | {name: bands == name for name in BANDS}
    usable = has_both_classes(y, known)

    def of(part: np.ndarray) -> Metrics:
        return evaluate(y, p, thresholds=limits, known=known, labels=np.flatnonzero(part))

    return {name: of(part) if (part & usable).any() else None for name, part in parts.items() if part.any()}


def per_label(
    labels: Sequence[str],
    truth: np.ndarray,
    probabilities: np.ndarray,
    *,
    thresholds: float | np.ndarray = 0.5,
    families: Sequence[str],
    train_positives: np.ndarray,
    known: np.ndarray | None = None,
) -> pa.Table:
    """Return a table of `PER_LABEL_SCHEMA`, lowest average precision first; for parameters see `breakdown`."""
    y, p, limits, known = check_predictions(truth, probabilities, thresholds, known)
    usable = has_both_classes(y, known)
    predicted = (p > limits) & known
    precision, recall, f1 = precision_recall_f1(y, predicted, axis=0)
    ap, auc = average_precision_and_auc(y, p, known)
    prevalence = y.sum(axis=0) / np.maximum(known.sum(axis=0), 1)

    def defined(values: np.ndarray) -> pa.Array:
        return pa.array(values, pa.float64(), mask=~usable)

    columns = {
        "label": list(labels),
        "family": list(map(heading, families)),
        "band": frequency_bands(train_positives),
        "train_positives": np.asarray(train_positives, np.int64),
        "test_positives": y.sum(axis=0),
        "prevalence": prevalence,
        "predicted": predicted.sum(axis=0),
        "precision": defined(precision),
        "recall": defined(recall),
        "f1": defined(f1),
        "average_precision": defined(ap),
        "lift": defined(ap / np.maximum(prevalence, 1e-12)),
        "roc_auc": defined(auc),
        "ece": calibration_errors(y, p, known)[1],
        "threshold": limits.astype(np.float64),
    }
    table = pa.table(columns, schema=PER_LABEL_SCHEMA)
    return table.sort_by([("average_precision", "ascending"), ("label", "ascending")])
