"""The exploration report as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from eno.exploration.statistics import Exploration, LabelStatistics
from eno.files import visible
from eno.reporting.page import as_text, is_numeric

_HEAD, _TAIL = 20, 5
_Section = tuple[str, tuple[str, ...], list[Sequence[object]]]


def terminal_tables(found: Exploration) -> list[Table]:
    """Return the report as tables."""
    return [_table(title, columns, rows) for title, columns, rows in sections(found)]


def sections(found: Exploration) -> list[_Section]:
    """Return the title, columns and rows of each table of the report that has rows."""
    tables: list[_Section] = [
        ("overview", ("", "count"), list(found.overview)),
        *_labels("genres, primary and secondary", found.genres),
        *_labels("descriptors", found.descriptors),
        *(table for family, own in found.others.items() for table in _labels(f"labels of the family {family}", own)),
    ]
    if found.co_occurrence:
        pairs = [(p.one, p.other, p.albums, f"{p.lift:.1f}") for p in found.co_occurrence.pairs]
        title = f"labels that occur together (on at least {found.co_occurrence.min_albums} albums)"
        tables.append((title, ("label", "label", "albums", "lift"), list(pairs)))
    tables.append(("albums by decade", ("decade", "albums"), [(f"{year}s", n) for year, n in found.years.items()]))
    if found.audio:
        described = ("container", "codec", "sample rate, Hz", "channels", "files")
        tables.append(_head("audio formats", described, found.audio.formats))
        lengths = [(one, f"{seconds:.1f}") for one, seconds in (*found.audio.shortest, *found.audio.longest)]
        tables.append(("shortest and longest tracks", ("track", "seconds"), list(dict.fromkeys(lengths))))
        reasons = ("reason", "files", "example")
        tables.append(_head("audio files that cannot be read", reasons, found.audio.problems))
    compared = ("album", "files", "tracks")
    tables.append(_head("albums with more or fewer files than tracks", compared, found.incomplete))
    tables.append(("splits", ("split", "tracks", "albums"), list(found.splits)))
    return [one for one in tables if one[2]]


def _head(title: str, columns: tuple[str, ...], rows: Sequence[Sequence[object]]) -> _Section:
    """Return the first rows, and say so in the title."""
    more = f": the first {_HEAD} of {len(rows):,}" if len(rows) > _HEAD else ""
    return title + more, columns, list(rows[:_HEAD])


def _labels(title: str, figures: LabelStatistics) -> list[_Section]:
    counts = figures.counts
    rows: list[Sequence[object]] = list(counts[:_HEAD])
    if len(counts) > _HEAD + _TAIL:
        rows += [("…", "…"), *counts[-_TAIL:]]
    kept: list[Sequence[object]] = [(limit, labels, f"{share:.1%}") for limit, labels, share in figures.kept]
    columns = ("minimum albums", "labels kept", "albums with a kept label")
    return [
        (f"{title}: {len(counts)}", ("label", "albums"), rows),
        (f"{title}: kept with a minimum number of albums", columns, kept),
    ]


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    table = Table(title=escape(visible(title)), box=box.SIMPLE_HEAD, title_justify="left")
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if is_numeric(rows, i) else "left")
    for row in rows:
        table.add_row(*(escape(visible(as_text(cell))) for cell in row))
    return table
