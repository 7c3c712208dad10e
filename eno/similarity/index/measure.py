"""Measure the recall and query time of an index."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np

from eno.errors import StoreError
from eno.similarity.index.index import SimilarityIndex
from eno.similarity.index.manifest import TUNED, Manifest, writing
from eno.similarity.index.vector_file import not_itself

_TUNING_QUERIES = 200
_TARGET = 0.985  # recall of the tuning queries; that of other queries is then above 0.97
_WARM_UP = 20
_DEEP, _DEEP_QUERIES = (100, 1000), 50


@dataclass(frozen=True)
class IndexMeasure:
    """Recall and query time of an index.

    Attributes
    ----------
    recall : float
        Fraction of the true `k` nearest neighbours (without the query itself) that were found.
    p50_ms, p99_ms, exact_p50_ms : float
        Median and 99th percentile of the query time, and median of exhaustive search.
    deeper : dict
        The recall of the nearest 100 and 1,000.
    saved : bool
        Whether it is in the manifest: False if the index has been changed meanwhile, or cannot be written to.
    """

    queries: int
    k: int
    recall: float
    p50_ms: float
    p99_ms: float
    exact_p50_ms: float
    deeper: dict[str, float] = field(default_factory=dict)
    saved: bool = False


def measure_index(index: SimilarityIndex, *, queries: int = 500, k: int = 10, seed: int = 1) -> IndexMeasure:
    """Compare an index with exhaustive search, and write the result to its manifest unless that has changed.

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
    deeper = _recall_at_depths(index, rows[:: max(1, len(rows) // _DEEP_QUERIES)])
    result = IndexMeasure(len(rows), k, recall, float(median), float(most), exact_ms, deeper)
    return replace(result, saved=_save(index, result))


def _recall_at_depths(index: SimilarityIndex, rows: np.ndarray) -> dict[str, float]:
    vectors = index.vectors(rows)
    true = _others(index.search(vectors, max(_DEEP) + 1, exact=True)[1], rows)
    found = {k: np.vstack([index.search(one[np.newaxis], k + 1)[1] for one in vectors]) for k in _DEEP}
    return {str(k): recall_at(_others(found[k], rows), true[:, :k]) for k in _DEEP}


def _save(index: SimilarityIndex, result: IndexMeasure) -> bool:
    measured = {name: value for name, value in vars(result).items() if name != "saved"}
    try:
        with writing(index.folder):
            if Manifest.read(index.folder).generation != index.manifest.generation:
                return False
            index.manifest = replace(index.manifest, measured={**measured, "rows": len(index)})
            index.manifest.write(index.folder)
    except StoreError:  # another process is writing, or the folder is read-only
        return False
    return True


def tune_probes(index: SimilarityIndex) -> Manifest:
    """Return the manifest of an index with the numbers of inverted lists to search for the target recall."""
    rows = _draw(index, _TUNING_QUERIES, 0)
    vectors = index.vectors(rows)
    nearest = index.search(vectors, max(TUNED) + 1, exact=True)[1]
    found, probes = {}, 1
    for k in TUNED:
        few = slice(None, None, 1 if k < 100 else 4)  # a recall at 100 is the mean of more neighbours
        true = _others(nearest[few, : k + 1], rows[few])
        while probes < index.ann.lists:
            searched = index.ann.search(vectors[few], k + 1, index.allowed(), probes, widen=False)[1]
            if recall_at(_others(searched, rows[few]), true) >= _TARGET:
                break
            probes = min(index.ann.lists, max(probes + 1, round(probes * 2**0.5)))
        found[k] = probes
    first, *more = TUNED
    return replace(index.manifest, probes=found[first], deeper={str(k): found[k] for k in more})


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
