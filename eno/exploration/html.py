"""The report as one HTML file that needs nothing else: no script, no network."""

from __future__ import annotations

from pathlib import Path

from eno.exploration import charts
from eno.exploration.figures import Exploration
from eno.exploration.terminal import sections
from eno.page import Chapter, picture, table, write_page

_HEAD_BARS = 25

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
    tables, pictures = sections(found), _pictures(found)
    chapters = []
    for title, (explanation, beginnings) in _CHAPTERS.items():
        own = tuple(table(*one) for one in tables if beginnings and one[0].startswith(beginnings))
        shown = tuple(picture(*one) for one in pictures.get(title, []))
        if title == "A track" and found.track:
            explanation += f" {found.track.track_id}: {', '.join(found.track.labels)}"
        if own or shown:
            chapters.append(Chapter(title, explanation, (shown, own)))
    write_page(path, "Exploration", "What is in the collection", chapters, hints=found.hints)


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
