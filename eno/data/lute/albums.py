"""The albums table: the source of every label."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from eno.data.tables import read_table

_NAMED = pa.struct([("name", pa.string()), ("file_name", pa.string())])

_TEXTS = pa.list_(pa.string())
_TRACK = pa.struct([
    ("name", pa.string()), ("duration_seconds", pa.int32()), ("rating", pa.float32()), ("position", pa.string()),
])  # fmt: skip

ALBUM_SCHEMA = pa.schema([
    ("name", pa.string()), ("file_name", pa.string()), ("rating", pa.float32()), ("rating_count", pa.int32()),
    ("artists", pa.list_(_NAMED)), ("primary_genres", _TEXTS), ("secondary_genres", _TEXTS), ("descriptors", _TEXTS),
    ("tracks", pa.list_(_TRACK)), ("release_date", pa.string()), ("languages", _TEXTS),
    ("credits", pa.list_(pa.struct([("artist", _NAMED), ("roles", _TEXTS)]))),
    ("cover_image_url", pa.string()), ("spotify_id", pa.string()), ("musicbrainz_release_group_id", pa.string()),
    ("musicbrainz_release_id", pa.string()), ("duplicate_of", pa.string()), ("duplicates", _TEXTS),
])  # fmt: skip
"""Columns of ``albums.parquet``: the fields of Lute's ``Album`` message. DATA.md describes them."""

LABEL_COLUMNS = ("primary_genres", "secondary_genres", "descriptors")
"""Columns whose values are labels."""

NEEDED_COLUMNS = ("file_name", *LABEL_COLUMNS)
"""Columns that every albums table must have."""


def read_albums(path: Path) -> pa.Table:
    """Read the albums table: one row per album, all columns of `ALBUM_SCHEMA`, and unknown columns as they are.

    Raises
    ------
    CatalogueError
        The file is missing, is not Parquet, or lacks ``file_name`` or a label column.
    """
    return read_table(path, schema=ALBUM_SCHEMA, needed=NEEDED_COLUMNS, origin="Create it with: eno import lute SOURCE")


def album_artists(albums: pa.Table) -> list[list[str]]:
    """Return the artists of every album, by ``file_name`` or else by name."""
    if "artists" not in albums.column_names:
        return [[] for _ in range(len(albums))]
    return [
        [one["file_name"] or one["name"] for one in several or () if one and (one["file_name"] or one["name"])]
        for several in albums["artists"].to_pylist()
    ]


def release_years(albums: pa.Table) -> list[int | None]:
    """Return the release year of every album; None where it is unknown."""
    dates = albums["release_date"].to_pylist()
    return [int(date[:4]) if date and date[:4].isdecimal() else None for date in dates]
