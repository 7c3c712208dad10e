"""How well scores rank: the measure by which heads decide when to stop."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import average_precision_score


def average_precisions(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Average precision of every label.

    Parameters
    ----------
    truth : np.ndarray [shape=(n, k)]
        Labels, 0 or 1.
    scores : np.ndarray [shape=(n, k)]
        The higher, the likelier.

    Returns
    -------
    np.ndarray [shape=(k,), dtype=float64]
        NaN where a label has no positive, since nothing can be ranked first there.
    """
    return np.array(
        [
            average_precision_score(labels, values) if labels.any() else np.nan
            for labels, values in zip(truth.T, scores.T, strict=True)
        ]
    )
