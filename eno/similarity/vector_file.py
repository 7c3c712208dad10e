"""The vectors of an index on disk: one file of float16 that only grows, mapped and compared where it lies."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import faiss
import numpy as np

from eno.errors import SimilarityError

ROWS_AT_ONCE = 8_192
"""Rows that are held as float32 at a time: 16 MB of 512 values."""

_FEW_QUERIES = 16  # so many are compared faster row by row than by matrix products of rows that must be widened first
_TYPE = np.dtype("<f2")


class VectorFile:
    """Rows of float16, mapped into memory.

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
        # FAISS compares float16 where it lies: a flat index whose codes are the mapped file.
        self.flat = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        self.flat.is_trained = True
        start = faiss.cast_integer_to_void_ptr(self._values.ctypes.data)
        self.flat.codes = faiss.MaybeOwnedVectorUInt8.create_view(start, wanted, self.flat.codes.owner)
        self.flat.ntotal = rows

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Read rows [shape=(n, dim), dtype=float32]."""
        if len(rows) == 0:
            return np.zeros((0, self.dim), np.float32)
        read: np.ndarray = self.flat.reconstruct_batch(np.ascontiguousarray(rows, np.int64))
        return read

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Go through all rows in their order: number of the first one, and float32 rows."""
        for first in range(0, self.rows, ROWS_AT_ONCE):
            yield first, self.read(np.arange(first, min(first + ROWS_AT_ONCE, self.rows)))

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
        if len(queries) < _FEW_QUERIES:
            parameters = None if allowed is None else faiss.SearchParameters(sel=selector(allowed))
            with few_threads(len(queries)):
                scores, rows = self.flat.search(queries, k, params=parameters)
            scores[rows < 0] = -np.inf
            return scores, rows
        best = faiss.ResultHeap(len(queries), k, keep_max=True)
        for first, block in self.blocks():
            here = np.arange(first, first + len(block))
            if allowed is not None:
                here = here[allowed[here]]
                block = block[here - first]
            if len(here):
                scores, places = faiss.knn(queries, block, min(k, len(here)), metric=faiss.METRIC_INNER_PRODUCT)
                best.add_result(scores, here[places])
        best.finalize()
        best.D[best.I < 0] = -np.inf
        return best.D, best.I


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
            file.write(np.ascontiguousarray(block, _TYPE).data)
            rows += len(block)
        file.flush()
        os.fsync(file.fileno())
    return rows


def selector(allowed: np.ndarray) -> faiss.IDSelectorBitmap:
    """Make of a mask over rows what FAISS asks whether a row may be found."""
    return faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))


@contextmanager
def few_threads(queries: int) -> Iterator[None]:
    """Let FAISS take no more threads than there are queries: the others would only be waited for.

    The number is one of the calling thread, so searches beside each other do not disturb each other.
    """
    usual = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(min(queries, usual))
    try:
        yield
    finally:
        faiss.omp_set_num_threads(usual)
