"""Which index of FAISS suits a collection, and how deep it must be searched.

========  =====================================================  =======================
kind      what is held in memory                                 how it finds
========  =====================================================  =======================
exact     nothing: all vectors are compared on disk              everything
ivf       8 bits a value, in inverted lists, mapped from disk    most, quickly
ivfpq     4 bits for four values, in inverted lists              most, quickly, in little
========  =====================================================  =======================

What the last two find is compared again with the exact vectors on disk, so quantisation decides what is looked at, not
the order or the scores.

References
----------
FAISS: M. Douze et al., "The Faiss library", 2024, https://arxiv.org/abs/2401.08281. Product quantisation in registers:
F. André et al., "Quicker ADC", 2019.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from eno.errors import ConfigError, SimilarityError
from eno.files import replace_file
from eno.similarity.vector_file import VectorFile, few_threads, selector

KINDS = ("exact", "ivf", "ivfpq")
EXACT_ROWS = 100_000
"""Rows up to which all are compared: 10 ms a query, and nothing can be missed."""

_SUBSET_ROWS = 20_000  # allowed rows up to which all of them are compared
_SUBSET_OF = 4_000_000  # rows in all, each of which is asked whether it is allowed
_POINTS_PER_LIST = 40  # that k-means learns a list's centre from; FAISS asks for 39
_ITERATIONS = 8
_MANY_LISTS = 16_384  # from so many on a graph finds the nearest lists
_VALUES_PER_CODE = 4
_CANDIDATES = 200  # that are compared exactly, at least
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
        return 0.0
    code = dim if kind == "ivf" else math.ceil(dim / _VALUES_PER_CODE) / 2
    return (rows * (code + 8) + lists_for(rows) * dim * 4) / 1e6


def lists_for(rows: int) -> int:
    """Inverted lists for so many rows."""
    return int(min(65_536, max(16, 2 ** round(math.log2(4 * math.sqrt(max(rows, 1)))))))


class Engine:
    """Inverted lists of FAISS, re-ranked by the vectors on disk.

    Parameters
    ----------
    lists : faiss.Index
        A trained index of inverted lists.
    vectors : VectorFile
        The exact vectors of the rows that it holds.
    """

    def __init__(self, lists: Any, vectors: VectorFile) -> None:
        self.lists, self._vectors = lists, vectors
        self.ivf = faiss.extract_index_ivf(lists)
        self._ranked = faiss.IndexRefine(lists, vectors.flat)

    def search(
        self, queries: np.ndarray, k: int, allowed: np.ndarray | None, probes: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find rows as `VectorFile.nearest` does, in the `probes` lists that are nearest to a query.

        Where few rows are allowed they are all compared; where some are, more lists are searched for them.
        """
        if allowed is None:
            inverted = faiss.SearchParametersIVF(nprobe=probes)
        else:
            share = np.count_nonzero(allowed) / max(len(allowed), 1)
            few = share * len(allowed) <= _SUBSET_ROWS and len(allowed) <= _SUBSET_OF
            deeper = math.ceil(probes / max(share, 1e-6))  # so that as many rows that may be found are looked at
            if few or deeper > _MOST_PROBED * self.ivf.nlist:
                return self._vectors.nearest(queries, k, allowed)
            inverted = faiss.SearchParametersIVF(nprobe=deeper, sel=selector(allowed))
        factor = max(_CANDIDATES, 4 * k) / k
        parameters = faiss.IndexRefineSearchParameters(k_factor=factor, base_index_params=inverted)
        with few_threads(len(queries)):
            scores, rows = self._ranked.search(queries, k, params=parameters)
        scores[rows < 0] = -np.inf
        return scores, rows

    @staticmethod
    def save_lists(lists: Any, path: Path) -> None:
        """Write inverted lists in FAISS's own format."""
        with replace_file(path) as temporary:
            faiss.write_index(lists, str(temporary))


def train_lists(kind: str, sample: np.ndarray, rows: int, seed: int) -> Any:
    """Learn inverted lists and their codes.

    Parameters
    ----------
    kind : {"ivf", "ivfpq"}
    sample : np.ndarray [shape=(n, dim), dtype=float32]
        Unit vectors to learn from, see `sample_size`.
    rows : int
        How many vectors the index will hold.
    seed : int

    Returns
    -------
    faiss.IndexIVF
        Empty.
    """
    dim, count = sample.shape[1], lists_for(rows)
    # Where there is too little to learn from, fewer lists.
    count = max(1, min(count, len(sample) // _POINTS_PER_LIST))
    graph = "_HNSW32" if count >= _MANY_LISTS else ""
    code = "SQ8" if kind == "ivf" else f"PQ{_codes(dim)}x4fs"
    index = faiss.index_factory(dim, f"IVF{count}{graph},{code}", faiss.METRIC_INNER_PRODUCT)
    ivf = faiss.extract_index_ivf(index)
    ivf.cp.seed, ivf.cp.niter, ivf.cp.max_points_per_centroid = seed, _ITERATIONS, _POINTS_PER_LIST
    ivf.cp.min_points_per_centroid = 1  # else FAISS warns on standard error where there are few
    if kind == "ivfpq":
        codes = faiss.downcast_index(index).pq.cp
        codes.seed, codes.min_points_per_centroid = seed, 1
    index.train(sample)
    return index


def sample_size(rows: int) -> int:
    """Vectors that lists for so many rows are learned from."""
    return min(rows, _POINTS_PER_LIST * lists_for(rows))


def _codes(dim: int) -> int:
    """Codes of a vector: four values each, or as near to it as divides them evenly."""
    return max(count for count in range(1, max(1, dim // _VALUES_PER_CODE) + 1) if dim % count == 0)


def read_lists(path: Path, rows: int, dim: int, *, mapped: bool) -> Any:
    """Read what `Engine.save_lists` wrote; mapped from disk where that is wanted and FAISS can.

    Raises
    ------
    SimilarityError
        It is missing, damaged, or of another index.
    """
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP if mapped else 0)
    except RuntimeError as error:
        raise SimilarityError(f"{path}: is missing or damaged. Build the index again: eno index build.") from error
    if (index.ntotal, index.d) != (rows, dim):
        raise SimilarityError(
            f"{path}: holds {index.ntotal} vectors of {index.d} values, expected {rows} of {dim}. "
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
