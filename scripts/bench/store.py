"""How long a store takes to give one vector a track, the first time and after that, against reading it all at once.

The obvious way reads all parts into one table and averages by track; it is run in a process of its own, so that the
peaks of memory can be compared.

Run it with nothing else on the machine: ``python -m scripts.bench.store [--tracks 1000000] [--dim 512] [--windows 1]``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from eno.audio.windows import WindowPolicy
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.spec import EncoderSpec

_TRACKS_PER_PART = 60_000


def build(path: Path, tracks: int, windows: int, dim: int) -> None:
    """Make a store of random vectors."""
    spec = EncoderSpec(
        name="random",
        revision="1",
        weights_sha256="",
        sample_rate=16_000,
        window_samples=16_000,
        layers=("only",),
        pooling="none",
        dim=dim,
    )
    store = EmbeddingStore.create(path, spec, policy=WindowPolicy(count=windows))
    random = np.random.default_rng(0)
    step = max(1, _TRACKS_PER_PART // windows)
    for first in range(0, tracks, step):
        names = [f"artist {i % 9973}/album/{i:07d}.flac" for i in range(first, min(tracks, first + step))]
        ids = [name for name in names for _ in range(windows)]
        vectors = random.standard_normal((len(ids), 1, dim), dtype=np.float32)
        store.append(ids, np.tile(np.arange(windows, dtype=float), len(names)), vectors)


def by_store(path: Path) -> tuple[list[str], np.ndarray]:
    """Eno's way."""
    return EmbeddingStore.open(path).matrix()


def at_once(path: Path) -> tuple[list[str], np.ndarray]:
    """Everything into memory, then means by track."""
    table = pq.read_table(path / "parts").combine_chunks()
    raw = np.frombuffer(b"".join(table["vector"].to_pylist()), np.float16)
    values = raw.reshape(len(table), -1).astype(np.float32)
    names, inverse = np.unique(table["track_id"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    counts = np.bincount(inverse)
    sums = np.add.reduceat(values[order], np.concatenate([[0], np.cumsum(counts)[:-1]]), axis=0)
    return names.tolist(), sums / counts[:, None].astype(np.float32)


def measure(way: str, path: Path, results: multiprocessing.Queue[tuple[float, float, float]]) -> None:
    """Time one way, and what it takes of memory, mapped pages included."""
    before = _peak_mib()
    began = time.perf_counter()
    {"store": by_store, "at once": at_once}[way](path)
    seconds = time.perf_counter() - began
    results.put((seconds, _peak_mib(), before))


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Build a store and print time and memory of each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tracks", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--windows", type=int, default=1)
    arguments = parser.parse_args()
    result = arguments.tracks * arguments.dim * 4 / 2**20
    print(
        f"{arguments.tracks} tracks, {arguments.windows} windows each, {arguments.dim} values: result {result:.0f} MiB"
    )
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        build(path, arguments.tracks, arguments.windows, arguments.dim)
        times = {}
        for name, way in (("at once", "at once"), ("store, first time", "store"), ("store, again", "store")):
            results: multiprocessing.Queue[tuple[float, float, float]] = context.Queue()
            process = context.Process(target=measure, args=(way, path, results))
            process.start()
            seconds, peak, before = results.get()
            process.join()
            times[name] = seconds
            print(
                f"{name:<18} {seconds:6.2f} s, {times['at once'] / seconds:6.1f} times as fast; peak memory {peak:.0f} "
                f"MiB ({before:.0f} before), mapped pages included: {(peak - before) / result:.2f} of the result"
            )


if __name__ == "__main__":
    main()
