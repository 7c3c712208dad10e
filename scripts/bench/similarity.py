"""Compare eno's index with hnswlib, usearch and voyager: time, disk, memory and recall, with and without a filter.

Each library runs in its own process, so that memory can be attributed. The search depth is the smallest that reaches a
recall@10 of 0.95 on 500 queries; results are measured on 500 others. Vectors form clusters with Zipf-distributed sizes,
each near a plane. Their intrinsic dimension (Levina and Bickel's maximum likelihood) and the cosines of neighbours are
printed, for comparison with whitened windows of the demo (dimension 9 to 12).

Run it on an idle machine, with ``pip install hnswlib usearch voyager``:
``python -m scripts.bench.similarity [--rows 1000000] [--only eno-ivfpq hnswlib …] [--folder DIR]``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from eno.audio.windows import WindowPolicy
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.similarity.index.build import build_index
from eno.similarity.index.index import SimilarityIndex
from eno.similarity.index.measure import recall_at
from eno.similarity.index.vector_file import VectorFile, append_vectors
from eno.spec import EncoderSpec

DIM, K, QUERIES, TARGET = 512, 10, 500, 0.95
KEPT = 0.01  # fraction of rows that pass the filter
LIBRARIES = ("eno-ivfpq", "eno-ivf", "hnswlib", "usearch", "voyager")
_NUMBERS = (1, 10, 11, 50, 100, 400, 1000)  # of neighbours
_STEP = 20_000
_M, _EF_BUILD = 16, 128
_DEPTHS = [round(10 * 2 ** (n / 2)) for n in range(15)]  # 10 … 1,280


def make_vectors(rows: int, queries: list[np.ndarray], seed: int = 0) -> Iterator[np.ndarray]:
    """Generate blocks of clustered unit vectors; queries of the same distribution are appended to `queries`."""
    rng = np.random.default_rng(seed)
    clusters, planes, intrinsic = max(200, rows // 100), 64, 24
    sizes = 1 / np.arange(1, clusters + 1) ** 0.8
    centres = rng.normal(size=(clusters, DIM)) / DIM**0.5
    bases = rng.normal(size=(planes, intrinsic, DIM)) / DIM**0.5
    for first in range(0, rows + 2 * QUERIES, _STEP):
        count = min(_STEP, rows + 2 * QUERIES - first)
        of = rng.choice(clusters, count, p=sizes / sizes.sum())
        where = 0.35 * rng.normal(size=(count, intrinsic)) * 0.93 ** np.arange(intrinsic)
        made = centres[of] + 0.3 * rng.normal(size=(count, DIM)) / DIM**0.5
        for plane in range(planes):
            made[of % planes == plane] += where[of % planes == plane] @ bases[plane]
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        kept = max(0, min(count, rows - first))
        queries.append(made[kept:].astype(np.float32))
        yield made[:kept]


def prepare(folder: Path, rows: int) -> None:
    """Write vectors, queries, true neighbours, and an embedding store."""
    put_aside: list[np.ndarray] = []
    append_vectors(folder / "vectors.i16", 0, DIM, make_vectors(rows, put_aside))
    queries = np.concatenate(put_aside)
    np.save(folder / "queries.npy", queries)
    kept = np.random.default_rng(1).random(rows) < KEPT
    np.save(folder / "kept.npy", kept)
    vectors = VectorFile(folder / "vectors.i16", rows, DIM)
    scores, true = vectors.nearest(queries, 21, None)
    np.save(folder / "true.npy", true[:, :K])
    np.save(folder / "true-kept.npy", vectors.nearest(queries, K, kept)[1])
    distances = np.sqrt(np.maximum(2 - 2 * scores, 1e-12))
    dimension = np.median(1 / np.mean(np.log(distances[:, -1:] / distances[:, :-1]), axis=1))
    print(
        f"{rows:,} x {DIM}: intrinsic dimension {dimension:.1f}, cosine of the nearest {np.median(scores[:, 0]):.2f}, "
        f"of the tenth {np.median(scores[:, 9]):.2f}; a filter keeps {kept.mean():.1%}"
    )
    spec = EncoderSpec(
        name="clusters",
        revision="1",
        weights_sha256="",
        sample_rate=16_000,
        window_samples=16_000,
        layers=("only",),
        pooling="none",
        dim=DIM,
    )
    store = EmbeddingStore.create(folder / "store", spec, policy=WindowPolicy(count=1))
    for first, block in vectors.blocks():
        names = [f"{row:08d}" for row in range(first, first + len(block))]
        store.append(names, np.zeros(len(names)), block[:, None])
    store.matrix()


Search = Callable[[np.ndarray, int], np.ndarray]
"""Returns the rows found for queries [shape=(q, dim)] at a search depth."""


class Eno:
    """An index of eno over a store."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind, self.place = folder, kind, folder / kind

    def build(self) -> None:
        """Build the index from the store, including tuning."""
        build_index(EmbeddingStore.open(self.folder / "store"), self.place, kind=self.kind, space="none")

    def open(self, kept: np.ndarray) -> tuple[list[int], Search, Search]:
        """Return search depths, the search, and the search with a filter."""
        index = SimilarityIndex.open(self.place)
        ann = index.ann
        return (
            [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512],
            lambda queries, depth: ann.search(queries, K, None, depth)[1],
            lambda queries, depth: ann.search(queries, K, kept, depth)[1],
        )


class HNSWLib:
    """Hnswlib, whose filter is a Python function."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder, folder / "hnswlib"

    def build(self) -> None:
        """Build the index."""
        import hnswlib

        index = hnswlib.Index("ip", DIM)
        index.init_index(len(np.load(self.folder / "kept.npy")), ef_construction=_EF_BUILD, M=_M)
        for _, vectors in load(self.folder):
            index.add_items(vectors)
        index.save_index(str(self.place))

    def open(self, kept: np.ndarray) -> tuple[list[int], Search, Search]:
        """Return search depths, the search, and the search with a filter."""
        import hnswlib

        index = hnswlib.Index("ip", DIM)
        index.load_index(str(self.place))

        def search(queries: np.ndarray, depth: int, **options: Any) -> np.ndarray:
            index.set_ef(depth)
            return index.knn_query(queries, K, num_threads=min(2, len(queries)), **options)[0].astype(np.int64)

        return _DEPTHS, search, lambda queries, depth: search(queries, depth, filter=lambda row: bool(kept[row]))


class USearch:
    """Usearch with float16. It has no filter in Python, so more results are requested and then filtered."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder, folder / "usearch"

    def _index(self) -> Any:
        from usearch.index import Index

        return Index(ndim=DIM, metric="ip", dtype="f16", connectivity=_M, expansion_add=_EF_BUILD)

    def build(self) -> None:
        """Build the index."""
        index = self._index()
        for first, vectors in load(self.folder):
            index.add(np.arange(first, first + len(vectors)), vectors)
        index.save(str(self.place))

    def open(self, kept: np.ndarray) -> tuple[list[int], Search, Search]:
        """Return search depths, the search, and the search with a filter."""
        index = self._index()
        index.load(str(self.place))

        def search(queries: np.ndarray, depth: int, k: int = K) -> np.ndarray:
            index.expansion_search = max(depth, k)
            found = index.search(queries, k, threads=min(2, len(queries))).keys
            return np.atleast_2d(found).astype(np.int64)

        return _DEPTHS, search, lambda queries, depth: among(search(queries, depth, round(depth / KEPT)), kept)


class Voyager:
    """Voyager with 8-bit floats. It has no filter, so more results are requested and then filtered."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder, folder / "voyager"

    def build(self) -> None:
        """Build the index."""
        from voyager import Index, Space, StorageDataType

        index = Index(Space.InnerProduct, DIM, M=_M, ef_construction=_EF_BUILD, storage_data_type=StorageDataType.E4M3)
        for _, vectors in load(self.folder):
            index.add_items(vectors)
        index.save(str(self.place))

    def open(self, kept: np.ndarray) -> tuple[list[int], Search, Search]:
        """Return search depths, the search, and the search with a filter."""
        from voyager import Index

        index = Index.load(str(self.place))

        def search(queries: np.ndarray, depth: int, k: int = K) -> np.ndarray:
            return index.query(queries, k, num_threads=2, query_ef=max(depth, k))[0].astype(np.int64)

        return _DEPTHS, search, lambda queries, depth: among(search(queries, depth, round(depth / KEPT)), kept)


def among(found: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return the first ten results of each query that pass the filter, padded with -1."""
    rows = np.full((len(found), K), -1, np.int64)
    for place, row in enumerate(found):
        some = row[kept[row]][:K]
        rows[place, : len(some)] = some
    return rows


def load(folder: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Iterate over blocks: the number of the first row, and float32 vectors."""
    rows = len(np.load(folder / "kept.npy"))
    return VectorFile(folder / "vectors.i16", rows, DIM).blocks()


def measure(folder: Path, name: str) -> dict[str, float]:
    """Build a library's index, or measure one that was built."""
    faiss.omp_set_num_threads(2)
    kind = name.partition("-")[2]
    made: dict[str, Callable[[], Any]] = {"hnswlib": lambda: HNSWLib(folder), "usearch": lambda: USearch(folder)}
    made |= {"voyager": lambda: Voyager(folder)}
    engine = Eno(folder, kind) if kind else made[name]()
    built = folder / f"{name}.json"
    if not built.exists():
        began = time.perf_counter()
        engine.build()
        built.write_text(json.dumps(time.perf_counter() - began))
        return {}
    size = sum(f.stat().st_size for f in ([engine.place] if engine.place.is_file() else engine.place.iterdir()))
    queries, kept = np.load(folder / "queries.npy"), np.load(folder / "kept.npy")
    before = resident()
    depths, search, filtered = engine.open(kept)
    row = {"build_s": json.loads(built.read_text()), "disk_mb": size / 1e6}
    row |= evaluate("", depths, search, queries, np.load(folder / "true.npy"))
    private, whole = (now - then for now, then in zip(resident(), before, strict=True))
    row |= {"private_mb": private, "resident_mb": whole}
    row |= evaluate("kept_", depths, filtered, queries, np.load(folder / "true-kept.npy"))
    return row | by_number(SimilarityIndex.open(engine.place), queries) if isinstance(engine, Eno) else row


def by_number(index: SimilarityIndex, queries: np.ndarray) -> dict[str, float]:
    """Measure the recall for numbers of neighbours, without a filter, and with one that excludes the nearest rows."""
    queries = queries[:: max(1, len(queries) // 100)]
    far = index.vectors(np.arange(len(index.live))) @ queries.mean(axis=0) < 0
    row = {}
    for name, allowed in (("", None), ("far_", far)):
        true = index.search(queries, max(_NUMBERS), allowed=allowed, exact=True)[1]
        for k in _NUMBERS:
            found = np.vstack([index.search(one[None], k, allowed=allowed)[1] for one in queries])
            row[f"{name}recall@{k}"] = recall_at(found, true[:, :k])
    return row


def evaluate(prefix: str, depths: list[int], search: Search, queries: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Find the sufficient search depth, then measure on the other queries."""
    # Filters in Python take seconds per query, so use fewer queries.
    fewer = slice(None) if not prefix else slice(None, None, 5)
    tune, test = (part[fewer] for part in np.split(queries, 2))
    true_tune, true_test = (part[fewer] for part in np.split(true, 2))
    for depth in depths:
        if recall_at(search(tune, depth), true_tune) >= TARGET:
            break
    for query in tune[:20]:
        search(query[None], depth)
    found, seconds = [], []
    for query in test:
        began = time.perf_counter()
        found.append(search(query[None], depth)[0])
        seconds.append(time.perf_counter() - began)
    began = time.perf_counter()
    search(test, depth)
    batch = time.perf_counter() - began
    p50, p99 = np.percentile(seconds, [50, 99]) * 1000
    result = {"depth": depth, "recall": recall_at(np.array(found), true_test), "p50_ms": p50, "p99_ms": p99}
    return {prefix + key: float(value) for key, value in (result | {"batch_qps": len(test) / batch}).items()}


def resident() -> tuple[float, float]:
    """Return the memory of this process in 10⁶ bytes: anonymous, and including mapped files."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    anonymous, whole = (int(fields[name].split()[0]) * 1024 / 1e6 for name in ("RssAnon", "VmRSS"))
    return anonymous, whole


def main() -> None:
    """Prepare the vectors, run every library in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="+", choices=LIBRARIES, default=LIBRARIES)
    parser.add_argument("--folder", type=Path, help="Cache of vectors and indexes")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.folder, arguments.measure)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "true-kept.npy").exists():
            prepare(folder, arguments.rows)
        print(f"M {_M}, ef_construction {_EF_BUILD}; depth of search for recall@{K} of {TARGET}")
        for name in arguments.only:
            command = [sys.executable, "-m", "scripts.bench.similarity", "--folder", str(folder), "--measure", name]
            if not (folder / f"{name}.json").exists():
                subprocess.run(command, check=True, capture_output=True)
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode:
                print(f"{name:<10}failed: {done.stderr.splitlines()[-1]}", flush=True)
                continue
            row = json.loads(done.stdout.splitlines()[-1])
            print(f"{name:<10}" + "  ".join(f"{key} {value:,.3g}" for key, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
