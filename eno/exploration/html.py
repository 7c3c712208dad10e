"""The report as one HTML file that needs nothing else: no script, no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from eno.data.figures import Exploration
from eno.exploration import charts
from eno.exploration.terminal import as_text, is_numeric, sections
from eno.files import printable, replace_file

_HEAD_BARS = 25
_STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --line: #ddd; --faint: #666; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #16181c; --line: #3a3d44; --faint: #a0a0a0; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 64rem; margin: 0 auto; padding: 1rem; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
nav a { margin-right: 1rem; } p, nav { color: var(--faint); } a { color: inherit; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
img[src^='data:image/png'] { max-width: max(100%, 40rem); }
.row { display: flex; flex-wrap: wrap; gap: 1rem 3rem; } .scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: .9rem; margin: 1rem 0; } caption { text-align: left; font-weight: 600; }
th, td { text-align: left; padding: .15rem .8rem .15rem 0; border-bottom: 1px solid var(--line); }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
"""

# Section → its explanation and the tables in it, by the beginning of their titles.
_CHAPTERS = {
    "Overview": ("What there is.", ("overview", "albums by decade", "splits")),
    "Labels": (
        "A few labels are on most albums and most labels on a few: those on fewer albums than a head can learn from "
        "are dropped by eno labels. The tables of limits show what that would leave.",
        ("genres", "descriptors"),
    ),
    "What goes together": (
        "Lift says how many times as often two labels are on one album as they would be if they had nothing to do with "
        "each other.",
        ("labels that go together",),
    ),
    "Audio": ("What the files are like, and what is wrong with them.", ("audio", "shortest", "albums with another")),
    "A track": ("Its waveform, and the mel spectrogram that networks are given.", ()),
}


def write_html(found: Exploration, path: Path) -> None:
    """Write the report.

    Parameters
    ----------
    found : Exploration
    path : Path
        The file. The same figures give the same bytes.

    Raises
    ------
    MissingExtra
        matplotlib is not installed.
    """
    tables = sections(found)
    pictures = _pictures(found)
    hints = "".join(f"<p>{_text(hint)}</p>" for hint in found.hints)
    body, links = [], ""
    for chapter, (explanation, beginnings) in _CHAPTERS.items():
        own = [one for one in tables if beginnings and one[0].startswith(beginnings)]
        if not own and not pictures.get(chapter):
            continue
        body.append(f'<h2 id="{_anchor(chapter)}">{chapter}</h2><p>{explanation}</p>')
        if chapter == "A track" and found.track:
            body.append(f"<p><b>{_text(found.track.track_id)}</b><br>{_text(', '.join(found.track.labels))}</p>")
        shown = (
            f'<div class="scroll"><img src="{address}" alt="{_text(caption)}"></div>'
            for caption, address in pictures.get(chapter, [])
        )
        body.append(f'<div class="row">{"".join(shown)}</div>')
        body.append(f'<div class="row">{"".join(_table(*one) for one in own)}</div>')
        links += f'<a href="#{_anchor(chapter)}">{chapter}</a>'
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Exploration</title><style>{_STYLE}</style></head><body><h1>What is in the collection</h1>"
        f"<nav>{links}</nav>{hints}{''.join(body)}</body></html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _pictures(found: Exploration) -> dict[str, list[tuple[str, str]]]:
    labels = []
    families = [
        (name, own) for name, own in (("genres", found.genres), ("descriptors", found.descriptors)) if own.counts
    ]
    for name, figures in families:
        title = f"The most frequent {name}, by albums"
        labels.append((title, charts.bars(title, figures.counts[:_HEAD_BARS])))
    for name, figures in families:
        rows = [(str(count), figures.per_album.get(count, 0)) for count in range(max(figures.per_album) + 1)]
        labels.append((f"{name} per album", charts.columns(f"How many {name} an album has", rows, name)))
    if families:
        labels.append(("albums by rank of the label", charts.rank_frequency(found.genres, found.descriptors)))
    pictures = {"Labels": labels}
    if found.years:
        decades = range(min(found.years), max(found.years) + 10, 10)
        rows = [(f"{year}s", found.years.get(year, 0)) for year in decades]
        pictures["Overview"] = [("albums by decade", charts.columns("When they came out", rows, "decade"))]
    if found.co_occurrence:
        pictures["What goes together"] = [("heat map of labels", charts.heat_map(found.co_occurrence))]
    if found.audio and len(found.audio.durations_s):
        pictures["Audio"] = [("lengths of tracks", charts.durations(found.audio.durations_s))]
    if found.track:
        pictures["A track"] = charts.track_pictures(found.track)
    return pictures


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    kinds = [' class="n"' if is_numeric(rows, i) else "" for i in range(len(columns))]
    head = "".join(f"<th{kind}>{_text(name)}</th>" for kind, name in zip(kinds, columns, strict=True))
    lines = "".join(
        f"<tr>{''.join(f'<td{kind}>{_cell(as_text(cell))}</td>' for kind, cell in zip(kinds, row, strict=True))}</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><caption>{_text(title)}</caption><tr>{head}</tr>{lines}</table></div>'


def _cell(value: str) -> str:
    return _text(value).replace("/", "/<wbr>")  # paths may break there


def _anchor(chapter: str) -> str:
    return chapter.lower().replace(" ", "-")


def _text(value: str) -> str:
    return escape(printable(value))
