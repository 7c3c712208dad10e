"""Average precision and ROC-AUC for many weightings of the same rows at once.

Ranks do not depend on weights, so the rows of a label are ranked once, and each weighting is a product of matrices. A
thousand resamples of a thousand labels take a minute.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

_DENSE = 5  # multiplications of a dense product in the time of one of a sparse product


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
