"""HTML pages made with Jinja2. Everything that is inserted into a template is escaped.

Templates lie beside the modules that use them; ``reporting/report.html`` is the layout of all reports.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from eno.files import AudioRoots, printable, replace_file


@dataclass(frozen=True)
class Table:
    """A table of a report.

    Attributes
    ----------
    rows : sequence of sequence
        A cell is text, an int, or an estimate with the attributes ``value``, ``low`` and ``high`` (NaN if unknown).
    """

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
    """A picture of a report, with its address as `eno.reporting.plotting` returns it."""

    kind: ClassVar[str] = "picture"
    caption: str
    address: str


@dataclass(frozen=True)
class Card:
    """A boxed paragraph of a report.

    Attributes
    ----------
    details : sequence of (str, str)
        Terms in bold, each with its text.
    state : str
        ``"found"`` and ``"fine"`` are coloured.
    file, audio : str or None
        Name of an audio file, and its address for a link and a player.
    """

    title: str
    text: str
    details: Sequence[tuple[str, str]] = ()
    state: str = ""
    file: str | None = None
    audio: str | None = None


@dataclass(frozen=True)
class Cards:
    """Cards side by side, below a heading if there is one."""

    kind: ClassVar[str] = "cards"
    cards: Sequence[Card]
    heading: str = ""


@dataclass(frozen=True)
class Chapter:
    """A chapter of a report; what is in one row stands side by side where there is room."""

    title: str
    explanation: str
    rows: Sequence[Sequence[Table | Picture | Cards]]

    @property
    def anchor(self) -> str:
        """Fragment that links to the chapter."""
        return self.title.lower().replace(" ", "-")


def write_page(path: Path, title: str, heading: str, chapters: Sequence[Chapter], *, hints: Sequence[str] = ()) -> None:
    """Write a report as one HTML file without scripts that loads nothing else; its folder is created.

    The same content yields the same bytes. `hints` are lines above the first chapter.
    """
    page = render("reporting/report.html", title=title, heading=heading, chapters=chapters, hints=hints)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def render(template: str, **values: Any) -> str:
    """Render a template, named by its path below the package ``eno``."""
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
    # Names on disk may hold bytes that are not UTF-8.
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def audio_address(audio_roots: AudioRoots | Path, track_id: str, folder: Path) -> str:
    """Return the link from a page in `folder` to the file of a track."""
    roots = AudioRoots(tuple(Path(os.path.realpath(root)) for root in AudioRoots.of(audio_roots).folders))
    track = roots.file(track_id)
    try:
        relative = Path(os.path.relpath(track, os.path.realpath(folder)))
    except ValueError:  # another drive on Windows
        return track.as_uri()
    return quote(os.fsencode(relative.as_posix()))


def is_numeric(rows: Sequence[Sequence[object]], column: int) -> bool:
    """Return whether a column holds numbers; the first column holds names."""
    return column > 0 and all(str(row[column])[:1] in "-0123456789…" for row in rows)


def as_text(cell: object) -> str:
    """Return a cell as text, integers with thousands separators."""
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
