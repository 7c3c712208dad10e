"""Parts of a store: Parquet files with one row per window.

Vectors are fixed-size binary values, with dtype and shape in the column's metadata: pyarrow reads these ten times as
fast as lists, and NumPy uses them without a copy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eno.data.tables import with_column
from eno.embeddings.store.folder import Entry, Folder
from eno.errors import StoreError

if TYPE_CHECKING:
    from eno.audio.track_decoding import FileStamp

FOLDER = "parts"
PART_BYTES = 64 * 2**20
"""Approximate size of a part."""
DTYPES = {"float16": np.float16, "float32": np.float32}
FILE_SCHEMA = pa.schema(
    [
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("samples_hash", pa.string()),
        ("section_start_s", pa.float64()),
        ("section_end_s", pa.float64()),
    ]
)
"""Columns that describe the embedded file, see `FileStamp`; null where an earlier format lacks them."""
STORE_TRACK_SCHEMA = pa.schema([("track_id", pa.string()), ("part", pa.int32()), ("windows", pa.int64()), *FILE_SCHEMA])
"""Columns of tables of tracks: ``part`` is the number of the part with the windows, ``windows`` their number."""
_EARLIER_NAMES = {"samples_hash": "audio_hash"}
_REPEATED = ["track_id", *FILE_SCHEMA.names]  # the same in all windows of a track


@dataclass(frozen=True)
class Part:
    """A part: its number, in the order of writing, and its file."""

    number: int
    entry: Entry


@dataclass(frozen=True, eq=False)
class PartRows:
    """Windows of a part; `vectors` has shape (n, layers * dim) and the dtype of the store."""

    track_ids: pa.DictionaryArray
    starts_s: np.ndarray
    vectors: np.ndarray


class Parts:
    """The parts of a store."""

    def __init__(self, folder: Folder, layers: int, dim: int, dtype: str) -> None:
        self._folder, self._dtype, self._width = folder, np.dtype(DTYPES[dtype]), layers * dim
        self._digests: dict[Entry, str] = {}
        described = {"dtype": self._dtype.newbyteorder("<").str, "shape": f"{layers},{dim}"}
        self._schema = pa.schema(
            [
                pa.field("track_id", pa.string(), nullable=False),
                pa.field("start_s", pa.float64(), nullable=False),
                pa.field("vector", pa.binary(self._width * self._dtype.itemsize), nullable=False, metadata=described),
                *FILE_SCHEMA,
            ]
        )

    def all(self) -> list[Part]:
        """List the parts in the order of writing."""
        entries = [(PurePosixPath(entry.name), entry) for entry in self._folder.entries(FOLDER)]
        return [Part(int(p.stem), entry) for p, entry in entries if p.suffix == ".parquet" and p.stem.isdecimal()]

    def write(
        self, track_ids: Sequence[str], starts_s: np.ndarray, vectors: np.ndarray, files: Mapping[str, FileStamp]
    ) -> int:
        """Write windows, with vectors [shape=(n, layers * dim)] in the store's dtype; return the part's number."""
        names = pa.array(track_ids, pa.string()).dictionary_encode()
        stamps = [files.get(name) or (None,) * len(FILE_SCHEMA) for name in names.dictionary.to_pylist()]
        columns = [pa.array([stamp[place] for stamp in stamps], type_) for place, type_ in enumerate(FILE_SCHEMA.types)]
        repeated = [column.take(names.indices) for column in columns]
        rows = [names.cast(pa.string()), pa.array(starts_s, pa.float64()), self._binary(vectors), *repeated]
        return self.write_table(pa.table(rows, schema=self._schema))

    def write_table(self, table: pa.Table) -> int:
        """Write rows from `read_whole` as a new part; return its number."""
        content = hashlib.sha256()
        for column in table.combine_chunks().columns:
            for buffer in (one for chunk in column.chunks for one in chunk.buffers() if one is not None):
                content.update(buffer)
        table = table.replace_schema_metadata({"sha256": content.hexdigest()})  # for `digest`
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True, use_dictionary=_REPEATED)
        parts = self.all()
        number = parts[-1].number + 1 if parts else 0
        self._folder.write(f"{FOLDER}/{number:06d}.parquet", sink.getvalue())
        return number

    def digest(self, part: Part) -> str:
        """Return a hash of a part's footer, which has a hash or, from earlier versions, statistics of the content.

        Raises
        ------
        FileNotFoundError
            The part has been merged into another one.
        """
        if part.entry not in self._digests:
            try:
                with self._folder.open(part.entry.name) as file:
                    size = file.size()
                    length = int.from_bytes(file.read_at(8, max(0, size - 8))[:4], "little") + 8
                    footer = file.read_at(min(length, size), max(0, size - length))
            except FileNotFoundError:
                raise
            except (OSError, pa.ArrowException) as error:
                raise StoreError(f"{self._folder}/{part.entry.name}: cannot be read ({error}).") from error
            self._digests[part.entry] = hashlib.sha256(footer).hexdigest()
        return self._digests[part.entry]

    def read(self, part: Part) -> PartRows:
        """Read the windows of a part, including outdated ones; raise StoreError if it is damaged."""
        table = self._read(part, ["track_id", "start_s", "vector"])
        track_ids = table["track_id"].unify_dictionaries().combine_chunks()
        return PartRows(track_ids, table["start_s"].to_numpy(), self._vectors(table))

    def _vectors(self, table: pa.Table) -> np.ndarray:
        column = table["vector"].combine_chunks()
        if not pa.types.is_fixed_size_binary(column.type):  # the first format
            listed: np.ndarray = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), self._width)
            return listed
        values = np.frombuffer(column.buffers()[1] or b"", self._dtype.newbyteorder("<"))
        begin = column.offset * self._width
        rows: np.ndarray = values[begin : begin + len(column) * self._width].reshape(len(column), self._width)
        return rows

    def tracks(self, part: Part) -> pa.Table:
        """Read one row per track of a part, with the columns of `STORE_TRACK_SCHEMA`."""
        table = self._read(part, _REPEATED)
        indices = table["track_id"].unify_dictionaries().combine_chunks().indices.to_numpy()
        names, first, counts = np.unique(indices, return_index=True, return_counts=True)
        rows = table.take(pa.array(first))
        columns = [rows["track_id"].cast(pa.string()), pa.array(np.full(len(names), part.number, np.int32)), counts]
        return pa.table([*columns, *(rows[name] for name in FILE_SCHEMA.names)], schema=STORE_TRACK_SCHEMA)

    def read_whole(self, part: Part) -> pa.Table:
        """Read all rows and columns of a part, for `write_table`."""
        table = self._read(part, self._schema.names)
        vectors = self._binary(self._vectors(table))
        table = table.set_column(table.schema.get_field_index("vector"), "vector", vectors)
        return table.select(self._schema.names).cast(self._schema)

    def _binary(self, vectors: np.ndarray) -> pa.Array:
        values = pa.py_buffer(np.ascontiguousarray(vectors, self._dtype.newbyteorder("<")))
        return pa.FixedSizeBinaryArray.from_buffers(self._schema.field("vector").type, len(vectors), [None, values])

    def _read(self, part: Part, columns: list[str]) -> pa.Table:
        """Read columns under their present names; those that the first format lacks are null."""
        try:
            with (
                self._folder.open(part.entry.name) as source,
                pq.ParquetFile(source, read_dictionary=["track_id"], page_checksum_verification=True) as file,
            ):
                present = set(file.schema_arrow.names)
                stored = {name: name if name in present else _EARLIER_NAMES.get(name) for name in columns}
                found = {name: earlier for name, earlier in stored.items() if earlier in present}
                table = file.read(list(found.values())).select(list(found.values())).rename_columns(list(found))
        except (OSError, pa.ArrowException) as error:
            raise StoreError(
                f"{self._folder}/{part.entry.name}: is damaged ({error}). Remove it and run 'eno embed' again."
            ) from error
        for field in FILE_SCHEMA:
            if field.name in columns:
                table = with_column(table, field)
        return table


def latest(tables: Sequence[pa.Table]) -> pa.Table:
    """Merge the tracks of several parts, sorted by id; for a track in several parts, keep the last."""
    table = pa.concat_tables([STORE_TRACK_SCHEMA.empty_table(), *tables])
    table = table.sort_by([("track_id", "ascending"), ("part", "ascending")])
    names = table["track_id"].combine_chunks()
    if len(table) > 1:
        last = pc.not_equal(names.slice(0, len(names) - 1), names.slice(1))
        if not pc.all(last).as_py():
            table = table.filter(pa.concat_arrays([last, pa.array([True])]))
    return table.combine_chunks()
