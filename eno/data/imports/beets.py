"""Labels from the library of beets."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from eno.data.families import DESCRIPTOR, GENRE
from eno.data.imports.items import Item, split_labels
from eno.data.imports.paths import TrackPaths
from eno.errors import CatalogueError
from eno.files import printable

FIELDS = {"genre": GENRE, "genres": GENRE, "style": GENRE, "mood": DESCRIPTOR, "moods": DESCRIPTOR,
          "grouping": DESCRIPTOR}  # fmt: skip
"""Fields of beets that hold labels, fixed or flexible, and the family of each."""

_LIST = "\\␀"  # how beets joins the values of a list


def read_beets(
    path: Path, tracks: TrackPaths, fields: Mapping[str, str] = FIELDS, separators: str = ";,|"
) -> tuple[list[Item], list[str]]:
    """Read labels from a library of beets, which is not changed.

    An item that lacks a field has that of its album. Items are found by their absolute paths, below an audio folder.

    Parameters
    ----------
    path : Path
        ``library.db``.
    fields : mapping of str to str
        Fields, also flexible ones → family of their labels.
    separators : str
        Characters that separate several labels in one field.
    """
    if not path.is_file():
        raise CatalogueError(f"{path}: no such file; expected library.db of beets, see: beet config -p")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            items = [dict(row) for row in database.execute("SELECT * FROM items ORDER BY id")]
            albums = {row["id"]: dict(row) for row in database.execute("SELECT * FROM albums")}
            for table, rows in (("item", {row["id"]: row for row in items}), ("album", albums)):
                for entity, key, value in database.execute(f"SELECT entity_id, key, value FROM {table}_attributes"):
                    if entity in rows:
                        rows[entity].setdefault(key, value)
    except sqlite3.Error as error:
        raise CatalogueError(f"{path}: cannot be read as a library of beets ({error}).") from error
    found: list[Item] = []
    skipped: list[str] = []
    for item in items:
        file = os.fsdecode(item["path"])
        ids = tracks.find(file) if os.path.isabs(file) else []
        if not ids:
            skipped.append(f"{printable(file)}: is not a track of this collection")
            continue
        album = albums.get(item.get("album_id"), {})
        labels = [
            (family, label)
            for name, family in fields.items()
            for text in str(item.get(name) or album.get(name) or "").split(_LIST)
            for label in split_labels(text, separators)
        ]
        if labels:
            artist = item.get("albumartist") or item.get("artist")
            found.append(
                Item(ids, list(dict.fromkeys(labels)), artist or None, item.get("album") or None, item.get("title"))
            )
    return found, skipped
