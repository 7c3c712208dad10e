"""Cleaning and deduplication of imported albums, and writing of the albums table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eno.data.lute.albums import ALBUM_SCHEMA, LABEL_COLUMNS
from eno.data.lute.records import AlbumBatch, Malformed
from eno.data.names import clean_label, label_key
from eno.files import replace_file

_FAMILIES = {"primary_genres": "genre", "secondary_genres": "genre", "descriptors": "descriptor"}
_ROW_GROUP = 16_384


class AlbumWriter:
    """Collects albums, then writes the albums table; records without a ``file_name`` are passed to `reject`.

    The most frequent spellings of genres and the duplicates of albums are only known at the end. Until then the albums
    are in a temporary file, so that memory use does not grow with their number. The counts are explained in
    `eno.data.lute.importing.ImportReport`; they are final after `write`.
    """

    def __init__(self, destination: Path, reject: Callable[[Malformed], None]) -> None:
        self._destination, self._reject = destination, reject
        self._path = destination.with_name(f".{destination.name}.spool")
        self._seen: set[str] = set()
        self._original_of: dict[str, str] = {}
        self._spellings: dict[str, Counter[str]] = {"genre": Counter(), "descriptor": Counter()}
        self.unreadable: list[str] = []
        self.albums = self.repeated = self.duplicates = self.merged_spellings = 0

    def __enter__(self) -> AlbumWriter:
        self._writer = pa.ipc.new_file(self._path, ALBUM_SCHEMA)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        self._path.unlink(missing_ok=True)

    def add(self, batch: AlbumBatch) -> None:
        """Add albums."""
        names = batch.table["file_name"].to_pylist()
        new: list[bool] = []
        for row, name in enumerate(names):
            if not name or name.isspace():
                self._reject(Malformed(batch.place(row), "lacks file_name"))
                new.append(False)
                continue
            new.append(name not in self._seen)
            self.repeated += name in self._seen
            self._seen.add(name)
        table = batch.table if all(new) else batch.table.filter(pa.array(new, pa.bool_()))
        marked = table.filter(pc.is_valid(table["duplicate_of"])).select(["file_name", "duplicate_of"])
        self._original_of.update(zip(*(column.to_pylist() for column in marked.columns), strict=True))
        for column, family in _FAMILIES.items():
            for item in pc.value_counts(pc.list_flatten(table[column])).to_pylist():
                self._spellings[family][item["values"]] += item["counts"]
        self._writer.write_table(table)
        self.albums += len(table)
        self.unreadable += batch.unreadable

    def write(self) -> None:
        """Write the table."""
        self._writer.close()
        spelled_in = {family: self._choose_spellings(counts) for family, counts in self._spellings.items()}
        spelled = {column: spelled_in[family] for column, family in _FAMILIES.items()}
        copies = self._copies()
        copies_of = defaultdict(list)
        for name, original in copies.items():
            copies_of[original].append(name)
        with (
            replace_file(self._destination) as temporary,
            pa.memory_map(str(self._path)) as source,
            pq.ParquetWriter(temporary, ALBUM_SCHEMA, compression="zstd") as writer,
        ):
            reader = pa.ipc.open_file(source)
            for index in range(reader.num_record_batches):
                table = _merge_copies(pa.Table.from_batches([reader.get_batch(index)]), copies, copies_of)
                for column in LABEL_COLUMNS:
                    table = _replace(table, column, _respell(table[column].combine_chunks(), spelled[column]))
                # Protocol buffers and the database have no null: they store 0 for an album without ratings.
                known = pc.and_(pc.greater(table["rating"], 0), pc.is_finite(table["rating"]))
                rated = pc.if_else(known, table["rating"], pa.scalar(None, pa.float32()))
                writer.write_table(_replace(table, "rating", rated), row_group_size=_ROW_GROUP)
        self.albums -= len(copies)
        self.duplicates = len(copies)

    def _choose_spellings(self, counts: Counter[str]) -> dict[str, str]:
        """Map every spelling to the most frequent equivalent one; of equally frequent ones, the first read."""
        cleaned: Counter[str] = Counter()
        for spelling, count in counts.items():
            if spelling is not None:
                cleaned[clean_label(spelling)] += count
        del cleaned[""]
        shown: dict[str, str] = {}
        for spelling, _ in cleaned.most_common():
            shown.setdefault(label_key(spelling), spelling)
        self.merged_spellings += len(cleaned) - len(shown)
        return {name: shown[label_key(name)] for name in counts if name is not None and clean_label(name)}

    def _copies(self) -> dict[str, str]:
        """Map every duplicate to the album that is kept instead."""
        copies = {}
        for name in self._original_of:
            chain = [name]
            while (original := self._original_of.get(chain[-1])) in self._seen and original not in chain:
                chain.append(original)
            # If albums are marked as duplicates of each other, the first by name is kept.
            last = min(chain[chain.index(original) :]) if original in chain else chain[-1]
            if last != name:
                copies[name] = last
        return copies


def _merge_copies(table: pa.Table, copies: dict[str, str], copies_of: dict[str, list[str]]) -> pa.Table:
    """Remove the copies, and list them in the ``duplicates`` of the albums that are kept."""
    table = table.filter(pc.invert(pc.is_in(table["file_name"], value_set=pa.array(list(copies), pa.string()))))
    names = table["file_name"].to_pylist()
    if copies_of.keys().isdisjoint(names):
        return table
    listed = zip(names, table["duplicates"].to_pylist(), strict=True)
    return _replace(
        table, "duplicates", [list(dict.fromkeys([*(known or ()), *copies_of.get(name, ())])) for name, known in listed]
    )


def _replace(table: pa.Table, column: str, values: Any) -> pa.Table:
    field = ALBUM_SCHEMA.field(column)
    values = pa.array(values, field.type) if isinstance(values, list) else values
    return table.set_column(table.column_names.index(column), field, values)


def _respell(lists: pa.ListArray, spelled: dict[str, str]) -> pa.ListArray:
    """Replace every item; items without a replacement and repeated items are dropped."""
    encoded = pc.list_flatten(lists).dictionary_encode()
    new = sorted({spelled[old] for old in encoded.dictionary.to_pylist() if old in spelled})
    code_of = {name: code for code, name in enumerate(new)}
    codes = np.array([code_of.get(spelled.get(old, ""), -1) for old in encoded.dictionary.to_pylist()] + [-1])
    values = codes[encoded.indices.fill_null(len(codes) - 1).to_numpy()]
    rows = pc.list_parent_indices(lists).to_numpy()
    first = np.zeros(len(values), bool)
    first[np.unique(rows.astype(np.int64) * (len(new) + 1) + values, return_index=True)[1]] = True
    kept = first & (values >= 0)
    ends = np.concatenate([[0], np.cumsum(np.bincount(rows[kept], minlength=len(lists)))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(new, pa.string()).take(pa.array(values[kept])))
