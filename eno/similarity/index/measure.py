"""Measure the recall and query time of an index."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from eno.similarity.index.index import SimilarityIndex
from eno.similarity.index.vector_file import not_itself

_TUNING_QUERIES = 200
_TARGET = 0.97  # recall@10 of the tuning queries; that of other queries is then above 0.95
_WARM_UP = 20


@dataclass(frozen=True)
class IndexMeasure:
    """Recall and query time of an index.

    Attributes
    ----------
    recall : float
        Fraction of the true `k` nearest neighbours (without the query itself) that were found.
    p50_ms, p99_ms, exact_p50_ms : float
        Median and 99th percentile of the query time, and median of exhaustive search.
    """

    queries: int
    k: int
    recall: float
    p50_ms: float
    p99_ms: float
    exact_p50_ms: float


def measure_index(index: SimilarityIndex, *, queries: int = 500, k: int = 10, seed: int = 1) -> IndexMeasure:
    """Compare an index with exhaustive search, and write the result to its manifest.

    A number of `queries` is drawn from the rows of the index; seed 0 draws those that it was tuned on.
    """
    rows = _draw(index, queries, seed)
    vectors = index.vectors(rows)
    true = _others(index.search(vectors, k + 1, exact=True)[1], rows)
    for vector in vectors[:_WARM_UP]:
        index.search(vector[np.newaxis], k + 1)
    found, seconds = _timed(index, vectors, k + 1, exact=False)
    _, exact_s = _timed(index, vectors[:_WARM_UP], k + 1, exact=True)
    median, most = np.percentile(seconds, [50, 99]) * 1000 if seconds else (0.0, 0.0)
    recall = recall_at(_others(found, rows), true)
    exact_ms = float(np.median(exact_s)) * 1000 if exact_s else 0.0
    result = IndexMeasure(len(rows), k, recall, float(median), float(most), exact_ms)
    index.manifest = replace(index.manifest, measured={**vars(result), "rows": len(index)})
    index.manifest.write(index.folder)
    return result


def tune_probes(index: SimilarityIndex, *, k: int = 10) -> int:
    """Return the number of inverted lists to search for the target recall."""
    rows = _draw(index, _TUNING_QUERIES, 0)
    vectors = index.vectors(rows)
    true = _others(index.search(vectors, k + 1, exact=True)[1], rows)
    lists = index.ann.lists
    probes = 1
    while probes < lists:
        found = index.ann.search(vectors, k + 1, None, probes)[1]
        if recall_at(_others(found, rows), true) >= _TARGET:
            break
        probes = min(lists, max(probes + 1, round(probes * 2**0.5)))
    return probes


def recall_at(found: np.ndarray, true: np.ndarray) -> float:
    """Return the fraction of true neighbours that were found [shape=(q, k)]; -1 in `true` is padding."""
    wanted = true >= 0
    hits = (true[:, :, np.newaxis] == found[:, np.newaxis, :]).any(axis=2) & wanted
    return float(hits.sum() / wanted.sum()) if wanted.any() else 1.0


def _timed(index: SimilarityIndex, vectors: np.ndarray, k: int, *, exact: bool) -> tuple[np.ndarray, list[float]]:
    found, seconds = np.empty((len(vectors), k), np.int64), []
    for place, vector in enumerate(vectors):
        began = time.perf_counter()
        found[place] = index.search(vector[np.newaxis], k, exact=exact)[1][0]
        seconds.append(time.perf_counter() - began)
    return found, seconds


def _draw(index: SimilarityIndex, queries: int, seed: int) -> np.ndarray:
    live = np.flatnonzero(index.live)
    return np.sort(np.random.default_rng([seed, len(live)]).choice(live, min(queries, len(live)), replace=False))


def _others(found: np.ndarray, own: np.ndarray) -> np.ndarray:
    others: np.ndarray = found[not_itself(found, own)].reshape(len(found), found.shape[1] - 1)
    return others
