"""The nearest neighbours of all vectors of a collection at once.

Vectors are in lists of similar ones, and each is compared with the vectors of the lists nearest to it. All vectors that
are compared with a list take part in one matrix product, which is many times as fast as a search for each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import faiss
import numpy as np

from eno.cores import usable_cores
from eno.similarity.index.ann import LISTS_TRIED, AnnIndex, TwoLists
from eno.similarity.index.vector_file import ROWS_AT_ONCE, not_itself, search_blocks
from eno.views import MappedView, RowView

_MANY_VECTORS = 20_000
_PROBED = 8  # lists that each vector is compared with
_LIST_SIZE = 300  # vectors on average, each of them in two lists
_SMALL_LIST = 100  # the lists of an index are not used if they have fewer of the wanted vectors on average
_POINTS_PER_LIST, _ITERATIONS = 20, 6
_LISTS_AT_ONCE = 32

Progress = Callable[[int, int], None]
Vectors = np.ndarray | RowView | MappedView


@dataclass(frozen=True, eq=False)
class InvertedLists:
    """Lists of vectors that are close to each other.

    Attributes
    ----------
    members : list of np.ndarray [dtype=int64]
        The rows in each list. Every row is in one or two lists.
    probed : np.ndarray [shape=(n, lists), dtype=int32]
        The lists nearest to each row.
    """

    members: list[np.ndarray]
    probed: np.ndarray

    @classmethod
    def of_index(cls, index: AnnIndex, rows: np.ndarray, vectors: Vectors) -> InvertedLists | None:
        """Return the lists of an index, but only with `rows` [shape=(n,)], which are numbered from 0 to n - 1 instead.

        None if the index has no lists, or they are too many for so few rows. `vectors` [shape=(n, dim)] are those of
        the rows.
        """
        if not index.lists or index.lists * _SMALL_LIST > 2 * len(rows):
            return None
        lists, centres, near = index.inverted_lists(LISTS_TRIED)
        new = np.full(1 + max(int(rows.max()), *(int(entries.max(initial=-1)) for entries in lists)), -1)
        new[rows] = np.arange(len(rows))
        members = [own[own >= 0] for own in (new[entries] for entries in lists)]
        probed = np.zeros((len(rows), min(_PROBED, len(lists))), np.int32)
        for own, others in zip(members, near, strict=True):  # the nearest lists of a row are near its own list
            if len(own):
                cosines = np.asarray(vectors[own]) @ centres[others].T
                probed[own] = others[np.argsort(-cosines, axis=1)[:, :_PROBED]]
        return cls(members, probed)

    @classmethod
    def train(cls, vectors: Vectors) -> InvertedLists:
        """Find lists for unit vectors [shape=(n, dim)] by k-means on a sample."""
        rows, dim = vectors.shape
        count = max(1, 2 * rows // _LIST_SIZE)
        means = faiss.Kmeans(
            dim, count, niter=_ITERATIONS, spherical=True, seed=0, min_points_per_centroid=1,
            max_points_per_centroid=_POINTS_PER_LIST,
        )  # fmt: skip
        drawn = np.random.default_rng(0).choice(rows, min(rows, count * _POINTS_PER_LIST), replace=False)
        means.train(np.ascontiguousarray(vectors[np.sort(drawn)], np.float32))
        choice, probed, own = TwoLists(means.centroids), [], []
        for first in range(0, rows, ROWS_AT_ONCE):
            block = np.ascontiguousarray(vectors[first : first + ROWS_AT_ONCE], np.float32)
            cosines, lists = means.index.search(block, min(LISTS_TRIED, count))
            probed.append(lists[:, :_PROBED].astype(np.int32))
            own.append(np.stack(choice.choose(cosines, lists), axis=1))
        return cls(_grouped(np.concatenate(own), count), np.concatenate(probed))


def _grouped(lists: np.ndarray, count: int) -> list[np.ndarray]:
    """Return the rows that have each number in `lists` [shape=(n, numbers)]."""
    order = np.argsort(lists.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(lists.ravel(), minlength=count))
    return np.split(order // lists.shape[1], ends[:-1])


def nearest_others(
    vectors: Vectors,
    k: int,
    *,
    lists: InvertedLists | None = None,
    on_progress: Progress = lambda done, total: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the `k` nearest neighbours of every unit vector [shape=(n, dim)] among the others.

    Of more than 20,000 vectors most of the nearest neighbours are found, nearly all where the vectors form groups; a
    view is then read in blocks.

    Parameters
    ----------
    lists : InvertedLists, optional
        Used for more than 20,000 vectors; by default they are trained.
    on_progress : callable
        Called with the number of vectors done and their total. The search stops if it raises an exception.

    Returns
    -------
    cosines : np.ndarray [shape=(n, min(k, n - 1)), dtype=float32]
        Highest first.
    rows : np.ndarray [same shape, dtype=int32]
    """
    total = len(vectors)
    k = max(0, min(k, total - 1))
    if k == 0:
        return np.empty((total, 0), np.float32), np.empty((total, 0), np.int32)
    if total > _MANY_VECTORS:
        return _among_lists(vectors, k, lists or InvertedLists.train(vectors), on_progress)
    held = np.ascontiguousarray(vectors[:], np.float32)
    cosines, rows = np.empty((total, k), np.float32), np.empty((total, k), np.int32)
    for first in range(0, total, ROWS_AT_ONCE):
        block = np.arange(first, min(first + ROWS_AT_ONCE, total))
        cosines[block], rows[block] = _exhaustive(held, k, block)
        on_progress(int(block[-1]) + 1, total)
    return cosines, rows


def _exhaustive(vectors: Vectors, k: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compare some rows with all vectors."""
    starts = range(0, len(vectors), ROWS_AT_ONCE)
    parts = (np.arange(first, min(first + ROWS_AT_ONCE, len(vectors))) for first in starts)
    blocks = ((part, np.ascontiguousarray(vectors[part], np.float32)) for part in parts)
    cosines, found = search_blocks(np.ascontiguousarray(vectors[rows], np.float32), k + 1, blocks)
    others = not_itself(found, rows)
    return cosines[others].reshape(-1, k), found[others].reshape(-1, k)


def _among_lists(
    vectors: Vectors, k: int, lists: InvertedLists, on_progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    total, count = len(vectors), len(lists.members)
    queries = _grouped(lists.probed, count)
    cosines, rows = np.full((total, k), -np.inf, np.float32), np.full((total, k), -1, np.int32)

    def search(number: int) -> tuple[np.ndarray, np.ndarray]:
        asked, members = queries[number], lists.members[number]
        if not len(asked) or not len(members):
            return np.empty((len(asked), 0), np.float32), np.empty((len(asked), 0), np.int32)
        faiss.omp_set_num_threads(1)  # of this thread: other threads search other lists
        block, theirs = (np.ascontiguousarray(vectors[some], np.float32) for some in (members, asked))
        found = faiss.knn(theirs, block, min(k + 1, len(members)), metric=faiss.METRIC_INNER_PRODUCT)
        return found[0], members[found[1]].astype(np.int32)

    done = 0
    with ThreadPoolExecutor(usable_cores()) as pool:
        for first in range(0, count, _LISTS_AT_ONCE):
            numbers = range(first, min(first + _LISTS_AT_ONCE, count))
            for number, found in zip(numbers, pool.map(search, numbers), strict=True):
                asked = queries[number]
                cosines[asked], rows[asked] = _merged(asked, (cosines[asked], found[0]), (rows[asked], found[1]))
                done += len(asked)
            on_progress(total * done // lists.probed.size, total)
    lacking = np.flatnonzero(np.isneginf(cosines[:, -1]))  # since their lists are short
    for first in range(0, len(lacking), ROWS_AT_ONCE):
        few = lacking[first : first + ROWS_AT_ONCE]
        cosines[few], rows[few] = _exhaustive(vectors, k, few)
    return cosines, rows


def _merged(
    own: np.ndarray, cosines: tuple[np.ndarray, np.ndarray], rows: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Merge the best `k` rows so far with others, without the row itself and repetitions [shape=(n, k)]."""
    k, scores, found = cosines[0].shape[1], np.hstack(cosines), np.hstack(rows)
    known = (rows[1][:, :, np.newaxis] == rows[0][:, np.newaxis, :]).any(axis=2)
    scores[:, k:][known | (rows[1] == own[:, np.newaxis])] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(found, order, axis=1)
