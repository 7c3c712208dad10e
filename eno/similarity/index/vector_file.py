"""The vectors of an index on disk, and exhaustive search.

Values of unit vectors (-1 … 1) are stored as multiples of 1/32767 in 16 bits. Rounding errors are smaller than in half
precision, and NumPy converts integers to float32 four times as fast.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import faiss
import numpy as np

from eno.errors import SimilarityError
from eno.views import MappedView, RowView, forget

ROWS_AT_ONCE = 8_192
"""Rows held as float32 at a time: 16 MB of 512 values."""

_TYPE = np.dtype("<i2")
_SCALE = 32767


class VectorFile:
    """Memory-mapped unit vectors. Rows after the first `rows` are left over from an interrupted update."""

    def __init__(self, path: Path, rows: int, dim: int) -> None:
        wanted = rows * dim * _TYPE.itemsize
        found = path.stat().st_size if path.is_file() else -1
        if found < wanted:
            state = "is missing" if found < 0 else f"is truncated ({found:,} bytes, expected {wanted:,})"
            raise SimilarityError(f"{path}: {state}. Rebuild the index: eno index build.")
        self.rows, self.dim = rows, dim
        shape = (rows, dim)
        self._values: np.ndarray = np.memmap(path, _TYPE, "r", shape=shape) if rows else np.zeros(shape, _TYPE)

    def read(self, rows: np.ndarray | slice) -> np.ndarray:
        """Read rows [shape=(n, dim), dtype=float32]."""
        return _as_floats(self._values[rows])

    def view(self, rows: np.ndarray) -> RowView:
        """Return a view of rows [shape=(n,)], which reads vectors of them as `read` does when it is indexed."""
        return RowView(MappedView(self._values, _as_floats, self.dim), rows)

    def forget(self) -> None:
        """Take the vectors that were read out of this process's memory; see `eno.views.forget`."""
        forget(self._values)

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Iterate over all rows in blocks: the number of the first row, and the vectors."""
        for first in range(0, self.rows, ROWS_AT_ONCE):
            yield first, self.read(slice(first, first + ROWS_AT_ONCE))

    def nearest(self, queries: np.ndarray, k: int, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Compare queries [shape=(q, dim), dtype=float32] with all rows, or those `allowed` [shape=(rows,)].

        Returns
        -------
        scores : np.ndarray [shape=(q, k), dtype=float32]
            Inner products, highest first; padded with -inf.
        rows : np.ndarray [shape=(q, k), dtype=int64]
            Padded with -1.
        """
        if allowed is None:  # slices are read faster than single rows
            blocks = ((np.arange(first, first + len(block)), block) for first, block in self.blocks())
        else:
            rows = np.flatnonzero(allowed)
            parts = (rows[first : first + ROWS_AT_ONCE] for first in range(0, len(rows), ROWS_AT_ONCE))
            blocks = ((part, self.read(part)) for part in parts)
        return search_blocks(queries, k, blocks)

    def rank(self, query: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Compare a query [shape=(dim,)] with some rows; return the best `k` as in `nearest` [shape=(k,)]."""
        scores = self.read(rows) @ query
        order = np.argsort(-scores, kind="stable")[:k]
        best, found = np.full(k, -np.inf, np.float32), np.full(k, -1, np.int64)
        best[: len(order)], found[: len(order)] = scores[order], rows[order]
        return best, found


def _as_floats(stored: np.ndarray) -> np.ndarray:
    values: np.ndarray = stored.astype(np.float32)
    values *= 1 / _SCALE
    return values


def not_itself(found: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return a mask of neighbours other than the query itself, `k` in each row of `found` [shape=(n, k + 1)].

    If the query is not among its own neighbours, since it has many identical twins, the last one is masked.
    """
    itself: np.ndarray = found == own[:, np.newaxis]
    itself[~itself.any(axis=1), -1] = True
    others: np.ndarray = ~itself
    return others


def search_blocks(
    queries: np.ndarray, k: int, blocks: Iterable[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """Compare queries [shape=(q, dim)] with all vectors of some blocks, which come with their rows.

    Results are those of `VectorFile.nearest`.
    """
    best = faiss.ResultHeap(len(queries), k, keep_max=True)
    for rows, vectors in blocks:
        scores, places = faiss.knn(queries, vectors, min(k, len(vectors)), metric=faiss.METRIC_INNER_PRODUCT)
        best.add_result(scores, rows[places])
    best.finalize()
    best.D[best.I < 0] = -np.inf
    return best.D, best.I


def append_vectors(path: Path, rows: int, dim: int, blocks: Iterable[np.ndarray]) -> int:
    """Append blocks of vectors after the first `rows` rows of a file, and return the new number of rows."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(rows * dim * _TYPE.itemsize)
        file.seek(0, os.SEEK_END)
        for block in blocks:
            file.write(np.rint(np.clip(block, -1, 1) * _SCALE).astype(_TYPE).data)
            rows += len(block)
        file.flush()
        os.fsync(file.fileno())
    return rows
