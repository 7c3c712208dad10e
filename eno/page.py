"""Reports as one HTML file that needs nothing else: no script, no network. Whatever comes from users is escaped."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from eno.files import printable, printed_file, replace_file

# Line drawings are turned to light on dark with the page; photographs of data keep their colours.
_STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --line: #ddd; --faint: #666; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #16181c; --line: #3a3d44; --faint: #a0a0a0; }
  img[src^='data:image/svg'] { filter: invert(.9) hue-rotate(180deg); }
  img[src^='data:image/png'] { filter: brightness(.85); }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 64rem; margin: 0 auto; padding: 1rem; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
nav a { margin-right: 1rem; display: inline-block; } p, nav { color: var(--faint); } a { color: inherit; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
img[src^='data:image/png'] { max-width: max(100%, 40rem); }
.row { display: flex; flex-wrap: wrap; gap: 1rem 3rem; } .scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: .9rem; margin: 1rem 0; } caption { text-align: left; font-weight: 600; }
th, td { text-align: left; padding: .15rem .8rem .15rem 0; border-bottom: 1px solid var(--line); }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } td.n { white-space: nowrap; }
th { vertical-align: bottom; } small { color: var(--faint); }
@media (max-width: 30rem) { table { font-size: .8rem; } th, td { padding-right: .5rem; } }
"""


@dataclass(frozen=True)
class Chapter:
    """A part of a page.

    Attributes
    ----------
    title, explanation : str
        As text.
    rows : tuple of tuple of str
        HTML, for instance by `table` and `picture`; what is in one row stands side by side where there is room.
    """

    title: str
    explanation: str
    rows: tuple[tuple[str, ...], ...]


def write_page(
    path: Path, title: str, heading: str, chapters: Sequence[Chapter], *, hints: Iterable[str] = (), style: str = ""
) -> None:
    """Write a page.

    Parameters
    ----------
    path : Path
        The file; its folder is made. The same content gives the same bytes.
    title, heading : str
        For the window and for the page.
    chapters : sequence of Chapter
        What is on it; their titles become links.
    hints : iterable of str, optional
        Lines above the first chapter.
    style : str
        CSS that only this page needs.
    """
    links = "".join(f'<a href="#{_anchor(one.title)}">{text(one.title)}</a>' for one in chapters)
    body = "".join(
        f'<h2 id="{_anchor(one.title)}">{text(one.title)}</h2><p>{text(one.explanation)}</p>'
        + "".join(f'<div class="row">{"".join(row)}</div>' for row in one.rows)
        for one in chapters
    )
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{_STYLE}{style}</style></head><body><h1>{text(heading)}</h1>"
        f"<nav>{links}</nav>{''.join(f'<p>{text(hint)}</p>' for hint in hints)}{body}</body></html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


class Html(str):
    """Text of a cell that is HTML already and is not escaped again."""

    __slots__ = ()


def with_range(value: float, low: float, high: float) -> Html:
    """Show a figure, and below it how far it may be off, if that is known."""
    spread = "" if math.isnan(low) else f"<br><small>{low:.3f} … {high:.3f}</small>"
    return Html(f"{value:.3f}{spread}")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lay out a table as HTML; figures stand on the right."""
    kinds = [' class="n"' if is_numeric(rows, i) else "" for i in range(len(columns))]
    head = "".join(f"<th{kind}>{text(name)}</th>" for kind, name in zip(kinds, columns, strict=True))
    lines = "".join(
        f"<tr>{''.join(f'<td{kind}>{_cell(cell)}</td>' for kind, cell in zip(kinds, row, strict=True))}</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><caption>{text(title)}</caption><tr>{head}</tr>{lines}</table></div>'


def picture(caption: str, address: str) -> str:
    """Show a picture, as `eno.plotting` gives its address."""
    return f'<div class="scroll"><img src="{escape(address)}" alt="{text(caption)}"></div>'


def audio_address(audio_root: Path, track_id: str, folder: Path) -> str:
    """Give the link to a track below a folder of audio, as seen from a page in another folder."""
    track = printed_file(Path(os.path.realpath(audio_root)), track_id)
    try:
        relative = Path(os.path.relpath(track, os.path.realpath(folder)))
    except ValueError:  # another drive of Windows
        return track.as_uri()
    return quote(os.fsencode(relative.as_posix()))


def text(value: str) -> str:
    """Escape text for HTML, of elements and of attributes."""
    return escape(printable(value))


def is_numeric(rows: Sequence[Sequence[object]], column: int) -> bool:
    """Whether a column holds figures; the first one holds names."""
    return column > 0 and all(str(row[column])[:1] in "-0123456789…" for row in rows)


def as_text(cell: object) -> str:
    """Give a cell as text, large numbers with separators."""
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _cell(cell: object) -> str:
    return cell if isinstance(cell, Html) else text(as_text(cell)).replace("/", "/<wbr>")  # paths may break there


def _anchor(title: str) -> str:
    return text(title.lower().replace(" ", "-"))
