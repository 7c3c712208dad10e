"""Results as tables that people read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from rich import box
from rich.table import Table

from eno.evaluation.metrics import Metrics, evaluate, prevalence_baseline
from eno.models import Head

# Two lines each, so that the table fits a terminal of 80 columns.
_COLUMNS = {
    "P\nmacro": "precision_macro",
    "R\nmacro": "recall_macro",
    "F1\nmacro": "f1_macro",
    "P\nmicro": "precision_micro",
    "R\nmicro": "recall_micro",
    "F1\nmicro": "f1_micro",
    "\nmAP": "map_macro",
    "ROC-\nAUC": "roc_auc_macro",
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
    skipped = max(metrics.without_positives + metrics.without_negatives for metrics in results.values())
    caption = f"{skipped} labels without positives or without negatives could not be judged" if skipped else None
    title = "held-out tracks; precision, recall and F1 at a threshold of 0.5"
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("")
    table.add_column("\nlabels", justify="right")
    for heading in _COLUMNS:
        table.add_column(heading, justify="right")
    for name, metrics in results.items():
        values = [f"{getattr(metrics, attribute):.3f}" for attribute in _COLUMNS.values()]
        table.add_row(name, str(metrics.labels), *values)
    return table
