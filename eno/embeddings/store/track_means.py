"""The mean vector of each track, cached in a memory-mapped file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eno.files import replace_file

Mode = Literal["r", "c"]


def read_means(folder: Path, key: str, mode: Mode) -> tuple[pa.Array, np.ndarray] | None:
    """Return the cached track ids and means, if there are any under this key; `mode` is that of `numpy.memmap`."""
    kept, ids_file = _files(folder, key)
    try:
        return pq.read_table(ids_file)["track_id"].combine_chunks(), np.load(kept, mmap_mode=mode)
    except FileNotFoundError:  # also if another process removes them at this moment
        return None


def compute_means(
    folder: Path, key: str, ids: pa.Array, width: int, fill: Callable[[np.ndarray], None], mode: Mode
) -> tuple[pa.Array, np.ndarray]:
    """Compute the means of tracks and cache them in `folder`, in place of those under other keys.

    `fill` writes the means into an array [shape=(n, width), dtype=float32], and may be called twice. The means are
    mapped from the file; they are in memory if the folder cannot be written to.
    """
    kept, ids_file = _files(folder, key)
    shape = (len(ids), width)
    if len(ids) == 0:
        return ids, np.zeros(shape, np.float32)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replace_file(kept) as temporary:
            mapped = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
            fill(mapped)
            mapped.flush()
            means = np.load(temporary, mmap_mode=mode)  # before others can remove it
        with replace_file(ids_file) as temporary:
            pq.write_table(pa.table({"track_id": ids}), temporary)
    except OSError:  # a read-only store
        means = np.empty(shape, np.float32)
        fill(means)
        return ids, means
    for old in folder.glob("tracks-*"):
        if key not in old.name:
            old.unlink(missing_ok=True)
    return ids, means


def _files(folder: Path, key: str) -> tuple[Path, Path]:
    return folder / f"tracks-{key}.npy", folder / f"tracks-{key}.parquet"


def means_by_row(rows: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average the vectors with the same row number; return the distinct numbers [shape=(m,)] and float32 means."""
    begins = np.flatnonzero(np.diff(rows, prepend=-1))
    if len(np.unique(rows[begins])) < len(begins):  # windows of a track that are not consecutive
        order = np.argsort(rows, kind="stable")
        rows, vectors = rows[order], vectors[order]
        begins = np.flatnonzero(np.diff(rows, prepend=-1))
    values: np.ndarray = vectors.astype(np.float32)
    if len(begins) < len(rows):
        counts = np.diff(begins, append=len(rows))[:, None].astype(np.float32)
        values = np.add.reduceat(values, begins, axis=0) / counts
    return rows[begins], values
