"""Results as tables that people read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from rich.table import Table

from eno.evaluation.metrics import Metrics, evaluate, prevalence_baseline
from eno.models import Head

_COLUMNS = {
    "P macro": "precision_macro",
    "R macro": "recall_macro",
    "F1 macro": "f1_macro",
    "P micro": "precision_micro",
    "R micro": "recall_micro",
    "F1 micro": "f1_micro",
    "mAP": "map_macro",
    "ROC-AUC": "roc_auc_macro",
}


def evaluate_head(
    head: Head, name: str, *, train_truth: np.ndarray, X: np.ndarray, truth: np.ndarray, genres: int
) -> dict[str, Metrics]:
    """Judge a fitted head on held-out tracks, beside the baseline that any head must beat.

    Parameters
    ----------
    head : Head
        Fitted.
    name : str
        What to call it.
    train_truth : np.ndarray [shape=(n, k)]
        Labels of the training tracks, for the baseline.
    X : np.ndarray [shape=(m, dim)]
        Vectors of the held-out tracks.
    truth : np.ndarray [shape=(m, k)]
        Their labels.
    genres : int
        So many of the labels, the first ones, are genres; they are also judged apart.

    Returns
    -------
    dict of str to Metrics
        For the prevalence baseline, the head, and the head on genres and on descriptors alone where there are any
        that can be judged.
    """
    probabilities = head.predict_proba(X)
    results = {
        "prevalence": evaluate(truth, prevalence_baseline(train_truth, len(truth))),
        name: evaluate(truth, probabilities),
    }
    for family, columns in (("genres", slice(genres)), ("descriptors", slice(genres, None))):
        part = truth[:, columns]
        if (part.any(axis=0) & ~part.all(axis=0)).any():
            results[f"{name}: {family}"] = evaluate(part, probabilities[:, columns])
    return results


def metrics_table(results: Mapping[str, Metrics]) -> Table:
    """Show results as one row each.

    Parameters
    ----------
    results : mapping of str to Metrics
        As `evaluate_head` gives them.

    Returns
    -------
    rich.table.Table
        Ready to print.
    """
    table = Table(title="Held-out tracks; precision, recall and F1 at a threshold of 0.5")
    table.add_column("")
    table.add_column("labels", justify="right")
    for title in _COLUMNS:
        table.add_column(title, justify="right")
    for name, metrics in results.items():
        skipped = f" (+{metrics.labels_skipped} not judged)" if metrics.labels_skipped else ""
        values = [f"{getattr(metrics, attribute):.3f}" for attribute in _COLUMNS.values()]
        table.add_row(name, f"{metrics.labels}{skipped}", *values)
    return table
