"""Parts of a store: Parquet files in which every row is a window, with its track and its vector.

Vectors are kept as runs of bytes of one length, not as Parquet lists: pyarrow reads them ten times as fast, and NumPy
takes them without a copy. The column's metadata say what the bytes are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eno.audio.track_decoding import FileStamp
from eno.embeddings.store.folder import Entry, Folder
from eno.errors import StoreError

FOLDER = "parts"
PART_BYTES = 64 * 2**20
"""About so large a part becomes."""
DTYPES = {"float16": np.float16, "float32": np.float32}
FILE_SCHEMA = pa.schema([("size", pa.int64()), ("mtime_ns", pa.int64()), ("audio_hash", pa.string())])
"""Columns that tell which file a track was when it was embedded; null in stores of the first format."""
_REPEATED = ["track_id", *FILE_SCHEMA.names]  # the same in all windows of a track


@dataclass(frozen=True)
class Part:
    """A part that lies in a store.

    Attributes
    ----------
    number : int
        Parts are numbered in the order in which they were written; of a track that is in several, the last counts.
    entry : Entry
        Its file.
    """

    number: int
    entry: Entry


@dataclass(frozen=True, eq=False)
class Windows:
    """Rows of a part.

    Attributes
    ----------
    track_ids : pa.DictionaryArray [shape=(n,)]
        Track of every window.
    starts_s : np.ndarray [shape=(n,), dtype=float64]
        Where it begins, in seconds.
    vectors : np.ndarray [shape=(n, width), dtype=float16 or float32]
        Its vectors, layer after layer.
    """

    track_ids: pa.DictionaryArray
    starts_s: np.ndarray
    vectors: np.ndarray


class Parts:
    """The parts of a store.

    Parameters
    ----------
    folder : Folder
        The store.
    layers, dim : int
        What a window's vectors are.
    dtype : {"float16", "float32"}
        How values are kept.
    """

    def __init__(self, folder: Folder, layers: int, dim: int, dtype: str) -> None:
        self._folder, self._dtype, self._width = folder, np.dtype(DTYPES[dtype]), layers * dim
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
        """List the parts in the order in which they were written."""
        entries = [(PurePosixPath(entry.name), entry) for entry in self._folder.entries(FOLDER)]
        return [Part(int(p.stem), entry) for p, entry in entries if p.suffix == ".parquet" and p.stem.isdecimal()]

    def write(
        self, track_ids: Sequence[str], starts_s: np.ndarray, vectors: np.ndarray, files: Mapping[str, FileStamp]
    ) -> int:
        """Write windows as a new part; how many parts there were before, and what they hold, does not matter.

        Parameters
        ----------
        track_ids : sequence of str
            Track of every window.
        starts_s : np.ndarray [shape=(n,)]
            Where it begins.
        vectors : np.ndarray [shape=(n, width)]
            In the store's dtype.
        files : mapping of str to FileStamp
            The tracks' files; a track may lack.

        Returns
        -------
        int
            The part's number.
        """
        names = pa.array(track_ids, pa.string()).dictionary_encode()
        stamps = [files.get(name) or (None, None, None) for name in names.dictionary.to_pylist()]
        columns = [pa.array([stamp[place] for stamp in stamps], type_) for place, type_ in enumerate(FILE_SCHEMA.types)]
        repeated = [column.take(names.indices) for column in columns]
        rows = [names.cast(pa.string()), pa.array(starts_s, pa.float64()), self._binary(vectors), *repeated]
        return self.write_table(pa.table(rows, schema=self._schema))

    def write_table(self, table: pa.Table) -> int:
        """Write rows that `read_whole` gave as a new part; its number."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True, use_dictionary=_REPEATED)
        parts = self.all()
        number = parts[-1].number + 1 if parts else 0
        self._folder.write(f"{FOLDER}/{number:06d}.parquet", sink.getvalue())
        return number

    def read(self, part: Part) -> Windows:
        """Read all rows of a part.

        Raises
        ------
        StoreError
            It is damaged.
        """
        table = self._read(part, ["track_id", "start_s", "vector"])
        track_ids = table["track_id"].unify_dictionaries().combine_chunks()
        return Windows(track_ids, table["start_s"].to_numpy(), self.vectors_of(table))

    def vectors_of(self, table: pa.Table) -> np.ndarray:
        """Vectors of rows [shape=(n, width)], without a copy where they lie in one piece."""
        column = table["vector"].combine_chunks() if table["vector"].num_chunks != 1 else table["vector"].chunk(0)
        if not pa.types.is_fixed_size_binary(column.type):  # the first format
            listed: np.ndarray = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), self._width)
            return listed
        values = np.frombuffer(column.buffers()[1] or b"", self._dtype.newbyteorder("<"))
        begin = column.offset * self._width
        rows: np.ndarray = values[begin : begin + len(column) * self._width].reshape(len(column), self._width)
        return rows

    def tracks(self, part: Part) -> pa.Table:
        """One row a track: ``track_id``, ``part``, ``windows`` and the columns of `FILE_SCHEMA`.

        Raises
        ------
        StoreError
            The part is damaged.
        """
        table = self._read(part, _REPEATED)
        indices = table["track_id"].unify_dictionaries().combine_chunks().indices.to_numpy()
        names, first, counts = np.unique(indices, return_index=True, return_counts=True)
        rows = table.take(pa.array(first))
        columns = [rows["track_id"].cast(pa.string()), pa.array(np.full(len(names), part.number, np.int32)), counts]
        return pa.table([*columns, *(rows[name] for name in FILE_SCHEMA.names)], schema=TRACK_SCHEMA)

    def read_whole(self, part: Part) -> pa.Table:
        """Read all rows and columns of a part, as `write_table` takes them.

        Raises
        ------
        StoreError
            It is damaged.
        """
        table = self._read(part, self._schema.names)
        vectors = self._binary(self.vectors_of(table))
        table = table.set_column(table.schema.get_field_index("vector"), "vector", vectors)
        return table.select(self._schema.names).cast(self._schema)

    def _binary(self, vectors: np.ndarray) -> pa.Array:
        values = pa.py_buffer(np.ascontiguousarray(vectors, self._dtype.newbyteorder("<")))
        return pa.FixedSizeBinaryArray.from_buffers(self._schema.field("vector").type, len(vectors), [None, values])

    def _read(self, part: Part, columns: list[str]) -> pa.Table:
        """Read columns of a part; what the first format lacks is null."""
        try:
            with (
                self._folder.open(part.entry.name) as source,
                pq.ParquetFile(source, read_dictionary=["track_id"], page_checksum_verification=True) as file,
            ):
                table = file.read([name for name in columns if name in file.schema_arrow.names])
        except (OSError, pa.ArrowException) as error:
            raise StoreError(
                f"{self._folder}/{part.entry.name}: is damaged ({error}). Remove it and run 'eno embed' again."
            ) from error
        for name in FILE_SCHEMA.names:
            if name in columns and name not in table.schema.names:
                table = table.append_column(name, pa.nulls(len(table), FILE_SCHEMA.field(name).type))
        return table


TRACK_SCHEMA = pa.schema([("track_id", pa.string()), ("part", pa.int32()), ("windows", pa.int64()), *FILE_SCHEMA])


def latest(tables: Sequence[pa.Table]) -> pa.Table:
    """Of tracks that are in several parts the last one, all sorted by their ids."""
    table = pa.concat_tables(tables) if tables else TRACK_SCHEMA.empty_table()
    order = pc.sort_indices(table, [("track_id", "ascending"), ("part", "ascending")])
    table = table.take(order)
    names = table["track_id"].combine_chunks()
    if len(table) > 1:
        last = pc.not_equal(names.slice(0, len(names) - 1), names.slice(1))
        if not pc.all(last).as_py():
            table = table.filter(pa.concat_arrays([last, pa.array([True])]))
    return table.combine_chunks()
