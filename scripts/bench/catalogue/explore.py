"""How fast eno explores 300,000 albums, and finds labels that go together against pandas' crosstab, in one run.

Run it with nothing else on the machine: ``python -m scripts.bench.catalogue.explore [--albums N] [--crosstab N]``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pyarrow as pa

from eno.data.layout import DataRoot
from eno.data.lute.albums import ALBUM_SCHEMA, LABEL_COLUMNS, read_albums
from eno.data.tables import write_table
from eno.exploration.collect import co_occurrence, explore, label_statistics
from eno.exploration.statistics import CoOccurrence
from scripts.bench.catalogue.catalogue_data import albums

_T = TypeVar("_T")
GENRES, DESCRIPTORS = 2500, 500


def timed(work: Callable[[], _T]) -> tuple[float, _T]:
    """Seconds and result of one run."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def make_up(root: DataRoot, count: int) -> None:
    """Write so many albums."""
    rows = albums(count, genres=GENRES, descriptors=DESCRIPTORS)
    write_table(root.albums, pa.Table.from_pylist(list(rows), schema=ALBUM_SCHEMA))


def bench_explore(root: DataRoot, count: int) -> None:
    """Print time and memory of all figures."""
    seconds, _ = timed(lambda: explore(root))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"explore, {count:,} albums × {GENRES + DESCRIPTORS} labels: {seconds:.1f} s, peak memory {peak:.0f} MiB")


def with_eno(table: pa.Table) -> CoOccurrence | None:
    """Find the strongest pairs as the report does."""
    genres = label_statistics(table["primary_genres"], table["secondary_genres"])
    return co_occurrence(table, genres, label_statistics(table["descriptors"]))


def with_pandas(table: pa.Table, min_albums: int) -> pd.Series:
    """Find the lift of every pair with explode and crosstab [index=(label, label)]."""
    lists = table.select(["file_name", *LABEL_COLUMNS]).to_pandas().set_index("file_name")
    labels = pd.concat([lists[name].explode().dropna() for name in LABEL_COLUMNS])
    # As floats, since NumPy multiplies matrices of integers some hundred times more slowly.
    hot = pd.crosstab(labels.index, labels.to_numpy()).clip(upper=1).astype("float32")
    hot = hot.loc[:, hot.sum() >= min_albums]
    both, counts = hot.T @ hot, hot.sum()
    lift = both.mul(len(table)).div(counts, axis=0).div(counts, axis=1)
    pairs = lift.where(both >= min_albums).rename_axis(index="one", columns="other").stack().dropna()
    return pairs[pairs.index.get_level_values(0) < pairs.index.get_level_values(1)].sort_values(ascending=False)


def bench_pairs(table: pa.Table) -> None:
    """Print the time of the strongest pairs, ours against pandas'."""
    ours, found = timed(lambda: with_eno(table))
    if found is None:
        raise SystemExit("no pairs: give it more albums")
    theirs, lift = timed(lambda: with_pandas(table, found.min_albums))
    best = lift.head(len(found.pairs)).to_numpy()
    difference = max(abs(pair.lift / value - 1) for pair, value in zip(found.pairs, best, strict=True))
    print(f"pairs, {len(table):,} albums: pandas {theirs:.1f} s, eno {ours:.2f} s: {theirs / ours:.0f} times as fast")
    print(f"  largest relative difference of the lifts {difference:.1e}")


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--albums", type=int, default=300_000)
    parser.add_argument("--crosstab", type=int, default=30_000, help="albums for pandas; more need gigabytes")
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        root = DataRoot(Path(folder))
        # Each in a process of its own: the peak of one is not that of the other.
        for work in (make_up, bench_explore):
            process = spawn.Process(target=work, args=(root, arguments.albums))
            process.start()
            process.join()
        bench_pairs(read_albums(root.albums).slice(0, arguments.crosstab))


if __name__ == "__main__":
    main()
