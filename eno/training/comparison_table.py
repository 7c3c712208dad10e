"""The table of a comparison: in the terminal, as Markdown, HTML and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from eno.evaluation.confidence import HEADLINE, Interval
from eno.files import replace_file, visible
from eno.reporting import page
from eno.training.compare import PREVALENCE, ComparisonRow

_NAME = "comparison"
_HEADINGS = (
    "encoder", "head", "inputs", "val mAP", "test mAP", "difference", "macro F1", "macro F1 at 0.5", "micro F1",
    "ROC-AUC", "time to fit", "time per file", "size",
)  # fmt: skip


def comparison_table(rows: Sequence[ComparisonRow]) -> Table:
    """Return the main columns for a terminal 80 characters wide, with confidence intervals below the values."""
    shown = Table(title="held-out tracks", caption=conclusion(rows), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.add_column("encoder", overflow="fold")
    shown.add_column("head", overflow="fold")
    for heading in ("mAP", "diff.", "F1\nmacro", "F1\nat 0.5", "fit"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        mark = "[bold]" if row.winner else ""
        shown.add_row(
            f"{mark}{escape(visible(row.encoder))}",
            f"{mark}{escape(visible(row.head))}",
            _stacked(row.metrics["map_macro"]),
            "" if row.difference is None else _stacked(row.difference, signed=True),
            _stacked(row.metrics["f1_macro"]),
            f"{row.f1_fixed:.3f}",
            _seconds(row.fit_s),
        )
    return shown


def conclusion(rows: Sequence[ComparisonRow]) -> str:
    """Name the winner, and how it compares with the reference."""
    winner = next(row for row in rows if row.winner)
    reference = next(row for row in rows if row.difference is None)
    text = f"Best on held-out tracks: {_title(winner)}, test mAP {winner.metrics['map_macro'].value:.3f}"
    if winner.difference is not None:
        text += f"; {_verdict(winner.difference)} the {reference.encoder} baseline"
        text += f" (difference {_with_ci(winner.difference)})"
    first = next(row for row in rows if row.encoder != PREVALENCE)
    if first is not winner:
        text += f". {_title(first)} has the highest test mAP, but the test split is not used for selection"
    return text + "."


def _verdict(difference: Interval) -> str:
    if math.isnan(difference.low) and difference.value:
        return "too few artists for a confidence interval of the difference from"
    if difference.low > 0:
        return "better than"
    return "worse than" if difference.high < 0 else "not significantly different from"


def _with_ci(interval: Interval) -> str:
    if math.isnan(interval.low):
        return f"{interval.value:.3f}"
    return f"{interval.value:.3f}, 95 % CI {interval.low:.3f}-{interval.high:.3f}"


def comparison_cells(rows: Sequence[ComparisonRow]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the headings and rows of the full table as text."""
    return _HEADINGS, [_cells(row) for row in rows]


def write_comparison(rows: Sequence[ComparisonRow], folder: Path) -> list[Path]:
    """Write the table as Markdown, CSV and HTML, and return the paths of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = (_HEADINGS, ("---",) * len(_HEADINGS), *(_cells(row) for row in rows))
    markdown = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    written = {folder / f"{_NAME}.md": f"{markdown}\n\n{conclusion(rows)}\n", folder / f"{_NAME}.csv": _as_csv(rows)}
    for path, content in written.items():
        with replace_file(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
    table = page.Table("all models", _HEADINGS, [_cells(row, lambda interval: interval) for row in rows])
    chapter = page.Chapter("Held-out tracks", conclusion(rows), [[table]])
    page.write_page(folder / f"{_NAME}.html", "Comparison", "Comparison of encoders and heads", [chapter])
    return [*written, folder / f"{_NAME}.html"]


def _cells(row: ComparisonRow, shown: Callable[[Interval], Any] = str) -> tuple[Any, ...]:
    return (
        row.encoder,
        row.head,
        str(row.dim or ""),
        _number(row.val_map),
        shown(row.metrics["map_macro"]),
        "" if row.difference is None else shown(row.difference),
        shown(row.metrics["f1_macro"]),
        _number(row.f1_fixed),
        shown(row.metrics["f1_micro"]),
        shown(row.metrics["roc_auc_macro"]),
        _seconds(row.fit_s),
        _seconds(row.tag_s),
        _size(row.size_bytes),
    )


def _as_csv(rows: Sequence[ComparisonRow]) -> str:
    text = io.StringIO()
    ends = [f"{name}{end}" for name in (*HEADLINE, "difference") for end in ("", "_low", "_high")]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["encoder", "head", "dim", "winner", "val_map", *ends, "f1_fixed", "fit_s", "tag_s", "size_bytes"])
    for row in rows:
        shown = (*(row.metrics[name] for name in HEADLINE), row.difference)
        bounds = [value for one in shown for value in ((one.value, one.low, one.high) if one else ("", "", ""))]
        writer.writerow([
            row.encoder, row.head, row.dim, row.winner, row.val_map, *bounds, row.f1_fixed, row.fit_s, row.tag_s,
            row.size_bytes,
        ])  # fmt: skip
    return text.getvalue()


def _title(row: ComparisonRow) -> str:
    return f"{row.encoder} {row.head}".strip()


def _stacked(interval: Interval, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    if math.isnan(interval.low):
        return f"{interval.value:{sign}.3f}"
    return f"{interval.value:{sign}.3f}\n[dim]{interval.low:{sign}.2f} {interval.high:{sign}.2f}[/]"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def _seconds(value: float) -> str:
    if math.isnan(value) or value == 0:
        return ""
    return f"{value:.0f} s" if value >= 10 else f"{value:.2g} s"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count else ""
