"""One vector a track, computed once and kept as a memory-mapped file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eno.files import cache_folder, replace_file

if TYPE_CHECKING:
    from eno.embeddings.store.embedding_store import EmbeddingStore

_FOLDER = "cache"


def pooled_tracks(store: EmbeddingStore) -> tuple[pa.Array, np.ndarray]:
    """Mean vector of every track of a store.

    Parameters
    ----------
    store : EmbeddingStore
        The store. The result is kept in its ``cache/``, or in eno's own where the store lies on no disk of this
        machine, until its parts, its amendments or its fingerprint change.

    Returns
    -------
    ids : pa.Array
        Sorted.
    means : np.ndarray [shape=(n, layers * dim), dtype=float32]
        Mapped from the file, copy on write; in memory where it cannot be kept.
    """
    folder = _cache(store)
    key = state_key(store)
    kept, names_file = folder / f"tracks-{key}.npy", folder / f"tracks-{key}.parquet"
    if kept.is_file() and names_file.is_file():
        return pq.read_table(names_file)["track_id"].combine_chunks(), np.load(kept, mmap_mode="c")
    tracks = store.tracks()
    names = tracks["track_id"].combine_chunks()
    shape = (len(names), len(store.spec.layers) * store.spec.dim)
    if len(names) == 0:
        return names, np.zeros(shape, np.float32)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replace_file(kept) as temporary:
            mapped = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
            _fill(mapped, store, tracks)
            mapped.flush()
        with replace_file(names_file) as temporary:
            pq.write_table(pa.table({"track_id": names}), temporary)
    except OSError:  # a store that may only be read
        means = np.empty(shape, np.float32)
        _fill(means, store, tracks)
        return names, means
    for old in folder.glob("tracks-*"):
        if key not in old.name:
            old.unlink(missing_ok=True)
    return names, np.load(kept, mmap_mode="c")


def _fill(means: np.ndarray, store: EmbeddingStore, tracks: pa.Table) -> None:
    """Average the windows of every track; only one part is in memory at a time, and a track is whole in one."""
    for rows, _, vectors in store.live_windows(tracks):
        begins = np.flatnonzero(np.diff(rows, prepend=-1))
        if len(np.unique(rows[begins])) < len(begins):  # windows of a track that are not one after the other
            order = np.argsort(rows, kind="stable")
            rows, vectors = rows[order], vectors[order]
            begins = np.flatnonzero(np.diff(rows, prepend=-1))
        counts = np.diff(begins, append=len(rows))[:, None].astype(np.float32)
        values: np.ndarray = vectors.astype(np.float32)
        if len(begins) < len(rows):
            values = np.add.reduceat(values, begins, axis=0) / counts
        means[rows[begins]] = store.spec.renormalise(values)


def _cache(store: EmbeddingStore) -> Path:
    if store.folder.local is not None:
        return store.folder.local / _FOLDER
    place = hashlib.sha256(str(store.path).encode()).hexdigest()[:16]
    return cache_folder() / "stores" / place


def state_key(store: EmbeddingStore) -> str:
    """Sixteen hexadecimal digits that change when a store's encoder, parts or amendments do; nothing large is read."""
    entries = [part.entry for part in store.parts()]
    amended = hashlib.sha256(store.ledger.amendments_bytes()).hexdigest()
    listed = [[entry.name, entry.size, entry.mtime_ns] for entry in entries]
    deciding = [store.spec.fingerprint, store.spec.normalized, amended, listed]
    return hashlib.sha256(json.dumps(deciding).encode()).hexdigest()[:16]
