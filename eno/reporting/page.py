"""HTML pages from Jinja2 templates, with all inserted values escaped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from eno.files import AudioRoots, printable, replace_file


@dataclass(frozen=True)
class Table:
    """A table of a report. Its cells are str, int, or objects with ``value``, ``low`` and ``high`` (NaN if unknown)."""

    kind: ClassVar[str] = "table"
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]

    @property
    def numeric(self) -> list[bool]:
        """Whether each column is right-aligned."""
        return [is_numeric(self.rows, column) for column in range(len(self.columns))]


@dataclass(frozen=True)
class Picture:
    """A picture of a report; its address is a data URI from `eno.reporting.plotting`."""

    kind: ClassVar[str] = "picture"
    caption: str
    address: str


@dataclass(frozen=True)
class Card:
    """A boxed paragraph of a report."""

    title: str
    text: str
    details: Sequence[tuple[str, str]] = ()  # terms in bold, each with its text
    state: str = ""  # "found" and "fine" are coloured
    file: str | None = None  # name of an audio file
    audio: str | None = None  # its link, also for a player


@dataclass(frozen=True)
class Cards:
    """Cards side by side, with an optional heading."""

    kind: ClassVar[str] = "cards"
    cards: Sequence[Card]
    heading: str = ""


@dataclass(frozen=True)
class Chapter:
    """A chapter of a report; the blocks of a row are side by side if there is room."""

    title: str
    explanation: str
    rows: Sequence[Sequence[Table | Picture | Cards]]

    @property
    def anchor(self) -> str:
        """URL fragment of the chapter."""
        return self.title.lower().replace(" ", "-")


def write_page(path: Path, title: str, heading: str, chapters: Sequence[Chapter], *, hints: Sequence[str] = ()) -> None:
    """Write a report as one self-contained HTML file without scripts; the same content yields the same bytes.

    `hints` are paragraphs above the first chapter.
    """
    page = render("reporting/report.html", title=title, heading=heading, chapters=chapters, hints=hints)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def render(template: str, **values: Any) -> str:
    """Render a template, named by its path in the package ``eno``."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("eno", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_finalize,
    )
    made.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    made.filters["as_text"] = as_text
    return made


def _finalize(value: object) -> object:
    # File names may have bytes that are not UTF-8.
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def audio_address(audio_roots: AudioRoots | Path, track_id: str, folder: Path) -> str:
    """Return the link from a page in `folder` to the audio file of a track, or to the section of a file that it is."""
    given = AudioRoots.of(audio_roots)
    roots = replace(given, folders=tuple(Path(os.path.realpath(root)) for root in given.folders))
    track, section = roots.file(track_id), roots.section(track_id)
    part = f"#t={section.start_s:.3f},{section.end_s:.3f}" if section else ""
    try:
        relative = Path(os.path.relpath(track, os.path.realpath(folder)))
    except ValueError:  # another drive on Windows
        return track.as_uri() + part
    return quote(os.fsencode(relative.as_posix())) + part


def is_numeric(rows: Sequence[Sequence[object]], column: int) -> bool:
    """Return whether all cells of a column are numbers; the first column never counts as numeric."""
    return column > 0 and all(str(row[column])[:1] in "-0123456789…" for row in rows)


def as_text(cell: object) -> str:
    """Return the text of a cell, with thousands separators in integers."""
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
