"""The vectors of an index on disk: one file of 16-bit numbers that only grows, mapped into memory.

Values of unit vectors lie in -1 … 1, so they are kept as multiples of 1/32767: that rounds less than half precision
does, and NumPy widens integers four times as fast.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import faiss
import numpy as np

from eno.errors import SimilarityError

ROWS_AT_ONCE = 8_192
"""Rows that are held as float32 at a time: 16 MB of 512 values."""

_TYPE = np.dtype("<i2")
_SCALE = 32767


class VectorFile:
    """Unit vectors, mapped into memory.

    Parameters
    ----------
    path : Path
        The file.
    rows : int
        Rows that count; what follows them was left by an update that did not finish.
    dim : int
        Values of a row.

    Raises
    ------
    SimilarityError
        The file is missing or too short.
    """

    def __init__(self, path: Path, rows: int, dim: int) -> None:
        wanted = rows * dim * _TYPE.itemsize
        found = path.stat().st_size if path.is_file() else -1
        if found < wanted:
            state = "is missing" if found < 0 else f"is cut short ({found:,} bytes, expected {wanted:,})"
            raise SimilarityError(f"{path}: {state}. Build the index again: eno index build.")
        self.rows, self.dim = rows, dim
        shape = (rows, dim)
        self._values: np.ndarray = np.memmap(path, _TYPE, "r", shape=shape) if rows else np.zeros(shape, _TYPE)

    def read(self, rows: np.ndarray | slice) -> np.ndarray:
        """Read rows [shape=(n, dim), dtype=float32]."""
        values: np.ndarray = self._values[rows].astype(np.float32)
        values *= 1 / _SCALE
        return values

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Go through all rows in their order: number of the first one, and float32 rows."""
        for first in range(0, self.rows, ROWS_AT_ONCE):
            yield first, self.read(slice(first, first + ROWS_AT_ONCE))

    def nearest(self, queries: np.ndarray, k: int, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Compare queries with all rows, or all that are allowed.

        Parameters
        ----------
        queries : np.ndarray [shape=(q, dim), dtype=float32]
        k : int
            Rows that are wanted of each.
        allowed : np.ndarray [shape=(rows,), dtype=bool] or None
            Which rows may be found.

        Returns
        -------
        scores : np.ndarray [shape=(q, k), dtype=float32]
            Inner products, the highest first; -inf where there are fewer rows.
        rows : np.ndarray [shape=(q, k), dtype=int64]
            -1 where there are fewer.
        """
        best = faiss.ResultHeap(len(queries), k, keep_max=True)
        rows = np.arange(self.rows) if allowed is None else np.flatnonzero(allowed)
        for first in range(0, len(rows), ROWS_AT_ONCE):
            here = rows[first : first + ROWS_AT_ONCE]
            # Of all rows a slice, which is read without picking them one by one.
            block = self.read(slice(here[0], here[-1] + 1) if allowed is None else here)
            scores, places = faiss.knn(queries, block, min(k, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
            best.add_result(scores, here[places])
        best.finalize()
        best.D[best.I < 0] = -np.inf
        return best.D, best.I

    def rank(self, query: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Compare a query [shape=(dim,)] with some rows: scores and rows of the best `k`, filled up as in `nearest`."""
        scores = self.read(rows) @ query
        order = np.argsort(-scores, kind="stable")[:k]
        best, found = np.full(k, -np.inf, np.float32), np.full(k, -1, np.int64)
        best[: len(order)], found[: len(order)] = scores[order], rows[order]
        return best, found


def append_vectors(path: Path, rows: int, dim: int, blocks: Iterable[np.ndarray]) -> int:
    """Write rows behind the first `rows` of a file, and sync it.

    Parameters
    ----------
    path : Path
        The file, which is made if there is none.
    rows, dim : int
        Rows that are to stay; values of a row.
    blocks : iterable of np.ndarray [shape=(n, dim)]
        New rows.

    Returns
    -------
    int
        Rows that the file holds now.
    """
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(rows * dim * _TYPE.itemsize)
        file.seek(0, os.SEEK_END)
        for block in blocks:
            file.write(np.rint(np.clip(block, -1, 1) * _SCALE).astype(_TYPE).data)
            rows += len(block)
        file.flush()
        os.fsync(file.fileno())
    return rows
