"""Charts of the evaluation report. Each function returns a data URI."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from eno.evaluation.by_label import BANDS
from eno.evaluation.confidence import Interval
from eno.evaluation.curves import PrecisionRecall, Reliability, ThresholdCurve
from eno.evaluation.metrics import Metrics
from eno.reporting.plotting import BLUE, GRID, INK, ORANGE, WIDTH, figure, plain_logarithmic, shorten, svg

_GREEN, _GREY = "#3f8f5f", "#8a8a8a"


def precision_recall_curves(curves: list[PrecisionRecall]) -> str:
    """Draw precision-recall curves."""
    with figure(WIDTH, 4) as drawn:
        axes = drawn.subplots()
        styles = [(INK, "-", 2.2), (BLUE, "-", 1.4), (BLUE, "--", 1.4), (ORANGE, "--", 1.4), (ORANGE, "-", 1.4)]
        for curve, (colour, line, width) in zip(curves, styles, strict=False):
            name = f"{shorten(curve.name)}  {curve.average_precision:.2f}"
            axes.plot(curve.recall, curve.precision, color=colour, linestyle=line, linewidth=width, label=name)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
        axes.grid(color=GRID)
        axes.set_title("Precision and recall: all decisions, best and worst labels")
        drawn.legend(loc="outside lower left", title="average precision", alignment="left", frameon=False, ncols=1)
        return svg(drawn)


def precision_by_frequency(table: pa.Table) -> str:
    """Draw the average precision of each label over its number of training tracks."""
    rows = [row for row in table.to_pylist() if row["average_precision"] is not None]
    with figure(WIDTH, 3.4) as drawn:
        axes = drawn.subplots()
        for band, colour, marker in zip(BANDS, (INK, BLUE, ORANGE), ("s", "o", "^"), strict=True):
            own = [row for row in rows if row["band"] == band]
            counts = [max(row["train_positives"], 0.5) for row in own]
            values = [row["average_precision"] for row in own]
            axes.scatter(counts, values, s=16, color=colour, marker=marker, alpha=0.7, linewidths=0, label=band)
        counts, chance = [row["train_positives"] for row in rows], [row["prevalence"] for row in rows]
        axes.scatter(np.maximum(counts, 0.5), chance, s=14, color=_GREY, marker="_", label="random ranking")
        axes.set(xscale="log", ylim=(0, 1.02), xlabel="training tracks with the label", ylabel="average precision")
        plain_logarithmic(axes.xaxis, max(counts, default=1))
        axes.grid(color=GRID)
        axes.set_title("Frequent and rare labels")
        drawn.legend(loc="outside lower left", frameon=False, ncols=4, handletextpad=0.2, columnspacing=1)
        return svg(drawn)


def threshold_curves(curve: ThresholdCurve, metrics: Metrics, common: float | None) -> str:
    """Draw F1 over a common threshold, with F1 at the thresholds in use as a reference."""
    with figure(WIDTH, 3.4) as drawn:
        axes = drawn.subplots()
        for name, values, now, colour in (
            ("micro", curve.f1_micro, metrics.f1_micro, BLUE),
            ("macro", curve.f1_macro, metrics.f1_macro, ORANGE),
        ):
            axes.plot(curve.thresholds, values, color=colour, label=f"{name} F1")
            if common is None:
                axes.axhline(now, color=colour, linestyle="--", linewidth=1, label=f"{name} F1, per-label thresholds")
            else:
                axes.plot([common], [now], color=colour, marker="o", linestyle="none", label=f"in use: {common:g}")
        axes.set(xlim=(0, 1), ylim=(0, None), xlabel="common threshold", ylabel="F1")
        axes.grid(color=GRID)
        axes.set_title("F1 by common threshold")
        drawn.legend(loc="outside lower left", frameon=False, ncols=2, columnspacing=1)
        return svg(drawn)


def reliability_diagram(curve: Reliability) -> str:
    """Draw observed frequencies over predicted probabilities, and the number of decisions per bin."""
    with figure(WIDTH, 4.4) as drawn:
        axes, below = drawn.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1, label="perfectly calibrated")
        axes.plot(curve.predicted, curve.observed, color=BLUE, marker="o", markersize=4, label="all labels")
        axes.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="observed frequency")
        axes.grid(color=GRID)
        axes.legend(loc="upper left", frameon=False)
        axes.set_title("Reliability of the probabilities")
        bins = len(curve.decisions)
        below.bar((np.arange(bins) + 0.5) / bins, np.maximum(curve.decisions, 0.5), width=0.9 / bins, color=BLUE)
        below.set(yscale="log", ylim=(0.7, None), xlabel="predicted probability", ylabel="decisions")
        plain_logarithmic(below.yaxis, np.inf)
        return svg(drawn)


def headline(levels: Mapping[str, Mapping[str, Interval]], names: Mapping[str, str]) -> str:
    """Draw the headline metrics of tracks and albums with their confidence intervals."""
    with figure(WIDTH, 0.9 + 0.5 * len(names)) as drawn:
        axes = drawn.subplots()
        for shift, (level, found), colour, marker in zip(
            (-0.13, 0.13), levels.items(), (BLUE, ORANGE), ("o", "s"), strict=False
        ):
            shown = [found[name] for name in names]
            values = np.array([one.value for one in shown])
            ends = np.array([(one.low, one.high) for one in shown])
            ends = np.where(np.isnan(ends), values[:, None], ends)
            errors = np.abs(ends - values[:, None]).T
            places = np.arange(len(names)) + shift
            axes.errorbar(values, places, xerr=errors, fmt=marker, color=colour, capsize=2, markersize=4, label=level)
        axes.set_yticks(range(len(names)), list(names.values()))
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.grid(color=GRID, axis="x")
        axes.set_title("Tracks and albums, 95 % confidence intervals")
        drawn.legend(loc="outside lower left", frameon=False, ncols=2)
        return svg(drawn)
