"""Batches of albums, and conversion of JSON records to the types of the albums table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from eno.data.lute.albums import ALBUM_SCHEMA
from eno.data.tables import conform, shown_value

ProgressCallback = Callable[[int, int], None]
"""Receives the amount done and the total."""


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
    unreadable: Sequence[str] = ()  # numbers that were left out, each with its place

    def place(self, row: int) -> str:
        """Return the place of a row in the source, such as ``"line 17"``."""
        return f"{self.unit} {self.places[row]}"


def as_album(record: Any, unreadable: list[str]) -> dict[str, Any]:
    """Convert a decoded JSON value to the types of `ALBUM_SCHEMA`; see `eno.data.tables.conform`.

    Unknown fields are dropped. A `ValueError` names the field that makes the record unusable.
    """
    if not isinstance(record, dict):
        raise ValueError(f"expected an album object, found {shown_value(record)}")
    return {field.name: conform(record.get(field.name), field.type, field.name, unreadable) for field in ALBUM_SCHEMA}
