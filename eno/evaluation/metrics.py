"""Multi-label metrics, by scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from eno.models.ranking import average_precisions


@dataclass(frozen=True)
class Metrics:
    """Metrics of one set of predictions.

    Attributes
    ----------
    precision_macro, recall_macro, f1_macro : float
        Means over labels of what a threshold gives; 0 for a label of which nothing was predicted.
    precision_micro, recall_micro, f1_micro : float
        The same over all decisions together.
    map_macro, roc_auc_macro : float
        Means over labels of average precision and area under the ROC curve, which need no threshold.
    labels : int
        Labels with at least one positive and one negative: the means go over these.
    labels_skipped : int
        Labels that could not be judged because they lack either.
    """

    precision_macro: float
    recall_macro: float
    f1_macro: float
    precision_micro: float
    recall_micro: float
    f1_micro: float
    map_macro: float
    roc_auc_macro: float
    labels: int
    labels_skipped: int


def evaluate(truth: np.ndarray, probabilities: np.ndarray, *, threshold: float = 0.5) -> Metrics:
    """Compare probabilities with the truth.

    Parameters
    ----------
    truth : np.ndarray [shape=(n, k)]
        Labels, 0 or 1.
    probabilities : np.ndarray [shape=(n, k)]
        What was predicted.
    threshold : float
        A label counts as predicted where its probability is strictly above it.

    Returns
    -------
    Metrics
        Over the labels that have positives and negatives.

    Raises
    ------
    ValueError
        The shapes differ, or no label can be judged.
    """
    if truth.shape != probabilities.shape:
        raise ValueError(f"truth has the shape {truth.shape}, probabilities {probabilities.shape}.")
    judged = (truth > 0).any(axis=0) & (truth == 0).any(axis=0)
    if not judged.any():
        raise ValueError(f"none of the {truth.shape[1]} labels has both positives and negatives in {len(truth)} rows.")
    y, p = (truth[:, judged] > 0).astype(int), probabilities[:, judged]
    predicted = (p > threshold).astype(int)
    macro = precision_recall_fscore_support(y, predicted, average="macro", zero_division=0.0)
    micro = precision_recall_fscore_support(y, predicted, average="micro", zero_division=0.0)
    return Metrics(
        precision_macro=float(macro[0]),
        recall_macro=float(macro[1]),
        f1_macro=float(macro[2]),
        precision_micro=float(micro[0]),
        recall_micro=float(micro[1]),
        f1_micro=float(micro[2]),
        map_macro=float(average_precisions(y, p).mean()),
        roc_auc_macro=float(roc_auc_score(y, p, average="macro")),
        labels=int(judged.sum()),
        labels_skipped=int((~judged).sum()),
    )


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
