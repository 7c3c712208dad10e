"""Albums as Lute collects them from RateYourMusic: the source of every label.

An album is what Lute's ``Album`` message holds. eno keeps the field names, so that a table written
here reads like Lute's own documentation.

References
----------
Lute, https://github.com/shedrachokonofua/lute
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eno.errors import LabelError
from eno.files import replace_file

_NAMED = pa.struct([("name", pa.string()), ("file_name", pa.string())])

ALBUM_SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("file_name", pa.string()),
        ("rating", pa.float32()),
        ("rating_count", pa.int32()),
        ("artists", pa.list_(_NAMED)),
        ("primary_genres", pa.list_(pa.string())),
        ("secondary_genres", pa.list_(pa.string())),
        ("descriptors", pa.list_(pa.string())),
        (
            "tracks",
            pa.list_(
                pa.struct(
                    [
                        ("name", pa.string()),
                        ("duration_seconds", pa.int32()),
                        ("rating", pa.float32()),
                        ("position", pa.string()),
                    ]
                )
            ),
        ),
        ("release_date", pa.string()),
        ("languages", pa.list_(pa.string())),
        ("credits", pa.list_(pa.struct([("artist", _NAMED), ("roles", pa.list_(pa.string()))]))),
        ("cover_image_url", pa.string()),
        ("spotify_id", pa.string()),
        ("duplicate_of", pa.string()),
        ("duplicates", pa.list_(pa.string())),
    ]
)
"""Columns of ``albums.parquet``; DATA.md says what each one means."""

LABEL_COLUMNS = ("primary_genres", "secondary_genres", "descriptors")
"""The columns whose values are labels."""


def write_albums(path: Path, albums: Sequence[dict[str, Any]]) -> None:
    """Write albums as a Parquet file; the file is there whole or not at all.

    Parameters
    ----------
    path : Path
        The file to write, usually ``raw/metadata/albums.parquet``.
    albums : sequence of dict
        One mapping an album with keys of `ALBUM_SCHEMA`; missing keys become null.
    """
    table = pa.Table.from_pylist(list(albums), schema=ALBUM_SCHEMA)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        pq.write_table(table, temporary)


def read_albums(path: Path) -> pa.Table:
    """Read an albums table.

    Parameters
    ----------
    path : Path
        A Parquet file with at least ``file_name`` and the label columns.

    Returns
    -------
    pyarrow.Table
        One row an album; columns in the file that eno does not know are kept.

    Raises
    ------
    LabelError
        The file is missing, is not Parquet, or lacks a needed column.
    """
    if not path.is_file():
        raise LabelError(f"{path}: no such file. Expected albums as Parquet (see DATA.md).")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise LabelError(f"{path}: cannot be read as Parquet ({error}). Albums are kept as Parquet.") from error
    missing = [name for name in ("file_name", *LABEL_COLUMNS) if name not in table.column_names]
    if missing:
        raise LabelError(
            f"{path}: lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"it has {', '.join(table.column_names)}. DATA.md describes the albums table."
        )
    return table
