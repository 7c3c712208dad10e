"""Which index of FAISS suits a collection, and how deep it must be searched.

========  =====================================================  ==========================
kind      what is held in memory                                 how it finds
========  =====================================================  ==========================
exact     16 bits a value                                        everything
ivf       8 bits a value, in inverted lists, mapped from disk    nearly everything, quickly
ivfpq     4 bits for four values, in inverted lists              the same, in little memory
========  =====================================================  ==========================

Whatever finds it is compared once more with the vectors on disk, so quantisation decides what is looked at, not the
order or the scores. Every row is in two inverted lists: the nearest, and one from whose centre it lies in another
direction, so that a query which misses the one meets the other.

References
----------
FAISS: M. Douze et al., "The Faiss library", 2024, https://arxiv.org/abs/2401.08281. Two lists: P. Sun et al., "SOAR:
Improved indexing for approximate nearest neighbor search", NeurIPS 2023, https://arxiv.org/abs/2404.00774. Codes that
are compared in registers: F. André et al., "Quicker ADC", 2019, https://arxiv.org/abs/1812.09162.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from eno.errors import ConfigError, SimilarityError
from eno.files import replace_file
from eno.similarity.index.vector_file import VectorFile

KINDS = ("exact", "ivf", "ivfpq")
EXACT_ROWS = 100_000
"""Rows up to which all are compared: 9 ms a query of 512 values, and nothing can be missed."""

_MANY_QUERIES = 16  # so many are compared with everything faster by products of matrices
_SUBSET_ROWS = 20_000  # allowed rows up to which all of them are compared
_POINTS_PER_LIST = 40  # that k-means learns a list's centre from; FAISS asks for 39
_ITERATIONS = 8
_MANY_LISTS = 16_384  # from so many on a graph finds the nearest lists
_VALUES_PER_CODE = 4
_ASSIGNED = 2  # lists that a row is in
_LISTS_TRIED, _AWAY = 32, 1.0  # nearest lists of which the second is chosen, and SOAR's weight of its direction
_ASSIGNED_AT_ONCE = 1_024
_CANDIDATES = 200  # that are compared exactly, at least
_ROUNDED = 10  # more than are wanted, since half precision may swap those that are equally near
_MOST_PROBED = 1 / 4  # share of the lists beyond which comparing everything is no slower


def choose_kind(rows: int, dim: int, memory_mb: float | None) -> str:
    """Choose an index by the size of the collection and the memory that it may take.

    Parameters
    ----------
    rows, dim : int
        Vectors, and their values.
    memory_mb : float, optional
        Memory for the index itself, in 10⁶ bytes. Without it the smaller one is taken, which is also the quicker.
    """
    if rows <= EXACT_ROWS:
        return "exact"
    return "ivf" if memory_mb is not None and memory_of("ivf", rows, dim) <= memory_mb else "ivfpq"


def memory_of(kind: str, rows: int, dim: int) -> float:
    """Estimate what an index holds in memory, in 10⁶ bytes."""
    if kind == "exact":
        return rows * dim * 2 / 1e6
    code = dim if kind == "ivf" else _codes(dim) / 2
    return (_ASSIGNED * rows * (code + 8) + lists_for(rows) * dim * 4) / 1e6


def lists_for(rows: int) -> int:
    """Inverted lists for so many rows."""
    return int(min(65_536, max(16, 2 ** round(math.log2(4 * math.sqrt(max(rows, 1)))))))


class Engine:
    """What finds candidates, and the vectors on disk that rank them.

    Parameters
    ----------
    finder : faiss.Index
        A flat index or inverted lists.
    vectors : VectorFile
        The vectors of the rows that it holds.
    growing : bool
        Rows will be added, so that packing codes for a quick search does not pay.
    """

    def __init__(self, finder: Any, vectors: VectorFile, *, growing: bool) -> None:
        self.finder, self._vectors = finder, vectors
        # Rows can be put into lists of one's choice only while their codes are not packed.
        packed = isinstance(finder, faiss.IndexIVFPQ) and not growing
        self._searched = faiss.IndexIVFPQFastScan(finder) if packed else finder

    @property
    def lists(self) -> int:
        """Inverted lists; 0 where everything is compared."""
        ivf = faiss.try_extract_index_ivf(self.finder)
        return 0 if ivf is None else int(ivf.nlist)

    def search(
        self, queries: np.ndarray, k: int, allowed: np.ndarray | None, probes: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find rows as `VectorFile.nearest` does, in the `probes` lists that are nearest to a query.

        Where few rows are allowed they are all compared; where some are, more lists are searched for them.
        """
        if not self.lists and len(queries) >= _MANY_QUERIES:
            return self._vectors.nearest(queries, k, allowed)
        options: dict[str, Any] = {}
        if allowed is not None:
            count = int(np.count_nonzero(allowed))
            probes = math.ceil(probes * len(allowed) / max(1, count))  # so that as many rows that may be found are seen
            if self.lists and (count <= _SUBSET_ROWS or probes > _MOST_PROBED * self.lists):
                return self._vectors.nearest(queries, k, allowed)
            options["sel"] = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        if self.lists:
            parameters = faiss.SearchParametersIVF(nprobe=min(probes, self.lists), **options)
            wanted = _ASSIGNED * max(_CANDIDATES, 4 * k)
        else:
            parameters, wanted = faiss.SearchParameters(**options), k + _ROUNDED
        with few_threads(len(queries)):
            _, found = self._searched.search(queries, wanted, params=parameters)
        ranked = [
            self._vectors.rank(query, np.unique(row[row >= 0]), k) for query, row in zip(queries, found, strict=True)
        ]
        return np.array([scores for scores, _ in ranked]), np.array([rows for _, rows in ranked])

    @staticmethod
    def save_finder(finder: Any, path: Path) -> None:
        """Write an index in FAISS's own format."""
        with replace_file(path) as temporary:
            faiss.write_index(finder, str(temporary))


def train_finder(kind: str, sample: np.ndarray, rows: int, seed: int) -> Any:
    """Make an empty index; inverted lists and codes are learned.

    Parameters
    ----------
    kind : {"exact", "ivf", "ivfpq"}
    sample : np.ndarray [shape=(n, dim), dtype=float32]
        Unit vectors to learn from, see `sample_size`.
    rows : int
        How many vectors the index will hold.
    seed : int

    Returns
    -------
    faiss.Index
        Empty.
    """
    dim, count = sample.shape[1], lists_for(rows)
    if kind == "exact":
        flat = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        flat.train(sample[:1])
        return flat
    # Where there is too little to learn from, fewer lists.
    count = max(1, min(count, len(sample) // _POINTS_PER_LIST))
    graph = "_HNSW32" if count >= _MANY_LISTS else ""
    code = "SQ8" if kind == "ivf" else f"PQ{_codes(dim)}x4"
    index = faiss.index_factory(dim, f"IVF{count}{graph},{code}", faiss.METRIC_INNER_PRODUCT)
    ivf = faiss.extract_index_ivf(index)
    ivf.cp.seed, ivf.cp.niter, ivf.cp.max_points_per_centroid = seed, _ITERATIONS, _POINTS_PER_LIST
    ivf.cp.min_points_per_centroid = 1  # else FAISS warns on standard error where there are few
    if kind == "ivfpq":
        codes = faiss.downcast_index(index).pq.cp
        codes.seed, codes.min_points_per_centroid = seed, 1
    index.train(sample)
    return index


def add_rows(finder: Any, vectors: np.ndarray, first: int) -> None:
    """Add rows to what `train_finder` made.

    Parameters
    ----------
    finder : faiss.Index
    vectors : np.ndarray [shape=(n, dim), dtype=float32]
        Unit vectors.
    first : int
        Number of the first one.
    """
    ivf = faiss.try_extract_index_ivf(finder)
    if ivf is None:
        finder.add(vectors)
        return
    centres = ivf.quantizer.reconstruct_n(0, ivf.nlist)
    for start in range(0, len(vectors), _ASSIGNED_AT_ONCE):
        some = np.ascontiguousarray(vectors[start : start + _ASSIGNED_AT_ONCE])
        rows = np.arange(first + start, first + start + len(some))
        for lists in _two_lists(some, centres, *ivf.quantizer.search(some, min(_LISTS_TRIED, ivf.nlist))):
            faiss.downcast_index(finder).add_core(len(some), *(faiss.swig_ptr(one) for one in (some, rows, lists)))


def _two_lists(
    vectors: np.ndarray, centres: np.ndarray, cosines: np.ndarray, lists: np.ndarray
) -> tuple[np.ndarray, ...]:
    """For each vector the list of the nearest centre, and SOAR's second one, of those with the nearest centres."""
    nearest = np.ascontiguousarray(lists[:, 0])
    if lists.shape[1] < _ASSIGNED:
        return (nearest,)
    # Centres have length 1: all that is needed of the residuals follows from inner products.
    between = np.einsum("nld,nd->nl", centres[lists], centres[nearest], optimize=True)
    squares = 2 - 2 * cosines
    along = (1 - cosines[:, :1] - cosines + between) / np.sqrt(np.maximum(squares[:, :1], 1e-9))
    cost = squares + _AWAY * along**2
    cost[:, 0] = np.inf
    second = np.take_along_axis(lists, cost.argmin(axis=1)[:, np.newaxis], axis=1)
    return nearest, np.ascontiguousarray(second[:, 0])


def sample_size(rows: int) -> int:
    """Vectors that lists for so many rows are learned from."""
    return min(rows, _POINTS_PER_LIST * lists_for(rows))


def _codes(dim: int) -> int:
    """Codes of a vector: four values each, or as near to it as divides them evenly."""
    return max(count for count in range(1, max(1, dim // _VALUES_PER_CODE) + 1) if dim % count == 0)


def read_finder(path: Path, rows: int, dim: int, *, mapped: bool) -> Any:
    """Read what `Engine.save_finder` wrote; mapped from disk where that is wanted and FAISS can.

    Raises
    ------
    SimilarityError
        It is missing, damaged, or of another index.
    """
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP if mapped else 0)
    except RuntimeError as error:
        raise SimilarityError(f"{path}: is missing or damaged. Build the index again: eno index build.") from error
    ivf = faiss.try_extract_index_ivf(index)
    held = index.ntotal if ivf is None else index.ntotal // min(_ASSIGNED, ivf.nlist)
    if (held, index.d) != (rows, dim):
        raise SimilarityError(
            f"{path}: holds {held} vectors of {index.d} values, expected {rows} of {dim}. "
            "Build the index again: eno index build."
        )
    return index


def check_kind(kind: str) -> str:
    """Give the kind back if there is such a one.

    Raises
    ------
    ConfigError
        There is not.
    """
    if kind not in (*KINDS, "auto"):
        raise ConfigError(f"kind {kind!r}: choose from auto, {', '.join(KINDS)}.")
    return kind


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
