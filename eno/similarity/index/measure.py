"""How much of what is near an index finds, and how long it takes."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from eno.similarity.index.index import SimilarityIndex

_TUNING_QUERIES = 200
_TARGET = 0.97  # recall@10 on them, so that other queries are above 0.95 too
_WARM_UP = 20


@dataclass(frozen=True)
class IndexMeasure:
    """How an index does on queries.

    Attributes
    ----------
    queries, k : int
        Rows of the index that were looked for, and neighbours that were wanted of each; the row itself does not count.
    recall : float
        Share of the true `k` nearest rows that were found.
    p50_ms, p99_ms : float
        Time of single queries: median, and what one in a hundred exceeds.
    exact_p50_ms : float
        Median time of comparing all rows.
    """

    queries: int
    k: int
    recall: float
    p50_ms: float
    p99_ms: float
    exact_p50_ms: float


def measure_index(index: SimilarityIndex, *, queries: int = 500, k: int = 10, seed: int = 1) -> IndexMeasure:
    """Compare an index with exact search, and write the result into its manifest.

    Parameters
    ----------
    index : SimilarityIndex
    queries : int
        Rows that are looked for: drawn from the index, others than those by which it was tuned unless there are few.
    k : int
        Neighbours.
    seed : int
        Decides which rows are drawn; 0 would draw those of the tuning.
    """
    rows = _draw(index, queries, seed)
    vectors = index.vectors(rows)
    true = _without(index.search(vectors, k + 1, exact=True)[1], rows, k)
    seconds, found = [], []
    for vector in vectors[:_WARM_UP]:
        index.search(vector[np.newaxis], k + 1)
    for vector in vectors:
        began = time.perf_counter()
        found.append(index.search(vector[np.newaxis], k + 1)[1][0])
        seconds.append(time.perf_counter() - began)
    exact_s = []
    for vector in vectors[:_WARM_UP]:
        began = time.perf_counter()
        index.search(vector[np.newaxis], k + 1, exact=True)
        exact_s.append(time.perf_counter() - began)
    median, most = np.percentile(seconds, [50, 99]) * 1000 if seconds else (0.0, 0.0)
    recall = recall_at(_without(np.array(found), rows, k), true)
    exact_ms = float(np.median(exact_s)) * 1000 if exact_s else 0.0
    result = IndexMeasure(len(rows), k, recall, float(median), float(most), exact_ms)
    index.manifest = replace(index.manifest, measured={**vars(result), "rows": len(index)})
    index.manifest.write(index.folder)
    return result


def tune_probes(index: SimilarityIndex, *, k: int = 10) -> int:
    """Find how many inverted lists have to be searched, by rows that are looked for."""
    rows = _draw(index, _TUNING_QUERIES, 0)
    vectors = index.vectors(rows)
    true = _without(index.search(vectors, k + 1, exact=True)[1], rows, k)
    lists = index.engine.lists
    probes = 1
    while probes < lists:
        found = index.engine.search(vectors, k + 1, None, probes)[1]
        if recall_at(_without(found, rows, k), true) >= _TARGET:
            break
        probes = min(lists, max(probes + 1, round(probes * 2**0.5)))
    return probes


def recall_at(found: np.ndarray, true: np.ndarray) -> float:
    """Share of the true neighbours that were found.

    Parameters
    ----------
    found, true : np.ndarray [shape=(q, k)]
        Rows; -1 in `true` where there are fewer than k does not count.
    """
    wanted = true >= 0
    hits = (true[:, :, np.newaxis] == found[:, np.newaxis, :]).any(axis=2) & wanted
    return float(hits.sum() / wanted.sum()) if wanted.any() else 1.0


def _draw(index: SimilarityIndex, queries: int, seed: int) -> np.ndarray:
    live = np.flatnonzero(index.live)
    return np.sort(np.random.default_rng([seed, len(live)]).choice(live, min(queries, len(live)), replace=False))


def _without(found: np.ndarray, own: np.ndarray, k: int) -> np.ndarray:
    """Take a row's own number out of what was found for it."""
    kept = np.full((len(found), k), -1, np.int64)
    for place, (row, number) in enumerate(zip(found, own, strict=True)):
        others = row[row != number][:k]
        kept[place, : len(others)] = others
    return kept
