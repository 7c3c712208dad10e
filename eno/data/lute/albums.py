"""The albums table, from which all labels come."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from eno.data.tables import read_table

_ORIGIN = "Create it with: eno import lute SOURCE, or after eno scan with: eno import tags, csv or folders"
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
NEEDED_COLUMNS = ("file_name", *LABEL_COLUMNS)

FAMILY_LABELS = pa.field("family_labels", pa.list_(pa.struct([("family", pa.string()), ("label", pa.string())])))
"""Another column for labels: those of other families than genres and descriptors. Lute's albums lack it."""

LABEL_VALUES = pa.field(
    "label_values", pa.list_(pa.struct([("family", pa.string()), ("label", pa.string()), ("value", pa.float32())]))
)
"""Another column: labels with a value below 1. Those of at least 0.5 are in the other columns as well.

A value of 0 is kept only where it is known that the row has no label of the family.
"""


def read_albums(path: Path) -> pa.Table:
    """Read the albums table: one row per album, the columns of `ALBUM_SCHEMA`, and further columns of the file."""
    return read_table(path, schema=ALBUM_SCHEMA, needed=NEEDED_COLUMNS, origin=_ORIGIN)


def read_album_labels(path: Path) -> pa.Table:
    """Read only the names and labels of the albums, which are a small part of the table."""
    fields = [*(ALBUM_SCHEMA.field(name) for name in NEEDED_COLUMNS), FAMILY_LABELS, LABEL_VALUES]
    return read_table(path, schema=pa.schema(fields), needed=NEEDED_COLUMNS, origin=_ORIGIN, only=True)


def album_artists(albums: pa.Table) -> list[list[str]]:
    """Return the artists of every album: their ``file_name``, or else their name."""
    if "artists" not in albums.column_names:
        return [[] for _ in range(len(albums))]
    return [
        [key for one in artists or () if one and (key := one["file_name"] or one["name"])]
        for artists in albums["artists"].to_pylist()
    ]


def release_years(albums: pa.Table) -> list[int | None]:
    """Return the release year of every album, or None."""
    dates = albums["release_date"].to_pylist()
    return [int(date[:4]) if date and date[:4].isdecimal() else None for date in dates]
