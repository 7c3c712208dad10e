"""Lute's albums, or anyone's, as Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from eno.data.albums import ALBUM_SCHEMA, LABEL_COLUMNS
from eno.data.lute_records import AlbumBatch, Progress
from eno.errors import CatalogueError

_NEEDED = ("file_name", *LABEL_COLUMNS)


def read_parquet(path: Path, on_progress: Progress) -> Iterator[AlbumBatch]:
    """Read albums from Parquet, a few thousand at a time.

    Parameters
    ----------
    path : Path
        The file. Columns that it lacks come back as null, unknown ones are dropped.
    on_progress : callable
        Takes albums read and albums there are.

    Yields
    ------
    AlbumBatch

    Raises
    ------
    CatalogueError
        It is damaged, lacks a needed column, or has one of another type.
    """
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            missing = [name for name in _NEEDED if name not in names]
            if missing:
                raise CatalogueError(
                    f"{path}: lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; it has "
                    f"{', '.join(names)}. DATA.md describes the albums table."
                )
            first, total = 1, file.metadata.num_rows
            for batch in file.iter_batches(batch_size=8192, columns=[n for n in ALBUM_SCHEMA.names if n in names]):
                columns = [_column(path, batch, field) for field in ALBUM_SCHEMA]
                table = pa.Table.from_arrays(columns, schema=ALBUM_SCHEMA)
                yield AlbumBatch(table, range(first, first + len(table)), "row")
                first += len(table)
                on_progress(first - 1, total)
    except (pa.ArrowException, OSError) as error:
        raise CatalogueError(f"{path}: cannot be read as Parquet ({error}); nothing was imported.") from error


def _column(path: Path, batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
    if field.name not in batch.schema.names:
        return pa.nulls(len(batch), field.type)
    column = batch.column(field.name)
    try:
        return column.cast(field.type)
    except pa.ArrowException as error:
        raise CatalogueError(
            f"{path}: the column {field.name} is {column.type}, expected {field.type} ({error}); nothing was imported."
        ) from error
