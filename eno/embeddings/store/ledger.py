"""What a store knows beside vectors: failures, changes to files, and which parts there should be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from eno.embeddings.store.folder import Folder
from eno.embeddings.store.parts import Part
from eno.errors import StoreError

_COUNTS, _AMENDMENTS, _FAILURES = "parts.json", "amendments.parquet", "failures.jsonl"

AMENDMENT_SCHEMA = pa.schema(
    [("track_id", pa.string()), ("gone", pa.bool_()), ("size", pa.int64()), ("mtime_ns", pa.int64())]
)
"""Tracks whose file has vanished (``gone``; their vectors are there, but not read), and tracks whose file was touched
and sounds as before, with its new size and time."""


@dataclass(frozen=True)
class Failure:
    """A track that could not be embedded.

    Attributes
    ----------
    track_id, path : str
        Which track, and its file when it was tried.
    reason : str
        What was wrong and what to do.
    size, mtime_ns : int, optional
        What the file was then, so that it is tried again once it has changed; None if that could not be seen.
    """

    track_id: str
    path: str
    reason: str
    size: int | None = None
    mtime_ns: int | None = None


class Ledger:
    """The ledger of a store; every file of it is replaced whole.

    Parameters
    ----------
    folder : Folder
        The store.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def amendments(self) -> pa.Table:
        """What has changed since the parts were written, with the columns of `AMENDMENT_SCHEMA`."""
        content = self.amendments_bytes()
        if not content:
            return AMENDMENT_SCHEMA.empty_table()
        try:
            return pq.read_table(pa.BufferReader(content))
        except (OSError, pa.ArrowException) as error:
            raise StoreError(
                f"{self.folder}/{_AMENDMENTS}: is damaged ({error}). Remove it and run 'eno embed' again."
            ) from error

    def amendments_bytes(self) -> bytes:
        """The amendments as they lie in their file, which tells whether anything changed; empty if there are none."""
        return self.folder.read(_AMENDMENTS) if self.folder.exists(_AMENDMENTS) else b""

    def write_amendments(self, table: pa.Table) -> None:
        """Replace the amendments."""
        if len(table) == 0:
            self.folder.remove(_AMENDMENTS)
            return
        sink = pa.BufferOutputStream()
        pq.write_table(table.sort_by("track_id"), sink, compression="zstd")
        self.folder.write(_AMENDMENTS, sink.getvalue())

    def failures(self) -> list[Failure]:
        """Tracks that could not be embedded, in the order of their ids."""
        if not self.folder.exists(_FAILURES):
            return []
        return [Failure(**json.loads(line)) for line in self.folder.read(_FAILURES).splitlines()]

    def write_failures(self, failures: Iterable[Failure]) -> None:
        """Replace the ledger of failures."""
        rows = sorted(failures, key=lambda failure: failure.track_id)
        # Paths may hold bytes that are no UTF-8; JSON's escapes carry them through.
        self.folder.write(_FAILURES, "".join(json.dumps(asdict(row)) + "\n" for row in rows).encode())

    def count(self, new: Mapping[int, int], without: Sequence[Part] = ()) -> None:
        """Note parts, by their numbers and rows, and that others are gone."""
        gone = {part.number for part in without}
        counts = {**self.counts(), **new}
        listed = {f"{number:06d}": rows for number, rows in counts.items() if number not in gone}
        self.folder.write(_COUNTS, json.dumps(listed, indent=2).encode())

    def counts(self) -> dict[int, int]:
        """Rows of the parts that should be there, by number."""
        if not self.folder.exists(_COUNTS):
            return {}
        return {int(number): int(rows) for number, rows in json.loads(self.folder.read(_COUNTS)).items()}
