"""Write evaluations to files, and show them as tables in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rich import box
from rich.markup import escape
from rich.table import Table

from eno.evaluation.confidence import INTERVALS, NO_INTERVALS, Interval
from eno.evaluation.evaluation import Evaluation, Level
from eno.evaluation.metrics import Metrics
from eno.files import AudioRoots, finite, printable, replace_file, visible, write_json

METRICS_FILE, PER_LABEL_FILE, REPORT_FILE = "metrics.json", "per_label.parquet", "report.html"
"""Files that `write_report` writes."""

# Two lines each, so that the table fits a terminal of 80 columns.
_COLUMNS = {
    "\nmAP": "map_macro",
    "F1\nmacro": "f1_macro",
    "F1\nmicro": "f1_micro",
    "ROC-\nAUC": "roc_auc_macro",
    "P\nmacro": "precision_macro",
    "R\nmacro": "recall_macro",
}


def write_report(evaluation: Evaluation, folder: Path, *, audio_roots: AudioRoots | Path | None = None) -> None:
    """Write `METRICS_FILE`, `PER_LABEL_FILE` and `REPORT_FILE` into a folder.

    The page plays the worst errors from `audio_roots`. Without matplotlib, MissingExtra is raised after the other two
    files have been written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / METRICS_FILE, as_json(evaluation))
    with replace_file(folder / PER_LABEL_FILE) as temporary:
        pq.write_table(evaluation.per_label, temporary)
    from eno.evaluation.html import write_html  # needs matplotlib

    write_html(evaluation, folder / REPORT_FILE, audio_roots=audio_roots)


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as strict JSON; NaN becomes null."""
    content = {
        "artists": evaluation.artists,
        "chance_map_macro": evaluation.chance,
        "tracks": _level(evaluation.tracks),
        "albums": {
            "aggregation": evaluation.aggregation,
            **_level(evaluation.albums),
            "aggregations": {name: asdict(one) for name, one in evaluation.aggregations.items()},
        },
        "not_calibrated_0.5": asdict(evaluation.fixed) if evaluation.fixed else None,
        "gain_of_calibration": {name: asdict(one) for name, one in evaluation.gain.items()},
        "findings": [asdict(one) for one in evaluation.findings],
        "confused": [asdict(one) for one in evaluation.confused],
        "worst": [asdict(one) for one in evaluation.worst],
    }
    strict: dict[str, Any] = _named(finite(content))
    return strict


def _level(level: Level) -> dict[str, Any]:
    return {
        "metrics": asdict(level.metrics),
        "intervals": {name: asdict(one) for name, one in level.intervals.items()},
        "parts": {name: asdict(one) if one else None for name, one in level.parts.items()},
    }


def _named(value: Any) -> Any:
    """Replace bytes of file names that are not UTF-8."""
    if isinstance(value, dict):
        return {key: _named(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_named(one) for one in value]
    return printable(value) if isinstance(value, str) else value


def metrics_table(results: Mapping[str, Level | Metrics], *, title: str = "held-out tracks") -> Table:
    """Return a table for 80 columns with a row per result, with confidence intervals where there are any."""
    levels = {name: one if isinstance(one, Level) else Level(one, {}, {}) for name, one in results.items()}
    table = Table(title=title, caption=_caption(list(levels.values())), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", overflow="fold")
    table.add_column("\nlabels", justify="right")
    for heading in _COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, level in levels.items():
        values = [
            f"{getattr(level.metrics, attribute):.3f}" + _range(level.intervals.get(attribute))
            for attribute in _COLUMNS.values()
        ]
        table.add_row(escape(visible(name)), str(level.metrics.labels), *values)
    return table


def _range(interval: Interval | None) -> str:
    if interval is None or np.isnan(interval.low):
        return ""
    return f"\n[dim]{interval.low:.2f}–{interval.high:.2f}[/]"


def _caption(levels: list[Level]) -> str | None:
    skipped = max((one.metrics.without_positives + one.metrics.without_negatives for one in levels), default=0)
    known = [not np.isnan(interval.low) for one in levels for interval in one.intervals.values()]
    notes = [INTERVALS if any(known) else NO_INTERVALS] if known else []
    notes += [f"{skipped} labels without positives or without negatives excluded"] if skipped else []
    return "; ".join(notes) or None
