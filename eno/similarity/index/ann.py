"""Approximate nearest-neighbour search: FAISS proposes candidates, and the vectors on disk re-rank them exactly.

========  =====================================================  =========================
kind      held in memory                                         search
========  =====================================================  =========================
exact     16 bits per value                                      all vectors
ivf       8 bits per value, inverted lists mapped from disk      nearly exact, fast
ivfpq     4 bits for four values, in inverted lists              the same in little memory
========  =====================================================  =========================

Because candidates are re-ranked exactly, quantisation affects which vectors are considered, but not scores or order.
Every vector is stored in two inverted lists: the nearest one, and one whose residual points in another direction, so
that a query which misses the first finds it in the second.

References
----------
FAISS: M. Douze et al., "The Faiss library", 2024, https://arxiv.org/abs/2401.08281. Two lists: P. Sun et al., "SOAR:
Improved indexing for approximate nearest neighbor search", NeurIPS 2023, https://arxiv.org/abs/2404.00774. Codes
compared in registers: F. André et al., "Quicker ADC", 2019, https://arxiv.org/abs/1812.09162.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from eno.errors import SimilarityError
from eno.files import replace_file
from eno.similarity.index.vector_file import VectorFile

KINDS = ("exact", "ivf", "ivfpq")
EXACT_ROWS = 100_000
"""Up to this many vectors, search is exhaustive: 9 ms per query at 512 values, with perfect recall."""

_MANY_QUERIES = 16  # from this batch size on, a matrix product over all vectors is faster
_SUBSET_ROWS = 20_000  # up to this many allowed rows are compared exhaustively
_POINTS_PER_LIST = 40  # training vectors per k-means centre; FAISS asks for at least 39
_ITERATIONS = 8
_MANY_LISTS = 16_384  # from this many lists on, an HNSW graph finds the nearest ones
_VALUES_PER_CODE, _CODEWORDS = 4, 16
_ASSIGNED = 2  # lists per vector
LISTS_TRIED = 32
"""The nearest lists of a vector, among which its second one is chosen."""

_SOAR_WEIGHT = 1.0
_FEW_LISTS = 4_096  # up to this many lists, the inner products of all centres are kept: 67 MB
_ASSIGNED_AT_ONCE = 1_024
_CANDIDATES = 200  # minimum number re-ranked per query
_EXTRA = 10  # candidates beyond k, since half precision may swap vectors that are equally near
_WIDENED, _SETTLED, _COMPARED = 4, 0.99, 10  # deep enough if four times the lists change 1 % of ten results or more
_MAX_PROBED = 1 / 4  # probing a larger fraction of the lists is no faster than exhaustive search


def choose_kind(rows: int, dim: int, memory_mb: float | None) -> str:
    """Choose the kind of index. Without a memory limit (in 10⁶ bytes) it is the smallest, which is also the fastest."""
    if rows <= EXACT_ROWS:
        return "exact"
    return "ivf" if memory_mb is not None and estimate_memory_mb("ivf", rows, dim) <= memory_mb else "ivfpq"


def estimate_memory_mb(kind: str, rows: int, dim: int) -> float:
    """Estimate the memory of an index in 10⁶ bytes."""
    if kind == "exact":
        return rows * dim * 2 / 1e6
    code = dim if kind == "ivf" else _codes(dim) / 2
    return (_ASSIGNED * rows * (code + 8) + _list_count(rows) * dim * 4) / 1e6


class AnnIndex:
    """A FAISS index that proposes candidates, and the vectors on disk that re-rank them.

    Codes are packed for faster search, in a copy that the first search makes, unless the index is `growing`: unless
    rows will be added.
    """

    def __init__(self, faiss_index: Any, vectors: VectorFile, *, growing: bool) -> None:
        self.faiss_index, self._vectors, self._growing = faiss_index, vectors, growing

    @cached_property
    def _searched(self) -> Any:
        # Vectors can be assigned to lists of our choice only while the codes are not packed.
        packed = isinstance(self.faiss_index, faiss.IndexIVFPQ) and not self._growing
        return faiss.IndexIVFPQFastScan(self.faiss_index) if packed else self.faiss_index

    @property
    def lists(self) -> int:
        """Number of inverted lists; 0 if the search is exhaustive."""
        ivf = faiss.try_extract_index_ivf(self.faiss_index)
        return 0 if ivf is None else int(ivf.nlist)

    def inverted_lists(self, near: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """Return the inverted lists.

        Returns
        -------
        lists : list of np.ndarray [dtype=int64]
            The rows in each list.
        centres : np.ndarray [shape=(lists, dim), dtype=float32]
        near : np.ndarray [shape=(lists, near)]
            The lists nearest to each, itself included.
        """
        ivf = faiss.extract_index_ivf(self.faiss_index)
        sizes = [ivf.invlists.list_size(number) for number in range(ivf.nlist)]
        lists = [
            faiss.rev_swig_ptr(ivf.invlists.get_ids(number), size).copy() if size else np.empty(0, np.int64)
            for number, size in enumerate(sizes)
        ]
        centres = ivf.quantizer.reconstruct_n(0, ivf.nlist)
        return lists, centres, ivf.quantizer.search(centres, min(near, ivf.nlist))[1]

    def search(
        self, queries: np.ndarray, k: int, allowed: np.ndarray | None, probes: int, *, widen: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """Search the `probes` inverted lists nearest to each query; results as in `VectorFile.nearest`.

        The lists nearest to a query may contain few allowed rows. With `widen`, their number is therefore increased
        until more lists change nothing. The search is exhaustive if few rows are allowed, or many lists are needed.
        """
        if allowed is None or not self.lists or not widen:
            return self._search(queries, k, allowed, probes)
        if np.count_nonzero(allowed) <= _SUBSET_ROWS:
            return self._search(queries, k, allowed, self.lists)
        compared = max(k, _COMPARED)
        scores, rows = self._search(queries, compared, allowed, probes)
        while probes <= _MAX_PROBED * self.lists:
            before, probes = rows, probes * _WIDENED
            scores, rows = self._search(queries, compared, allowed, probes)
            if ((rows[:, :, np.newaxis] == before[:, np.newaxis, :]).any(axis=2).mean(axis=1) >= _SETTLED).all():
                break
        return scores[:, :k], rows[:, :k]

    def _search(
        self, queries: np.ndarray, k: int, allowed: np.ndarray | None, probes: int
    ) -> tuple[np.ndarray, np.ndarray]:
        if len(queries) >= _MANY_QUERIES if not self.lists else probes > _MAX_PROBED * self.lists:
            return self._vectors.nearest(queries, k, allowed)
        options: dict[str, Any] = {}
        if allowed is not None:
            options["sel"] = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        if self.lists:
            parameters = faiss.SearchParametersIVF(nprobe=probes, **options)
            wanted = _ASSIGNED * max(_CANDIDATES, 4 * k)
        else:
            parameters, wanted = faiss.SearchParameters(**options), k + _EXTRA
        with _limit_threads(len(queries)):
            _, candidates = self._searched.search(queries, wanted, params=parameters)
        ranked = [
            self._vectors.rank(query, np.unique(row[row >= 0]), k)
            for query, row in zip(queries, candidates, strict=True)
        ]
        return np.array([scores for scores, _ in ranked]), np.array([rows for _, rows in ranked])


def train_faiss(kind: str, sample: np.ndarray, rows: int, seed: int) -> Any:
    """Create an empty FAISS index for `rows` vectors, trained on a sample of unit vectors [shape=(n, dim)]."""
    dim = sample.shape[1]
    if kind == "exact":
        flat = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        flat.train(sample[:1])
        return flat
    count = max(1, min(_list_count(rows), len(sample) // _POINTS_PER_LIST))
    graph = "_HNSW32" if count >= _MANY_LISTS else ""
    code = "SQ8" if kind == "ivf" else f"PQ{_codes(dim)}x4"
    index = faiss.index_factory(dim, f"IVF{count}{graph},{code}", faiss.METRIC_INNER_PRODUCT)
    ivf = faiss.extract_index_ivf(index)
    ivf.cp.seed, ivf.cp.niter, ivf.cp.max_points_per_centroid = seed, _ITERATIONS, _POINTS_PER_LIST
    ivf.cp.min_points_per_centroid = 1  # otherwise FAISS prints a warning for small samples
    if kind == "ivfpq":
        codes = faiss.downcast_index(index).pq.cp
        codes.seed, codes.min_points_per_centroid = seed, 1
        sample = np.resize(sample, (max(len(sample), _CODEWORDS), dim))  # FAISS needs one vector for each
    index.train(sample)
    return index


def add_vectors(faiss_index: Any, vectors: np.ndarray, first: int) -> None:
    """Add unit vectors [shape=(n, dim), dtype=float32] to a trained index, numbered from `first` on."""
    ivf = faiss.try_extract_index_ivf(faiss_index)
    if ivf is None:
        faiss_index.add(vectors)
        return
    choice = TwoLists(ivf.quantizer.reconstruct_n(0, ivf.nlist))
    for start in range(0, len(vectors), _ASSIGNED_AT_ONCE):
        block = np.ascontiguousarray(vectors[start : start + _ASSIGNED_AT_ONCE])
        rows = np.arange(first + start, first + start + len(block))
        for lists in choice.choose(*ivf.quantizer.search(block, min(LISTS_TRIED, ivf.nlist))):
            pointers = (faiss.swig_ptr(array) for array in (block, rows, lists))
            faiss.downcast_index(faiss_index).add_core(len(block), *pointers)


class TwoLists:
    """Choose two inverted lists for vectors, given the centres of all lists [shape=(lists, dim)], of length 1."""

    def __init__(self, centres: np.ndarray) -> None:
        self._centres = centres
        self._products = centres @ centres.T if len(centres) <= _FEW_LISTS else None

    def choose(self, cosines: np.ndarray, lists: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the nearest list of each vector, and the second list that SOAR chooses.

        Parameters
        ----------
        cosines, lists : np.ndarray [shape=(n, tried)]
            The nearest lists of each vector, nearest first.
        """
        nearest = np.ascontiguousarray(lists[:, 0])
        if lists.shape[1] < _ASSIGNED:
            return (nearest,)
        # Centres have length 1, so everything about the residuals follows from inner products.
        if self._products is None:
            between = np.einsum("nld,nd->nl", self._centres[lists], self._centres[nearest], optimize=True)
        else:
            between = self._products[nearest[:, np.newaxis], lists]
        squares = 2 - 2 * cosines
        along = (1 - cosines[:, :1] - cosines + between) / np.sqrt(np.maximum(squares[:, :1], 1e-9))
        cost = squares + _SOAR_WEIGHT * along**2
        cost[:, 0] = np.inf
        second = np.take_along_axis(lists, cost.argmin(axis=1)[:, np.newaxis], axis=1)
        return nearest, np.ascontiguousarray(second[:, 0])


def sample_size(rows: int) -> int:
    """Return the number of vectors to train the inverted lists of an index of `rows` vectors on."""
    return min(rows, _POINTS_PER_LIST * _list_count(rows))


def _list_count(rows: int) -> int:
    return int(min(65_536, max(16, 2 ** round(math.log2(4 * math.sqrt(max(rows, 1)))))))


def _codes(dim: int) -> int:
    """Return the number of codes per vector: one per four values, or the next smaller number that divides `dim`."""
    return max(count for count in range(1, max(1, dim // _VALUES_PER_CODE) + 1) if dim % count == 0)


def write_faiss(faiss_index: Any, path: Path) -> None:
    """Write an index in FAISS's own format."""
    with replace_file(path) as temporary:
        faiss.write_index(faiss_index, str(temporary))


def read_faiss(path: Path, rows: int, dim: int, *, mapped: bool) -> Any:
    """Read an index, memory-mapped if requested and supported, and check its size."""
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP if mapped else 0)
    except RuntimeError as error:
        raise SimilarityError(f"{path}: is missing or damaged. Rebuild the index: eno index build.") from error
    ivf = faiss.try_extract_index_ivf(index)
    found = index.ntotal if ivf is None else index.ntotal // min(_ASSIGNED, ivf.nlist)
    if (found, index.d) != (rows, dim):
        raise SimilarityError(
            f"{path}: contains {found} vectors of {index.d} values, expected {rows} of {dim}. "
            "Rebuild the index: eno index build."
        )
    return index


@contextmanager
def _limit_threads(queries: int) -> Iterator[None]:
    # With more threads than queries, FAISS waits for idle ones. The setting is local to the calling thread.
    usual = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(min(queries, usual))
    try:
        yield
    finally:
        faiss.omp_set_num_threads(usual)
