"""Parquet tables that are replaced atomically and checked when they are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from eno.errors import CatalogueError
from eno.files import replace_file


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as Parquet; a missing folder is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_table(
    path: Path, *, schema: pa.Schema, needed: Iterable[str], origin: str, earlier_names: Mapping[str, str] | None = None
) -> pa.Table:
    """Read a table and check that it has the expected columns.

    Columns of `schema` that are missing and not `needed` become null; further columns of the file are kept. `origin`
    completes error messages, for example with ``"Create it with: eno scan"``. `earlier_names` maps columns to their
    names in files of earlier versions.
    """
    if not path.is_file():
        raise CatalogueError(f"{path}: no such file. {origin}")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise CatalogueError(f"{path}: cannot be read as Parquet ({error}). {origin}") from error
    earlier = {old: new for new, old in (earlier_names or {}).items() if new not in table.column_names}
    table = table.rename_columns([earlier.get(name, name) for name in table.column_names])
    require_columns(path, table.column_names, needed, origin)
    for field in schema:
        column = typed_column(path, table, field)
        if field.name in table.column_names:
            table = table.set_column(table.column_names.index(field.name), field, column)
        else:
            table = table.append_column(field, column)
    return table


def require_columns(path: Path, names: Sequence[str], needed: Iterable[str], origin: str) -> None:
    """Raise a `CatalogueError` that names the missing columns, if any are missing."""
    missing = [name for name in needed if name not in names]
    if missing:
        raise CatalogueError(
            f"{path}: missing columns: {', '.join(missing)}; found {', '.join(names)}. DATA.md describes the table. "
            f"{origin}"
        )


def typed_column(path: Path, table: pa.Table | pa.RecordBatch, field: pa.Field) -> pa.Array | pa.ChunkedArray:
    """Return a column cast to the type of a field, or nulls if the table lacks it."""
    if field.name not in table.schema.names:
        return pa.nulls(len(table), field.type)
    column = table.column(field.name)
    try:
        return column.cast(field.type)
    except pa.ArrowException as error:
        raise CatalogueError(
            f"{path}: the column {field.name} has the type {column.type}, expected {field.type} ({error})."
        ) from error
