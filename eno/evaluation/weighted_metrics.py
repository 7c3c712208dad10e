"""Metrics for many weightings of the same rows at once.

Ranks do not depend on weights, so the rows of a label are ranked once, and each weighting is a product of matrices.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from eno.evaluation.metrics import check_predictions, rank_rows, usable_labels
from eno.models.training_data import chunks

RANKED, DECIDED, LRAP = ("map_macro", "roc_auc_macro"), ("f1_macro", "f1_micro"), "lrap"
METRICS = (*RANKED, *DECIDED, LRAP)
"""The metrics that can be weighted; see `eno.evaluation.metrics.Metrics`."""

_ROWS_AT_ONCE = 1_024  # that are counted
_DENSE = 5  # multiplications of a dense product in the time of one of a sparse product


def weighted_metrics(
    truth: np.ndarray,
    probabilities: np.ndarray,
    thresholds: float | np.ndarray,
    groups: np.ndarray,
    weights: np.ndarray,
    metrics: Sequence[str],
    known: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return metrics for each weighting of groups of rows, by name [shape=(b,), dtype=float64].

    A label whose rows with a weight are all positive or all negative is left out of the means of that weighting; a
    metric without labels is NaN. Labels that are all positive or all negative without weights never count.

    Parameters
    ----------
    truth, probabilities, thresholds, known
        See `eno.evaluation.metrics.evaluate`.
    groups, weights
        See `weighted_average_precision_and_auc`.
    metrics : sequence of str
        Some of `METRICS`.
    """
    y, p, limits, known = check_predictions(truth, probabilities, thresholds, known)
    if len(groups) != len(y):
        raise ValueError(f"groups has {len(groups)} values for {len(y)} rows.")
    if unknown := set(metrics) - set(METRICS):
        raise ValueError(f"metrics {', '.join(sorted(unknown))}: expected some of {', '.join(METRICS)}.")
    usable = usable_labels(y, known, np.arange(y.shape[1]))
    found: dict[str, np.ndarray] = {}
    if set(metrics) & set(DECIDED):
        predicted = ((p > limits) & known)[:, usable]
        found |= _of_decisions(y[:, usable], predicted, groups, weights, known[:, usable])
    if set(metrics) & set(RANKED):
        found |= _of_rankings(y, p, groups, weights, known, usable)
    if LRAP in metrics:
        labelled = y[:, usable].any(axis=1)
        quality, _ = rank_rows(y, p, known, usable)
        counts = np.bincount(groups[labelled], minlength=len(weights)) @ weights
        sums = np.bincount(groups[labelled], quality, minlength=len(weights)) @ weights
        found[LRAP] = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return {name: found[name] for name in metrics}


def weighted_average_precision_and_auc(
    truth: np.ndarray, scores: np.ndarray, groups: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return average precision and ROC-AUC of one label for each weighting [shape=(b,), dtype=float64].

    As scikit-learn's `average_precision_score` and `roc_auc_score` with `sample_weight`; NaN if no positive has a
    weight, the ROC-AUC also if no negative has one.

    Parameters
    ----------
    truth, scores : np.ndarray [shape=(n,)]
        Whether the label is true, and scores, which are higher for more likely positives. Ties share a rank.
    groups : np.ndarray [shape=(n,), dtype=int]
        Group of each row, 0 … g - 1.
    weights : np.ndarray [shape=(g, b), dtype=float32]
        Weight of each group in each weighting: integers, which float32 adds exactly up to 2**24.
    """
    levels, level = np.unique(scores[truth], return_inverse=True)
    if len(levels) == 0:
        nothing = np.full(weights.shape[1], np.nan)
        return nothing, nothing
    negatives, owners = scores[~truth], groups[~truth]
    reached = np.searchsorted(levels, negatives, side="right")  # number of levels at or below each negative
    exceeded = np.searchsorted(levels, negatives, side="left")
    tied = reached > exceeded
    positives = _weights_at(level, groups[truth], len(levels), weights)
    at_levels = _weights_at(reached, owners, len(levels) + 1, weights)
    false = _from_above(at_levels)  # weight of negatives at or above each level, after that of all
    true = _from_above(positives)
    below = false[0] - false[1:]
    if tied.any():
        below += _weights_at(exceeded[tied], owners[tied], len(levels), weights) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = true / np.maximum(true + false[1:], 1)
        average_precision = np.einsum("lb,lb->b", positives, precision, dtype=np.float64) / true[0]
        roc_auc = np.einsum("lb,lb->b", positives, below, dtype=np.float64) / (true[0].astype(np.float64) * false[0])
    return average_precision, roc_auc


def _of_decisions(
    y: np.ndarray, predicted: np.ndarray, groups: np.ndarray, weights: np.ndarray, known: np.ndarray
) -> dict[str, np.ndarray]:
    def counted(rows: np.ndarray) -> np.ndarray:
        of_groups = np.zeros((len(weights), rows.shape[1]), np.float32)
        for at in chunks(len(rows), _ROWS_AT_ONCE):
            np.add.at(of_groups, groups[at], rows[at].astype(np.float32))
        result: np.ndarray = weights.T @ of_groups
        return result

    positives, chosen, hits = counted(y), counted(predicted), counted(y & predicted)
    usable = (positives > 0) & (positives < counted(known))
    f1 = 2 * hits / np.maximum(positives + chosen, 1)
    hits, both = (np.where(usable, counts, 0).sum(axis=1, dtype=np.float64) for counts in (hits, positives + chosen))
    with np.errstate(invalid="ignore"):
        f1_macro = np.where(usable, f1, 0).sum(axis=1, dtype=np.float64) / usable.sum(axis=1)
    return {"f1_macro": f1_macro, "f1_micro": np.where(usable.any(axis=1), 2 * hits / np.maximum(both, 1), np.nan)}


def _of_rankings(
    y: np.ndarray, p: np.ndarray, groups: np.ndarray, weights: np.ndarray, known: np.ndarray, labels: np.ndarray
) -> dict[str, np.ndarray]:
    sums, counts = np.zeros((2, weights.shape[1])), np.zeros(weights.shape[1])
    for label in labels.tolist():
        rows = known[:, label]
        precision, area = weighted_average_precision_and_auc(y[rows, label], p[rows, label], groups[rows], weights)
        usable = ~np.isnan(area)  # without negatives, average precision is meaningless
        sums += np.where(usable, (precision, area), 0)
        counts += usable
    with np.errstate(invalid="ignore"):
        return dict(zip(RANKED, sums / counts, strict=True))


def _weights_at(places: np.ndarray, groups: np.ndarray, count: int, weights: np.ndarray) -> np.ndarray:
    """Sum the weights of rows by place [shape=(count, b)]."""
    shape = (count, len(weights))
    rows = sparse.csr_array((np.ones(len(places), np.float32), (places, groups)), shape=shape)
    dense = count * len(weights) <= _DENSE * rows.nnz
    result: np.ndarray = (rows.toarray() if dense else rows) @ weights
    return result


def _from_above(values: np.ndarray) -> np.ndarray:
    """Return cumulative sums from the last row to the first."""
    result: np.ndarray = values[::-1].cumsum(axis=0)[::-1]
    return result
