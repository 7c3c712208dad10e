"""The table of a data set: metrics, costs, and differences to the best rival with confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from eno.evaluation.confidence import paired_difference
from eno.evaluation.metrics import evaluate
from scripts.bench.tagging.measuring import COSTS, result_of
from scripts.bench.tagging.problems import Problem

METRICS = {
    "map_macro": "mAP",
    "lrap": "LRAP",
    "first": "P@1",
    "f1_micro": "F1 mi",
    "f1_macro": "F1 ma",
    "roc_auc_macro": "AUROC",
}
"""Metrics, and the titles of their columns; "first" is the share of rows whose most probable label is right."""


@dataclass(frozen=True)
class Row:
    """Means over the draws; `difference` is mAP minus that of the best rival, with the ends of its interval."""

    data: str
    model: str
    metrics: dict[str, float]
    costs: dict[str, float]
    best_rival: str | None
    difference: tuple[float, float, float] | None


def rows_of(data: str, problems: Sequence[Problem], names: Sequence[str], rivals: Sequence[str]) -> list[Row]:
    """Evaluate the predictions of all models; those of the best rival first determined by mAP."""
    truth = [problem.labels("test").toarray() for problem in problems]
    found: dict[str, list[np.ndarray]] = {}
    costs: dict[str, dict[str, float]] = {}
    for name in names:
        results = [dict(np.load(result_of(problem, name))) for problem in problems]
        found[name] = [one.pop("probabilities") for one in results]
        costs[name] = dict(zip(COSTS, np.mean([one["costs"] for one in results], axis=0).tolist(), strict=True))
    scores = {
        name: [scores_of(y, p) for y, p in zip(truth, predicted, strict=True)] for name, predicted in found.items()
    }
    means = {name: {key: float(np.mean([one[key] for one in scores[name]])) for key in METRICS} for name in names}
    best = max((one for one in rivals if one in found), key=lambda one: means[one]["map_macro"], default=None)
    rows = []
    for name in sorted(names, key=lambda name: -means[name]["map_macro"]):
        difference = None
        if best is not None and name != best and len(problems) == 1:
            difference = by_groups(truth[0], found[name][0], found[best][0], problems[0].groups("test"))
        elif best is not None and name != best:
            values = [
                one["map_macro"] - other["map_macro"] for one, other in zip(scores[name], scores[best], strict=True)
            ]
            difference = over_draws(values, len(truth[0]) / problems[0].labels("train").shape[0])
        rows.append(Row(data, name, means[name], costs[name], best, difference))
    return rows


def scores_of(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return the metrics of one draw."""
    labelled = np.flatnonzero(truth.any(axis=1))
    first = truth[labelled, probabilities[labelled].argmax(axis=1)]
    return asdict(evaluate(truth, probabilities)) | {"first": float((first > 0).mean())}


def by_groups(
    truth: np.ndarray, ours: np.ndarray, theirs: np.ndarray, groups: np.ndarray
) -> tuple[float, float, float]:
    """Return the difference in mAP on one split, and its interval over groups of rows."""
    found = paired_difference(truth, ours, theirs, groups, metrics=("map_macro",))["map_macro"]
    return found.value, found.low, found.high


def over_draws(differences: Sequence[float], share: float) -> tuple[float, float, float]:
    """Return the mean difference over random hold-outs, and its interval.

    The training rows of hold-outs overlap, so their variance is too small. It is corrected by `share`, test rows
    divided by training rows (C. Nadeau and Y. Bengio, "Inference for the generalization error", Machine Learning 52,
    2003).
    """
    values = np.asarray(differences)
    error = values.std(ddof=1) * np.sqrt(1 / len(values) + share)
    reach = float(stats.t.ppf(0.975, len(values) - 1) * error)
    return float(values.mean()), float(values.mean()) - reach, float(values.mean()) + reach


def show(title: str, rows: Sequence[Row]) -> None:
    """Print a table."""
    print(f"\n{title}")
    titles = " ".join(f"{one:>7}" for one in METRICS.values())
    last = f"mAP minus that of {rows[0].best_rival}" if rows[0].best_rival else ""
    print(f"{'':<24}{titles} {'fit':>9} {'memory':>9}  {last}")
    for row in rows:
        values = " ".join(f"{row.metrics[key]:7.4f}" for key in METRICS)
        line = f"{row.model:<24}{values} {row.costs['seconds']:7.1f} s {row.costs['peak_mib']:5.0f} MiB"
        if row.difference is not None:
            line += "  {:+.3f} [{:+.3f}, {:+.3f}]".format(*row.difference)
        print(line, flush=True)


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows as records for JSON Lines."""
    return [asdict(row) for row in rows]
