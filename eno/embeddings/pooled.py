"""One vector a track, computed once and kept beside the parts as a memory-mapped file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eno.files import replace_file

_FOLDER = "cache"
_DIVIDED_AT_ONCE = 100_000  # tracks


def pooled_tracks(
    folder: Path, fingerprint: str, parts: Sequence[Path], width: int, read: Callable[[Path, list[str]], pa.Table]
) -> tuple[list[str], np.ndarray]:
    """Mean vector of every track of a store.

    Parameters
    ----------
    folder : Path
        The store; the result is kept in its ``cache/``, until its parts or its fingerprint change.
    fingerprint : str
        Of the store's encoder.
    parts : sequence of Path
        Parquet files with ``track_id`` and ``vector``.
    width : int
        Values of a vector.
    read : callable
        Reads columns of a part.

    Returns
    -------
    ids : list of str
        Sorted.
    means : np.ndarray [shape=(n, width), dtype=float32]
        Mapped from the file, copy on write; in memory where the store cannot be written to.
    """
    key = _key(fingerprint, parts)
    kept, names_file = folder / _FOLDER / f"tracks-{key}.npy", folder / _FOLDER / f"tracks-{key}.parquet"
    if kept.is_file() and names_file.is_file():
        return pq.read_table(names_file)["track_id"].to_pylist(), np.load(kept, mmap_mode="c")
    names = sorted({name for part in parts for name in read(part, ["track_id"])["track_id"].unique().to_pylist()})
    if not names:
        return [], np.zeros((0, width), np.float32)
    try:
        kept.parent.mkdir(exist_ok=True)
        with replace_file(kept) as temporary:
            mapped = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=(len(names), width))
            _fill(mapped, names, parts, read)
            mapped.flush()
        with replace_file(names_file) as temporary:
            pq.write_table(pa.table({"track_id": pa.array(names, pa.string())}), temporary)
    except OSError:  # a store that may only be read
        means = np.zeros((len(names), width), np.float32)
        _fill(means, names, parts, read)
        return names, means
    for old in kept.parent.glob("tracks-*"):
        if key not in old.name:
            old.unlink(missing_ok=True)
    return names, np.load(kept, mmap_mode="c")


def _fill(
    means: np.ndarray, names: list[str], parts: Sequence[Path], read: Callable[[Path, list[str]], pa.Table]
) -> None:
    """Add up the windows of every track part by part, then divide; only one part is in memory at a time."""
    places = pa.array(names, pa.string())
    counts = np.zeros(len(names), np.int64)
    for part in parts:
        table = read(part, ["track_id", "vector"])
        rows = pa.compute.index_in(table["track_id"], value_set=places).to_numpy()
        order = np.argsort(rows, kind="stable")
        tracks, first = np.unique(rows[order], return_index=True)
        vectors = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        values = vectors.reshape(len(rows), -1)[order].astype(np.float32)
        means[tracks] += np.add.reduceat(values, first, axis=0)
        counts[tracks] += np.diff(np.append(first, len(rows)))
    for begin in range(0, len(names), _DIVIDED_AT_ONCE):
        some = slice(begin, begin + _DIVIDED_AT_ONCE)
        means[some] /= counts[some, None].astype(np.float32)


def _key(fingerprint: str, parts: Sequence[Path]) -> str:
    stats = [(part.name, os.stat(part)) for part in parts]
    listed = [fingerprint, *((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]
