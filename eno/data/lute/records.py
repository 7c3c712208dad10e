"""Batches of albums, and conversion of JSON records to the types of the albums table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from eno.data.lute.albums import ALBUM_SCHEMA

ProgressCallback = Callable[[int, int], None]
"""Receives the amount done and the total."""

_MAX_INT32 = 2**31 - 1


@dataclass(frozen=True)
class Malformed:
    """An unusable record: its place in the source, such as ``"line 17"``, and the reason."""

    place: str
    reason: str


@dataclass(frozen=True)
class AlbumBatch:
    """Albums in the columns of `ALBUM_SCHEMA`, and their numbers in the source in units such as ``"line"``."""

    table: pa.Table
    places: Sequence[int]
    unit: str

    def place(self, row: int) -> str:
        """Return the place of a row in the source, such as ``"line 17"``."""
        return f"{self.unit} {self.places[row]}"


def as_album(record: Any) -> dict[str, Any]:
    """Convert a decoded JSON value to the types of `ALBUM_SCHEMA`.

    Integers are accepted in text fields, and floats with integral values in integer fields. Unknown fields are dropped.
    Anything else raises a `ValueError` that names the field.
    """
    if not isinstance(record, dict):
        raise ValueError(f"expected an album object, found {_shown(record)}")
    return {field.name: _conform(record.get(field.name), field.type, field.name) for field in ALBUM_SCHEMA}


def _conform(value: Any, kind: pa.DataType, name: str) -> Any:
    if value is None:
        return None
    if pa.types.is_list(kind) and isinstance(value, list):
        return [_conform(one, kind.value_type, f"{name}[{i}]") for i, one in enumerate(value)]
    if pa.types.is_struct(kind) and isinstance(value, dict):
        return {field.name: _conform(value.get(field.name), field.type, f"{name}.{field.name}") for field in kind}
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if pa.types.is_string(kind) and (isinstance(value, str) or (number and isinstance(value, int))):
        _require_unicode(str(value), name)
        return str(value)
    if pa.types.is_floating(kind) and number:
        return float(value)
    if pa.types.is_integer(kind) and number and abs(value) <= _MAX_INT32 and value == int(value):
        return int(value)
    raise ValueError(f"{name} is {_shown(value)}, expected {_described(kind)}")


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
    return {"string": "text", "float": "a number", "int32": "a whole number"}[str(kind)]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
