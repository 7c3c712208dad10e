"""The exploration report as one HTML file."""

from __future__ import annotations

from pathlib import Path

from eno.exploration import charts
from eno.exploration.statistics import Exploration
from eno.exploration.terminal import sections
from eno.reporting.page import Chapter, Picture, Table, write_page

_MAX_BARS = 25

# Chapter → introduction, and prefixes of the titles of its tables.
_CHAPTERS = {
    "Overview": ("Size of the collection.", ("overview", "albums by decade", "splits")),
    "Labels": (
        "Few labels are frequent, most are rare. 'eno labels' drops labels with too few albums for training; the "
        "tables show how many remain with each minimum.",
        ("genres", "descriptors", "labels of the family"),
    ),
    "Co-occurrence": (
        "Lift is the number of albums with both labels divided by the number expected if the labels were independent.",
        ("labels that occur together",),
    ),
    "Audio": (
        "Lengths and formats of the files, and files with problems.",
        ("audio", "shortest", "albums with more"),
    ),
    "A track": ("Waveform and mel spectrogram of one track.", ()),
}


def write_html(found: Exploration, path: Path) -> None:
    """Write the report, which needs matplotlib. The same statistics yield the same bytes."""
    tables, pictures = sections(found), _pictures(found)
    chapters = []
    for title, (introduction, prefixes) in _CHAPTERS.items():
        own = [Table(*one) for one in tables if prefixes and one[0].startswith(prefixes)]
        shown = [Picture(*one) for one in pictures.get(title, [])]
        if title == "A track" and found.track:
            introduction += f" {found.track.track_id}: {', '.join(found.track.labels)}"
        if own or shown:
            chapters.append(Chapter(title, introduction, [shown, own]))
    write_page(path, "Exploration", "What is in the collection", chapters, hints=found.hints)


def _pictures(found: Exploration) -> dict[str, list[tuple[str, str]]]:
    labels = []
    everything = {"genres": found.genres, "descriptors": found.descriptors, **found.others}
    families = {name: own for name, own in everything.items() if own.counts}
    for name, figures in families.items():
        title = f"Most frequent {name}, by albums"
        labels.append((title, charts.bars(title, figures.counts[:_MAX_BARS])))
    for name, figures in families.items():
        rows = [(str(count), figures.per_album.get(count, 0)) for count in range(max(figures.per_album) + 1)]
        labels.append((f"{name} per album", charts.columns(f"Number of {name} per album", rows, name)))
    if families:
        labels.append(("albums by rank of label", charts.rank_frequency(families)))
    pictures = {"Labels": labels}
    if found.years:
        decades = range(min(found.years), max(found.years) + 10, 10)
        rows = [(f"{year}s", found.years.get(year, 0)) for year in decades]
        pictures["Overview"] = [("albums by decade", charts.columns("Albums by decade", rows, "decade"))]
    if found.co_occurrence:
        pictures["Co-occurrence"] = [("heat map of labels", charts.heat_map(found.co_occurrence))]
    if found.audio and len(found.audio.durations_s):
        pictures["Audio"] = [("track lengths", charts.durations(found.audio.durations_s))]
    if found.track:
        pictures["A track"] = charts.track_pictures(found.track)
    return pictures
