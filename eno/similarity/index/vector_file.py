"""The vectors of an index on disk, and exhaustive search.

Values of unit vectors (-1 … 1) are stored as multiples of 1/32767 in 16 bits. Rounding errors are smaller than in half
precision, and NumPy converts integers to float32 four times as fast.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import faiss
import numpy as np

from eno.errors import SimilarityError
from eno.views import MappedView

ROWS_AT_ONCE = 8_192
"""Rows held as float32 at a time: 16 MB of 512 values."""

_MANY_VECTORS = 20_000
_POINTS_PER_LIST = 40  # of the sample that lists are trained on
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
        values: np.ndarray = self._values[rows].astype(np.float32)
        values *= 1 / _SCALE
        return values

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
        return _search(queries, k, blocks)

    def rank(self, query: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Compare a query [shape=(dim,)] with some rows; return the best `k` as in `nearest` [shape=(k,)]."""
        scores = self.read(rows) @ query
        order = np.argsort(-scores, kind="stable")[:k]
        best, found = np.full(k, -np.inf, np.float32), np.full(k, -1, np.int64)
        best[: len(order)], found[: len(order)] = scores[order], rows[order]
        return best, found


def nearest_others(
    vectors: np.ndarray | MappedView, k: int, *, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[np.ndarray, np.ndarray]:
    """Find the `k` nearest neighbours of every unit vector [shape=(n, dim)] among the others.

    Of more than 20,000 vectors about 99 % of the true neighbours are found, by inverted lists of half-precision
    vectors; a view is then read in blocks.

    Returns
    -------
    cosines : np.ndarray [shape=(n, min(k, n - 1)), dtype=float32]
        Highest first. In half precision they have an error of less than 0.0005.
    rows : np.ndarray [same shape, dtype=int32]
    """
    own = np.arange(len(vectors))
    k = max(0, min(k, len(vectors) - 1))
    cosines, rows = np.empty((len(vectors), k), np.float32), np.empty((len(vectors), k), np.int32)
    if k == 0:
        return cosines, rows
    if len(vectors) > _MANY_VECTORS:
        lists = _inverted_lists(vectors)
        search = partial(lists.search, k=k + 1)
    else:
        vectors = np.ascontiguousarray(vectors, np.float32)
        search = partial(_search, k=k + 1, blocks=[(own, vectors)])
    for first in range(0, len(vectors), ROWS_AT_ONCE):
        block = slice(first, first + ROWS_AT_ONCE)
        found_cosines, found_rows = search(np.ascontiguousarray(vectors[block], np.float32))
        others = not_itself(found_rows, own[block])
        cosines[block], rows[block] = found_cosines[others].reshape(-1, k), found_rows[others].reshape(-1, k)
        on_progress(min(first + ROWS_AT_ONCE, len(vectors)), len(vectors))
    return cosines, rows


def _inverted_lists(vectors: np.ndarray | MappedView) -> faiss.IndexIVFScalarQuantizer:
    rows, dim = vectors.shape
    count = int(4 * rows**0.5)
    half, metric = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    centres = faiss.IndexFlatIP(dim)
    lists = faiss.IndexIVFScalarQuantizer(centres, dim, count, half, metric, False)
    lists.cp.seed, lists.cp.niter, lists.cp.max_points_per_centroid = 0, 8, _POINTS_PER_LIST
    drawn = np.random.default_rng(0).choice(rows, min(rows, count * _POINTS_PER_LIST), replace=False)
    lists.train(np.ascontiguousarray(vectors[np.sort(drawn)], np.float32))
    for first in range(0, rows, ROWS_AT_ONCE):
        lists.add(np.ascontiguousarray(vectors[first : first + ROWS_AT_ONCE], np.float32))
    lists.nprobe = max(16, count // 64)
    return lists


def not_itself(found: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return a mask of neighbours other than the query itself, `k` in each row of `found` [shape=(n, k + 1)].

    If the query is not among its own neighbours, since it has many identical twins, the last one is masked.
    """
    itself: np.ndarray = found == own[:, np.newaxis]
    itself[~itself.any(axis=1), -1] = True
    others: np.ndarray = ~itself
    return others


def _search(
    queries: np.ndarray, k: int, blocks: Iterable[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
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
