"""Average precision and area under the ROC curve, for many weightings of the same rows at once.

A row's rank does not depend on what rows weigh, so a label's rows are put in their places once; every weighting is then
a product of matrices. That is what lets a thousand resamples of a thousand labels finish in a minute.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

_DENSE = 5  # so many times as many multiplications a dense product of matrices does in the time of a sparse one


def weighted_ranking(
    truth: np.ndarray, scores: np.ndarray, groups: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Judge how one label ranks rows.

    Parameters
    ----------
    truth : np.ndarray [shape=(n,), dtype=bool]
        Which rows have the label.
    scores : np.ndarray [shape=(n,)]
        The higher, the likelier. Equal scores share one rank.
    groups : np.ndarray [shape=(n,), dtype=int]
        The group of each row, 0 … g - 1.
    weights : np.ndarray [shape=(g, b), dtype=float32]
        How often each group counts, in each of the weightings: whole numbers, which float32 adds exactly up to 2**24.

    Returns
    -------
    average_precision, roc_auc : np.ndarray [shape=(b,), dtype=float64]
        As `sklearn.metrics.average_precision_score` and `roc_auc_score` define them with `sample_weight`. NaN where no
        positive has a weight; the area also where no negative has one.
    """
    levels, level = np.unique(scores[truth], return_inverse=True)
    if len(levels) == 0:
        nothing = np.full(weights.shape[1], np.nan)
        return nothing, nothing
    negatives, owners = scores[~truth], groups[~truth]
    reached = np.searchsorted(levels, negatives, side="right")  # so many levels a negative is not below
    exceeded = np.searchsorted(levels, negatives, side="left")
    tied = reached > exceeded
    positives = _weights_at(level, groups[truth], len(levels), weights)
    at_levels = _weights_at(reached, owners, len(levels) + 1, weights)
    false = _from_above(at_levels)  # of negatives that are not below a level; first that of all
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
    """Sum the weights of rows by their places [shape=(count, b)]."""
    shape = (count, len(weights))
    rows = sparse.csr_array((np.ones(len(places), np.float32), (places, groups)), shape=shape)
    dense = count * len(weights) <= _DENSE * rows.nnz
    result: np.ndarray = (rows.toarray() if dense else rows) @ weights
    return result


def _from_above(values: np.ndarray) -> np.ndarray:
    """Sum each row with all that follow it."""
    result: np.ndarray = values[::-1].cumsum(axis=0)[::-1]
    return result
