"""Rows of a store → the files of an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.similarity.index.engine import Engine, add_rows
from eno.similarity.index.index import ROW_SCHEMA, SimilarityIndex, write_rows
from eno.similarity.index.manifest import Manifest
from eno.similarity.index.space import Space
from eno.similarity.index.vector_file import ROWS_AT_ONCE, append_vectors

Progress = Callable[[int, int], None]
"""Called with the rows that are done and to do."""


class IndexWriter:
    """Adds rows to an index, and writes it as its next generation."""

    def __init__(
        self, folder: Path, manifest: Manifest, space: Space, finder: Any, rows: pa.Table | None = None
    ) -> None:
        self._folder, self._manifest, self._space, self._finder = folder, manifest, space, finder
        self._rows = [ROW_SCHEMA.empty_table() if rows is None else rows]
        self._held = manifest.rows

    def add(self, store: EmbeddingStore, tracks: pa.Table, on_progress: Progress | None) -> None:
        """Add tracks of a store."""
        total, show = rows_of(tracks, self._manifest.level), on_progress or (lambda done, total: None)

        def blocks() -> Iterator[np.ndarray]:
            done = 0
            for rows, starts, raw in _raw_blocks(store, tracks, self._manifest.level):
                taken = tracks.take(pa.array(rows))
                self._rows.append(_row_table(taken, starts))
                yield self._add(self._space.apply(raw))
                done += len(rows)
                show(done, total)

        self._append(blocks())

    def take(self, shard: SimilarityIndex) -> None:
        """Take over all live rows of another index."""

        def blocks() -> Iterator[np.ndarray]:
            for first, vectors in shard.blocks():
                live = shard.live[first : first + len(vectors)]
                yield self._add(vectors[live])

        self._append(blocks())
        self._rows.append(shard.table.filter(pa.array(shard.live)))

    def _add(self, vectors: np.ndarray) -> np.ndarray:
        add_rows(self._finder, vectors, self._held)
        self._held += len(vectors)
        return vectors

    def _append(self, blocks: Iterator[np.ndarray]) -> None:
        path, rows = self._folder / self._manifest.vectors, self._manifest.rows
        rows = append_vectors(path, rows, self._space.dim, blocks)
        self._manifest = replace(self._manifest, rows=rows)

    def finish(self, *, built: bool = False) -> SimilarityIndex:
        """Write what is not on disk yet, the manifest last."""
        generation = self._manifest.generation
        name = f"rows-{generation}.parquet"
        write_rows(self._folder / name, pa.concat_tables(self._rows))
        manifest = replace(self._manifest, rows_file=name, finder=f"finder-{generation}.faiss")
        if built:
            manifest = replace(manifest, built_rows=manifest.rows)
        Engine.save_finder(self._finder, self._folder / manifest.finder)
        manifest.write(self._folder)
        return SimilarityIndex.open(self._folder)


def rows_of(tracks: pa.Table, level: str) -> int:
    """Count the rows that tracks of a store give."""
    return len(tracks) if level == "tracks" else int(pc.sum(tracks["windows"]).as_py() or 0)


def _row_table(tracks: pa.Table, starts_s: np.ndarray) -> pa.Table:
    columns = [tracks["track_id"].cast(pa.string()).dictionary_encode(), pa.array(starts_s)]
    columns += [pa.array(np.ones(len(tracks), bool)), tracks["part"], tracks["audio_hash"]]
    return pa.table(columns, names=ROW_SCHEMA.names).cast(ROW_SCHEMA)


def _raw_blocks(
    store: EmbeddingStore, tracks: pa.Table, level: str
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows in `tracks`, start in seconds, and the encoder's vector, of some tracks or windows at a time."""
    if level == "tracks":
        view = store.view(tracks["track_id"].to_pylist())
        for first in range(0, len(tracks), ROWS_AT_ONCE):
            rows = np.arange(first, min(first + ROWS_AT_ONCE, len(tracks)))
            yield rows, np.zeros(len(rows)), view[rows]
        return
    shape = (store.spec.dim,) if len(store.spec.layers) == 1 else (len(store.spec.layers), store.spec.dim)
    for rows, starts, vectors in store.live_windows(tracks):
        for first in range(0, len(rows), ROWS_AT_ONCE):
            some = slice(first, first + ROWS_AT_ONCE)
            raw = vectors[some].astype(np.float32)
            yield rows[some], starts[some], raw.reshape(len(raw), *shape)


def sample_vectors(
    store: EmbeddingStore, tracks: pa.Table, level: str, total: int, wanted: int, seed: int
) -> np.ndarray:
    """Draw raw vectors evenly from all of a store."""
    chosen = np.zeros(total, bool)
    chosen[np.random.default_rng(seed).choice(total, min(wanted, total), replace=False)] = True
    drawn, first = [], 0
    for rows, _, raw in _raw_blocks(store, tracks, level):
        drawn.append(raw[chosen[first : first + len(rows)]])
        first += len(rows)
    return np.concatenate(drawn)
