"""Labels and splits from the published annotations of research data sets."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from eno.data.families import DESCRIPTOR, GENRE
from eno.data.imports.csv_file import read_label_csv
from eno.data.imports.folders import FAMILY_OF
from eno.data.imports.items import Item
from eno.data.imports.paths import TrackPaths
from eno.data.names import clean_label
from eno.errors import CatalogueError
from eno.files import csv_records, csv_rows, read_lines

Imported = tuple[list[Item], list[str], dict[str, list[str]]]
"""Items, entries that were left out with the reason, and track ids by split; no splits if they are in other files."""

_JAMENDO = ("TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS")
_FAMILIES = {"genre": GENRE, "mood/theme": DESCRIPTOR} | FAMILY_OF
# The usual split (Dieleman and Schrauwen, 2014): by the folder, which is the first letter of the path.
_MAGNATAGATUNE = {"train": "0123456789ab", "val": "c", "test": "def"}


def read_jamendo(path: Path, tracks: TrackPaths) -> Imported:
    """Read a file of MTG-Jamendo, such as ``autotagging.tsv`` or one of its splits.

    Tags are ``category---name``: genres; moods and themes, which become descriptors; and instruments, a family of their
    own. The files of the data set are found
    under their names (``14/214.mp3``) and those of the smaller version (``14/214.low.mp3``). Artists are known by
    number only, which suffices for splits. Published splits are in folders of their own (``split-0``).
    """
    (number, header), *rows = [(line, text.rstrip("\r\n").split("\t")) for line, text in enumerate(
        read_lines(path, CatalogueError), 1)] or [(1, [])]  # fmt: skip
    if tuple(header[:6]) != _JAMENDO:
        raise CatalogueError(f"{path}: line {number}: expected the columns {' '.join(_JAMENDO)}, found {header[:6]}.")
    items: list[Item] = []
    skipped: list[str] = []
    for line, (_, artist, album, file, _, *tags) in ((line, row) for line, row in rows if len(row) >= len(_JAMENDO)):
        ids = tracks.find(file) or tracks.find(f"{file.removesuffix('.mp3')}.low.mp3")
        if not ids:
            skipped.append(f"line {line}: {file!r} is no track here, or several")
            continue
        pairs = [tag.partition("---") for tag in tags if tag]
        labels = [(_FAMILIES.get(kind, kind), clean_label(name)) for kind, _, name in pairs if name]
        items.append(Item(ids, labels, artist, album))
    return items, skipped, {}


def read_magnatagatune(annotations: Path, tracks: TrackPaths, info: Path | None = None) -> Imported:
    """Read ``annotations_final.csv`` of MagnaTagATune, with its usual split.

    Clips of a song are spread over the folders, so that the usual split shares artists. `info` is
    ``clip_info_final.csv``, from which the artists and albums are taken; without it, those in the tags of the files.
    """
    items, skipped = read_label_csv(annotations, tracks, family=DESCRIPTOR)
    if info is not None:
        _, rows = csv_records(info, CatalogueError, separators="\t,;")
        known = {one: row for _, row in rows if row.get("mp3_path") for one in tracks.find(row["mp3_path"])}
        items = [
            replace(item, artist=row.get("artist") or None, album=row.get("album") or None, title=row.get("title"))
            for item in items
            for row in [known.get(item.track_ids[0], {})]
        ]
    folders = {letter: name for name, letters in _MAGNATAGATUNE.items() for letter in letters}
    splits: dict[str, list[str]] = defaultdict(list)
    for item in items:
        for one in item.track_ids:
            if (name := folders.get(one.split("/")[-2:][0][:1])) is not None:
                splits[name].append(one)
    return items, skipped, dict(splits)


def read_fma(folder: Path, tracks: TrackPaths) -> Imported:
    """Read ``tracks.csv`` and ``genres.csv`` of the Free Music Archive's data set (``fma_metadata``), with its split.

    The labels are the genres of each track with all their ancestors.
    """
    _, rows = csv_records(folder / "genres.csv", CatalogueError)
    titles = {row["genre_id"]: clean_label(row["title"]) for _, row in rows}
    csv.field_size_limit(1 << 24)  # biographies
    upper, lower, *rest = [row for _, row in csv_rows(folder / "tracks.csv", CatalogueError)] or [[], []]
    place = {pair: column for column, pair in enumerate(zip(upper, lower, strict=False))}
    wanted = (("track", "genres_all"), ("artist", "name"), ("album", "title"), ("track", "title"), ("set", "split"))
    if missing := [pair for pair in wanted if pair not in place]:
        raise CatalogueError(
            f"{folder / 'tracks.csv'}: has no column {' '.join(missing[0])} in its two lines of names."
        )
    items: list[Item] = []
    skipped: list[str] = []
    splits: dict[str, list[str]] = defaultdict(list)
    for row in rest:
        if not row[0].isdecimal():
            continue  # the third line of names
        file = f"{int(row[0]):06}"
        if not (ids := tracks.find(f"{file[:3]}/{file}.mp3")):
            skipped.append(f"track {row[0]}: no file {file[:3]}/{file}.mp3 here")
            continue
        genres, artist, album, title, split = (row[place[pair]] for pair in wanted)
        names = [titles[one] for one in genres.strip("[] ").replace(" ", "").split(",") if one in titles]
        items.append(Item(ids, [(GENRE, name) for name in names], artist or None, album or None, title or None))
        splits[{"training": "train", "validation": "val"}.get(split, split)] += ids
    return items, skipped, dict(splits)
