"""Metrics label by label, and of families of labels and bands of frequency."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from eno.evaluation.metrics import (
    Metrics,
    calibration_errors,
    check_predictions,
    evaluate,
    precision_recall_f1,
)
from eno.models.average_precision import average_precision_and_auc, has_both_classes

FAMILIES = ("genres", "descriptors")
"""What labels are: the first ones are genres."""

BANDS = ("head", "torso", "tail")
"""How frequent labels are, see `frequency_bands`."""

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
"""Columns of ``per_label.parquet``, one row a label. ``prevalence`` is the share of test rows that have it, ``lift``
how many times its average precision is that of a ranking by chance. Null where a label lacks positives or negatives."""


def families(num_labels: int, num_genres: int) -> np.ndarray:
    """Name the family of each label [shape=(num_labels,), dtype=str]."""
    return np.where(np.arange(num_labels) < num_genres, *FAMILIES)


def frequency_bands(train_positives: np.ndarray) -> np.ndarray:
    """Divide labels by how often they are in the training part.

    Parameters
    ----------
    train_positives : np.ndarray [shape=(k,)]
        Training rows that have each label.

    Returns
    -------
    np.ndarray [shape=(k,), dtype=str]
        The head are the most frequent labels that make up the first third of all positives, the torso those of the
        second third, and the tail is all the rest. Labels that are equally frequent share a band; one without a
        training row is in the tail.

    Examples
    --------
    >>> frequency_bands(np.array([2, 50, 20, 10, 9, 9])).tolist()
    ['tail', 'head', 'torso', 'tail', 'tail', 'tail']
    """
    counts = np.asarray(train_positives, np.float64)
    ordered = np.sort(counts)[::-1]
    sums = np.append(0, np.cumsum(ordered))
    more_frequent = sums[np.searchsorted(-ordered, -counts, side="left")]  # positives of labels that come before
    bands = np.minimum(3 * more_frequent / max(sums[-1], 1), 2).astype(int)
    return np.where(counts > 0, np.array(BANDS)[bands], BANDS[-1])


def breakdown(
    truth: np.ndarray,
    probabilities: np.ndarray,
    *,
    thresholds: float | np.ndarray = 0.5,
    num_genres: int,
    train_positives: np.ndarray,
) -> dict[str, Metrics | None]:
    """Judge families of labels and bands of frequency apart.

    Parameters
    ----------
    truth, probabilities, thresholds
        See `eno.evaluation.metrics.evaluate`.
    num_genres : int
        So many of the labels, the first ones, are genres; the others are descriptors.
    train_positives : np.ndarray [shape=(k,)]
        Training rows that have each label.

    Returns
    -------
    dict of str to Metrics or None
        By the names in `FAMILIES` and `BANDS` of which there are labels; None where none of them can be judged.
    """
    y, p, limits = check_predictions(truth, probabilities, thresholds)
    own_family, own_band = families(y.shape[1], num_genres), frequency_bands(train_positives)
    parts = {name: own_family == name for name in FAMILIES} | {name: own_band == name for name in BANDS}
    judged = has_both_classes(y)
    return {
        name: evaluate(y[:, part], p[:, part], thresholds=limits[part]) if (part & judged).any() else None
        for name, part in parts.items()
        if part.any()
    }


def per_label(
    labels: Sequence[str],
    truth: np.ndarray,
    probabilities: np.ndarray,
    *,
    thresholds: float | np.ndarray = 0.5,
    num_genres: int,
    train_positives: np.ndarray,
) -> pa.Table:
    """Judge each label.

    Parameters
    ----------
    labels : sequence of str [length=k]
        Their names.
    truth, probabilities, thresholds, num_genres, train_positives
        See `breakdown`.

    Returns
    -------
    pyarrow.Table
        Columns of `PER_LABEL_SCHEMA`; the lowest average precision comes first, and last what cannot be judged.
    """
    y, p, limits = check_predictions(truth, probabilities, thresholds)
    judged = has_both_classes(y)
    predicted = p > limits
    precision, recall, f1 = precision_recall_f1(y, predicted, axis=0)
    ap, auc = average_precision_and_auc(y, p)
    prevalence = y.mean(axis=0)

    def known(values: np.ndarray) -> pa.Array:
        return pa.array(values, pa.float64(), mask=~judged)

    columns = {
        "label": list(labels),
        "family": families(len(judged), num_genres),
        "band": frequency_bands(train_positives),
        "train_positives": np.asarray(train_positives, np.int64),
        "test_positives": y.sum(axis=0),
        "prevalence": prevalence,
        "predicted": predicted.sum(axis=0),
        "precision": known(precision),
        "recall": known(recall),
        "f1": known(f1),
        "average_precision": known(ap),
        "lift": known(ap / np.maximum(prevalence, 1e-12)),
        "roc_auc": known(auc),
        "ece": calibration_errors(y, p)[1],
        "threshold": limits.astype(np.float64),
    }
    table = pa.table(columns, schema=PER_LABEL_SCHEMA)
    return table.sort_by([("average_precision", "ascending"), ("label", "ascending")])
