"""Predictions that agree with a hierarchy of labels: a genre is never likelier than its parents, nor predicted alone.

Where labels are pairs [shape=(m, 2)], each is followed by another one that it implies, directly or not
(`eno.data.labels.encoder.LabelEncoder.ancestors`).
"""

from __future__ import annotations

import numpy as np

from eno.models.calibration.thresholds import NEVER


def agree(probabilities: np.ndarray, thresholds: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Raise the probability of every label to that of those that imply it, and above its threshold if one is predicted.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n, k), dtype=float32]
    thresholds : np.ndarray [shape=(k,)]
        From `agreeing_thresholds`. A label is predicted if its probability is strictly above.

    Examples
    --------
    >>> agree(np.array([[0.2, 0.9, 0.1]], np.float32), np.full(3, 0.5), np.array([[1, 0]])).round(2).tolist()
    [[0.8999999761581421, 0.8999999761581421, 0.10000000149011612]]
    """
    if len(pairs) == 0:
        return probabilities
    raised = raise_ancestors(probabilities, pairs)
    limits = thresholds.astype(raised.dtype)
    lifted = raised.copy()
    for label, implying in _by_ancestor(pairs):
        predicted = (raised[:, implying] > limits[implying]).any(axis=1)
        least = np.nextafter(limits[label], limits.dtype.type(1))
        lifted[predicted, label] = np.maximum(raised[predicted, label], least)
    return raise_ancestors(lifted, pairs)


def raise_ancestors(probabilities: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Raise the probability of every label to that of those that imply it [shape=(n, k)]."""
    raised = probabilities.copy()
    for label, implying in _by_ancestor(pairs):
        raised[:, label] = np.maximum(probabilities[:, label], probabilities[:, implying].max(axis=1))
    return raised


def agreeing_thresholds(thresholds: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Lower the threshold of a label that is never predicted to the lowest of those that imply it [shape=(k,)]."""
    lowered = thresholds.copy()
    for label, implying in _by_ancestor(pairs):
        if thresholds[label] >= NEVER:
            lowered[label] = thresholds[implying].min()
    return lowered


def _by_ancestor(pairs: np.ndarray) -> list[tuple[int, np.ndarray]]:
    return [(label, pairs[pairs[:, 1] == label, 0]) for label in np.unique(pairs[:, 1]).tolist()]
