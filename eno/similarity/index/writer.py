"""Write the files of an index from the vectors of a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.files import replace_file
from eno.similarity.index.ann import add_vectors, write_faiss
from eno.similarity.index.index import ROW_SCHEMA, SimilarityIndex
from eno.similarity.index.manifest import Manifest
from eno.similarity.index.row_file import write_rows
from eno.similarity.index.space import Space
from eno.similarity.index.vector_file import ROWS_AT_ONCE, append_vectors
from eno.spec import vector_shape

OnRows = Callable[[int, int], None]
"""Progress callback: called with the number of rows done, and in total."""


class IndexWriter:
    """Adds rows to an index and writes its next generation."""

    def __init__(
        self, folder: Path, manifest: Manifest, space: Space, faiss_index: Any, rows: pa.Table | None = None
    ) -> None:
        self._folder, self._manifest, self._space, self._faiss = folder, manifest, space, faiss_index
        self._rows = [ROW_SCHEMA.empty_table() if rows is None else rows]

    def add(self, store: EmbeddingStore, tracks: pa.Table, on_progress: OnRows | None) -> None:
        """Add tracks of a store, given as rows of `EmbeddingStore.tracks`."""
        total, before = count_rows(tracks, self._manifest.level), self._manifest.rows

        def blocks() -> Iterator[np.ndarray]:
            done = 0
            for rows, starts, raw in _raw_blocks(store, tracks, self._manifest.level):
                self._rows.append(_row_table(tracks.take(pa.array(rows)), starts))
                vectors = self._space.apply(raw)
                add_vectors(self._faiss, vectors, before + done)
                yield vectors
                done += len(rows)
                if on_progress is not None:
                    on_progress(done, total)

        rows = append_vectors(self._folder / self._manifest.vectors, before, self._space.dim, blocks())
        self._manifest = replace(self._manifest, rows=rows)

    def finish(self, *, built: bool = False) -> SimilarityIndex:
        """Write the remaining files except the manifest, and open them."""
        generation = self._manifest.generation
        name = f"rows-{generation}.arrow"
        with replace_file(self._folder / name) as temporary:
            write_rows(pa.concat_tables(self._rows).cast(ROW_SCHEMA), temporary)
        manifest = replace(self._manifest, rows_file=name, finder=f"finder-{generation}.faiss")
        if built:
            manifest = replace(manifest, built_rows=manifest.rows)
        write_faiss(self._faiss, self._folder / manifest.finder)
        return SimilarityIndex.read(self._folder, manifest)


def count_rows(tracks: pa.Table, level: str) -> int:
    """Count the rows that tracks of a store have in an index."""
    return len(tracks) if level == "tracks" else int(pc.sum(tracks["windows"]).as_py() or 0)


def _row_table(tracks: pa.Table, starts_s: np.ndarray) -> pa.Table:
    columns = [tracks["track_id"].cast(pa.string()).dictionary_encode(), pa.array(starts_s)]
    columns += [pa.array(np.ones(len(tracks), bool)), tracks["part"], tracks["samples_hash"]]
    return pa.table(columns, names=ROW_SCHEMA.names).cast(ROW_SCHEMA)


def _raw_blocks(
    store: EmbeddingStore, tracks: pa.Table, level: str
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Iterate over blocks of vectors: positions in `tracks`, start times in seconds, and raw vectors."""
    if level == "tracks":
        view = store.view(tracks["track_id"].to_pylist())
        for first in range(0, len(tracks), ROWS_AT_ONCE):
            rows = np.arange(first, min(first + ROWS_AT_ONCE, len(tracks)))
            yield rows, np.zeros(len(rows)), view[rows]
        return
    shape = vector_shape(store.specs)
    for rows, starts, vectors in store.live_windows(tracks):
        for first in range(0, len(rows), ROWS_AT_ONCE):
            block = slice(first, first + ROWS_AT_ONCE)
            raw = vectors[block].astype(np.float32)
            yield rows[block], starts[block], raw.reshape(len(raw), *shape)


def sample_vectors(
    store: EmbeddingStore, tracks: pa.Table, level: str, total: int, wanted: int, seed: int
) -> np.ndarray:
    """Draw raw vectors uniformly from a store."""
    chosen = np.zeros(total, bool)
    chosen[np.random.default_rng(seed).choice(total, min(wanted, total), replace=False)] = True
    drawn, first = [], 0
    for rows, _, raw in _raw_blocks(store, tracks, level):
        drawn.append(raw[chosen[first : first + len(rows)]])
        first += len(rows)
    return np.concatenate(drawn)
