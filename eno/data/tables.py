"""Parquet tables that are replaced atomically and checked when they are read."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eno.errors import CatalogueError
from eno.files import replace_file

logger = logging.getLogger(__name__)

_MAX_INT32 = 2**31 - 1
_NUMBERS = {"float": "a number", "int32": "a whole number"}


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as Parquet; a missing folder is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_table(
    path: Path,
    *,
    schema: pa.Schema,
    needed: Iterable[str],
    origin: str,
    earlier_names: Mapping[str, str] | None = None,
    only: bool = False,
) -> pa.Table:
    """Read a table and check that it has the expected columns.

    Columns of `schema` that are missing and not `needed` become null; further columns of the file are kept, unless
    `only` those of the schema are read. `origin` completes error messages, for example with
    ``"Create it with: eno scan"``. `earlier_names` maps columns to their names in files of earlier versions.
    """
    if not path.is_file():
        raise CatalogueError(f"{path}: no such file. {origin}")
    try:
        wanted = {*schema.names, *(earlier_names or {}).values()}
        columns = [name for name in pq.read_schema(path).names if name in wanted] if only else None
        table = pq.read_table(path, columns=columns)
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


def with_column(table: pa.Table, field: pa.Field) -> pa.Table:
    """Return a table with a column, which is null if the table lacked it."""
    if field.name in table.column_names:
        return table
    return table.append_column(field, pa.nulls(len(table), field.type))


def require_columns(path: Path, names: Sequence[str], needed: Iterable[str], origin: str) -> None:
    """Raise a `CatalogueError` that names the columns that are missing or there twice, if there are any."""
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise CatalogueError(f"{path}: has several columns of the same name: {', '.join(repeated)}. {origin}")
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
        unreadable: list[str] = []
        try:
            values = [conform(value, field.type, field.name, unreadable) for value in column.to_pylist()]
        except ValueError:
            raise CatalogueError(
                f"{path}: the column {field.name} has the type {column.type}, expected {field.type} ({error})."
            ) from error
        warn_of_unreadable(path, unreadable)
        return pa.array(values, field.type)


def conform(value: Any, kind: pa.DataType, name: str, unreadable: list[str]) -> Any:
    """Convert a plain value to what an Arrow type needs.

    Numbers are accepted as text, and in text fields; integers are rounded, and may be times such as ``"3:45"``. NaN
    means null. A number that cannot be read becomes null and is added to `unreadable`, since it should not cost the
    whole record; anything else that does not fit raises a `ValueError` that names the field.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is None or (number and not math.isfinite(value)):
        return None
    if pa.types.is_list(kind) and isinstance(value, list):
        return [conform(one, kind.value_type, f"{name}[{i}]", unreadable) for i, one in enumerate(value)]
    if pa.types.is_struct(kind) and isinstance(value, dict):
        return {one.name: conform(value.get(one.name), one.type, f"{name}.{one.name}", unreadable) for one in kind}
    if pa.types.is_string(kind) and (isinstance(value, str) or number):
        text = str(int(value) if number and value == int(value) else value)
        _require_unicode(text, name)
        return text
    if str(kind) not in _NUMBERS or not (isinstance(value, str) or number):
        raise ValueError(f"{name} is {shown_value(value)}, expected {_described(kind)}")
    try:
        return _number(value, pa.types.is_integer(kind))
    except ValueError:
        unreadable.append(f"{name} is {shown_value(value)}, expected {_NUMBERS[str(kind)]}")
        return None


def warn_of_unreadable(source: Path | str, unreadable: Sequence[str]) -> None:
    """Log how many numbers `conform` left out, with an example, if there are any."""
    if unreadable:
        message = "%s: numbers that cannot be read stay empty: %d, for example %s."
        logger.warning(message, source, len(unreadable), unreadable[0])


def shown_value(value: Any) -> str:
    """Return a value as Python writes it, shortened, for messages."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


def _number(value: str | float, whole: bool) -> int | float | None:
    number = 0.0
    for part in value.split(":") if whole and isinstance(value, str) else [value]:
        number = number * 60 + float(part)
    if not math.isfinite(number):
        return None
    if whole and abs(number) > _MAX_INT32:
        raise ValueError
    return round(number) if whole else number


def _require_unicode(text: str, name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} contains an unpaired surrogate, which is not a character") from error


def _described(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return "a list"
    if pa.types.is_struct(kind):
        return f"an object with {' and '.join(field.name for field in kind)}"
    return "text" if pa.types.is_string(kind) else _NUMBERS.get(str(kind), str(kind))
