"""Bookkeeping of a store: failures, changes of files, and the parts that were written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from eno.embeddings.store.folder import Folder
from eno.embeddings.store.parts import Part
from eno.errors import StoreError
from eno.files import parse_json_lines

_COUNTS, _AMENDMENTS, _FAILURES = "parts.json", "amendments.parquet", "failures.jsonl"

AMENDMENT_SCHEMA = pa.schema(
    [("track_id", pa.string()), ("gone", pa.bool_()), ("size", pa.int64()), ("mtime_ns", pa.int64())]
)
"""Tracks whose file was deleted (``gone``; their vectors are ignored until it is back), and tracks whose file changed
without a change of the audio, with its new size and modification time."""


@dataclass(frozen=True)
class Failure:
    """A track that could not be embedded. It is tried again once its file has another size or modification time.

    None stands for a file that cannot be found, or one that the next run tries again in any case.
    """

    track_id: str
    path: str
    reason: str
    size: int | None = None
    mtime_ns: int | None = None


class Ledger:
    """The bookkeeping of a store."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def amendments(self) -> pa.Table:
        """Read the changes since the parts were written, with the columns of `AMENDMENT_SCHEMA`."""
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
        """Read the content of the amendments file, empty if there is none."""
        try:
            return self.folder.read(_AMENDMENTS)
        except FileNotFoundError:
            return b""

    def write_amendments(self, table: pa.Table) -> None:
        """Replace the amendments."""
        if len(table) == 0:
            self.folder.remove(_AMENDMENTS)
            return
        sink = pa.BufferOutputStream()
        pq.write_table(table.sort_by("track_id"), sink, compression="zstd")
        self.folder.write(_AMENDMENTS, sink.getvalue())

    def failures(self) -> list[Failure]:
        """Read the tracks that could not be embedded, sorted by id."""
        if not self.folder.exists(_FAILURES):
            return []
        place = f"{self.folder}/{_FAILURES}"
        lines = self.folder.read(_FAILURES).splitlines(keepends=True)
        found = []
        for number, row in parse_json_lines(lines, place, StoreError):
            try:
                found.append(Failure(**row))
            except TypeError as error:
                raise StoreError(f"{place}: line {number} is not a failure ({error}). Remove this line.") from error
        return found

    def write_failures(self, failures: Iterable[Failure]) -> None:
        """Replace the failures."""
        rows = sorted(failures, key=lambda failure: failure.track_id)
        # Paths may hold bytes that are not UTF-8; JSON's escapes preserve them.
        self.folder.write(_FAILURES, "".join(json.dumps(asdict(row)) + "\n" for row in rows).encode())

    def count(self, new: Mapping[int, int], without: Sequence[Part] = ()) -> None:
        """Record the numbers of rows of new parts, and that others are removed."""
        gone = {part.number for part in without}
        counts = {**self.counts(), **new}
        listed = {f"{number:06d}": rows for number, rows in counts.items() if number not in gone}
        self.folder.write(_COUNTS, json.dumps(listed, indent=2).encode())

    def counts(self) -> dict[int, int]:
        """Read the number of rows that each part was written with."""
        if not self.folder.exists(_COUNTS):
            return {}
        try:
            return {int(number): int(rows) for number, rows in json.loads(self.folder.read(_COUNTS)).items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{self.folder}/{_COUNTS}: is damaged ({error}). Remove it; without it, 'eno store verify' cannot tell "
                "whether parts are missing."
            ) from error
