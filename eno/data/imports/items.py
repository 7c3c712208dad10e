"""Imported labels as rows of the albums table, and as labels of single tracks."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from eno.data.families import COLUMNS, family_name
from eno.data.labels.values import present
from eno.data.layout import DataRoot
from eno.data.lute.albums import ALBUM_SCHEMA, FAMILY_LABELS, LABEL_COLUMNS, LABEL_VALUES, read_albums
from eno.data.matching.artists import is_various, main_artist
from eno.data.names import clean_label, label_key, name_key
from eno.data.tables import read_table, with_column, write_table
from eno.errors import CatalogueError

_MOST_OF_ALBUM = 100  # tracks in a folder of an album

SOURCE = pa.field("source", pa.string())
"""Another column of the albums table: which import a row is from; null for Lute."""

TRACK_LABELS_SCHEMA = pa.schema([
    ("track_id", pa.string()), ("source", pa.string()), ("file_name", pa.string()),
    *(ALBUM_SCHEMA.field(name) for name in LABEL_COLUMNS), FAMILY_LABELS, LABEL_VALUES,
])  # fmt: skip
"""Columns of ``track_labels.parquet``; DATA.md describes them."""


@dataclass(frozen=True)
class Item:
    """Labels of tracks, or of an album whose tracks `eno match` will find.

    Attributes
    ----------
    track_ids : sequence of str
        The tracks that have the labels. If empty, `artist` and `album` are needed.
    labels : list of (str, str)
        Family and name of each label. A family is ``"genre"``, ``"descriptor"`` or any other name.
    artist, album, title : str or None
        These take precedence over the tags of the tracks.
    values : mapping of (str, str) to float
        Values of the `labels` that are not certain, between 0 and 1; see `eno.data.labels.values`. If all labels of a
        family have the value 0, it is known that the tracks have none of them.
    """

    track_ids: Sequence[str]
    labels: list[tuple[str, str]]
    artist: str | None = None
    album: str | None = None
    title: str | None = None
    values: Mapping[tuple[str, str], float] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelImportReport:
    """Counts of an import of labels."""

    source: str
    tracks: int  # tracks that have labels of their own
    albums: int
    labels: dict[str, dict[str, int]]  # family → label → number of tracks, or of albums whose tracks are not known yet
    skipped: list[str] = field(default_factory=list)  # entries that were left out, each with the reason
    values: int = 0  # labels of these tracks and albums that have a value between 0 and 1
    negatives: int = 0  # of these tracks and albums, those that are known to have none of the labels


def split_labels(text: str, separators: str) -> list[str]:
    """Split a list of labels in one text, and tidy each of them.

    Examples
    --------
    >>> split_labels("Shoegaze; dream  pop;", ";|")
    ['Shoegaze', 'dream pop']
    """
    parts = re.split(f"[{re.escape(separators)}]", text) if separators else [text]
    return [label for part in parts if (label := clean_label(part))]


def write_import(data: DataRoot, source: str, items: Iterable[Item], skipped: Sequence[str] = ()) -> LabelImportReport:
    """Add imported labels to the albums and to the labels of tracks; they replace those of an earlier such import.

    Tracks of the same album and folder become one album. Tracks without the name of an album are one if they are in one
    folder of at most 100 tracks that is not named after a label; else each is its own, and may be in another split.
    """
    items = list(items)
    tracks = _tags(data) if any(item.track_ids for item in items) else {}
    albums: dict[str, dict[str, Any]] = {}
    labels: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    file_name_of: dict[str, str] = {}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    spelled: dict[tuple[str, str], str] = {}
    folders = _album_folders(items)
    for item in items:
        for place in item.track_ids or ("",):
            tags = tracks.get(place, {})
            file_name, row = _album_of(source, place, item, tags, folders)
            row = albums.setdefault(file_name, row)
            row["artists"].update(_artists(item.artist or tags.get("album_artist") or tags.get("artist")))
            row["size"] += 1
            if tags or item.title:
                row["tracks"][place] = {
                    "name": item.title or tags.get("title"),
                    "duration_seconds": round(tags["duration_s"]) if tags.get("duration_s") else None,
                }
            if place:
                file_name_of[place] = file_name
            for named, name in item.labels:
                family = family_name(named)
                shown, value = spelled.setdefault((family, label_key(name)), name), item.values.get((named, name), 1.0)
                for owner in filter(None, (place, file_name)):
                    own = labels[owner][family]
                    own[shown] = max(own.get(shown, 0.0), value)
    with_tracks = set(file_name_of.values())
    owners = [*file_name_of, *(name for name in albums if name not in with_tracks)]
    for owner in owners:
        for family, names in labels[owner].items():
            counts[family].update(name for name, value in names.items() if present(value))
    if not any(counts.values()):
        example = f"; for example {skipped[0]}" if skipped else ""
        raise CatalogueError(f"eno import {source}: no labels were found{example}.")
    rows = [
        {"file_name": name, **_finished(row), **_label_columns(labels[name]), "source": source}
        for name, row in albums.items()
    ]
    _replace_rows(data.albums, _albums_with_source(data.albums), rows, source)
    _replace_rows(
        data.track_labels,
        read_track_labels(data.track_labels),
        [
            {"track_id": track_id, "source": source, "file_name": name, **_label_columns(labels[track_id])}
            for track_id, name in file_name_of.items()
        ],
        source,
    )
    return LabelImportReport(
        source=source,
        tracks=len(file_name_of),
        albums=len(albums),
        labels={family: dict(found.most_common()) for family, found in sorted(counts.items())},
        skipped=list(skipped),
        values=sum(0 < value < 1 for owner in owners for names in labels[owner].values() for value in names.values()),
        negatives=sum(_has_zeros_only(labels[owner]) for owner in owners),
    )


def _has_zeros_only(labels: Mapping[str, Mapping[str, float]]) -> bool:
    values = [value for names in labels.values() for value in names.values()]
    return bool(values) and not any(values)


def read_track_labels(path: Path) -> pa.Table:
    """Read the labels of single tracks, with the columns of `TRACK_LABELS_SCHEMA`; empty if none were imported."""
    if not path.is_file():
        return TRACK_LABELS_SCHEMA.empty_table()
    origin = "Delete it and import the labels again."
    table = read_table(path, schema=TRACK_LABELS_SCHEMA, needed=("track_id", "file_name"), origin=origin)
    return table.select(TRACK_LABELS_SCHEMA.names)


def imported_albums(path: Path) -> pa.Table:
    """Return the rows of the albums table that are not Lute's."""
    table = _albums_with_source(path)
    return table.filter(pc.is_valid(table[SOURCE.name]))


def keep_imported(path: Path, rows: pa.Table) -> None:
    """Add `imported_albums` again to a table that an import of Lute's albums has replaced."""
    if len(rows):
        write_table(path, pa.concat_tables([_albums_with_source(path), rows], promote_options="default"))


def _albums_with_source(path: Path) -> pa.Table:
    schema = ALBUM_SCHEMA.append(FAMILY_LABELS).append(LABEL_VALUES).append(SOURCE)
    if not path.is_file():
        return schema.empty_table()
    table = read_albums(path)
    for column in (FAMILY_LABELS, LABEL_VALUES, SOURCE):
        table = with_column(table, column)
    return table


def _replace_rows(path: Path, table: pa.Table, rows: list[dict[str, Any]], source: str) -> None:
    others = table.filter(pc.fill_null(pc.not_equal(table[SOURCE.name], source), True))
    new = pa.Table.from_pylist(rows, schema=pa.schema([table.schema.field(name) for name in table.column_names]))
    write_table(path, pa.concat_tables([others, new]))


def _tags(data: DataRoot) -> dict[str, dict[str, Any]]:
    from eno.data.library.scanning import read_tracks

    columns = ["track_id", "artist", "album_artist", "album", "title", "year", "duration_s"]
    return {row["track_id"]: row for row in read_tracks(data.tracks).select(columns).to_pylist()}


def _album_folders(items: Iterable[Item]) -> set[str]:
    """Return the folders whose tracks belong together: not those of a genre, or of everything that somebody has."""
    sizes = Counter(str(PurePosixPath(place).parent) for item in items for place in item.track_ids)
    labels = {label_key(name) for item in items for _, name in item.labels}
    return {
        folder
        for folder, tracks in sizes.items()
        if tracks <= _MOST_OF_ALBUM and folder != "." and label_key(PurePosixPath(folder).name) not in labels
    }


def _album_of(
    source: str, place: str, item: Item, tags: dict[str, Any], folders: Set[str]
) -> tuple[str, dict[str, Any]]:
    album = item.album or tags.get("album")
    folder = str(PurePosixPath(place).parent)
    if not album and folder in folders:
        album = PurePosixPath(folder).name
    if album and place:
        around = item.artist or folder
        file_name = f"{source}/{around}/{album}"
    elif album:
        file_name = f"{source}/{item.artist or ''}/{album}"
    else:
        file_name = f"{source}/{place}"
    year = tags.get("year")
    date = f"{year}-01-01" if year else None
    name = album or item.title or tags.get("title")
    return file_name, {"name": name, "artists": Counter(), "tracks": {}, "size": 0, "release_date": date}


def _artists(text: str | None) -> list[str]:
    names = [main_artist(part).strip() for part in (text or "").split("; ")]
    return [name for name in names if name and not is_various(name_key(name))]


def _finished(row: dict[str, Any]) -> dict[str, Any]:
    # An album whose tracks are by different artists is a compilation: the tags of the tracks say who is on it.
    artists = [name for name, count in row["artists"].items() if 2 * count >= row["size"]]
    return {
        "name": row["name"],
        "release_date": row["release_date"],
        "artists": [{"name": name, "file_name": None} for name in artists],
        "tracks": list(row["tracks"].values()),
    }


def _label_columns(labels: dict[str, dict[str, float]]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in (*LABEL_COLUMNS, FAMILY_LABELS.name, LABEL_VALUES.name)}
    for family, values in labels.items():
        names = [name for name, value in values.items() if present(value)]
        if family in COLUMNS:
            columns[COLUMNS[family][0]] += names
        else:
            columns[FAMILY_LABELS.name] += [{"family": family, "label": name} for name in names]
        uncertain = ((name, value) for name, value in values.items() if value < 1)
        columns[LABEL_VALUES.name] += [{"family": family, "label": name, "value": value} for name, value in uncertain]
    return columns
