"""How fast labels are encoded, counted and divided, against the obvious ways, in one run.

Encoding: one call against the guide's loop over albums and against scikit-learn's MultiLabelBinarizer. The vocabulary
and the split are timed for themselves; the split also against assigning artists at random, by how even the labels are.

Run it with nothing else on the machine: ``python -m scripts.bench.catalogue.labels [--albums N]``.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pyarrow as pa
from sklearn.preprocessing import MultiLabelBinarizer

from eno.data.labels.encoder import LabelEncoder
from eno.data.labels.vocabulary import build_vocabulary
from eno.data.lute.albums import ALBUM_SCHEMA, LABEL_COLUMNS
from eno.data.splits.artist_split import SPLIT_SCHEMA, describe_splits, make_splits
from eno.data.splits.stratify import SPLITS
from scripts.bench.catalogue.catalogue_data import words, zipf_lists

T = TypeVar("T")


def timed(name: str, work: Callable[[], T]) -> tuple[T, float]:
    """Run something once and print how long it took."""
    began = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - began
    print(f"{name:<52} {seconds:6.2f} s")
    return result, seconds


def make_albums(count: int, genres: int, descriptors: int) -> pa.Table:
    """Make up the columns that matter here, with a third as many artists as albums."""
    rng = np.random.default_rng(0)
    genre_names = [f"{name} {i}" for i, name in enumerate(words(rng, genres, 2, 3))]
    descriptor_names = [f"{name} {i}" for i, name in enumerate(words(rng, descriptors, 2, 3))]
    lists = [zipf_lists(rng, count, genre_names, 1.8), zipf_lists(rng, count, genre_names, 1.5)]
    lists.append(zipf_lists(rng, count, descriptor_names, 8.0))
    owners = rng.integers(0, count // 3, count).tolist()
    artists = [[{"name": f"artist {one}", "file_name": f"artist/{one}"}] for one in owners]
    columns = {"file_name": [f"album {i}" for i in range(count)], "artists": artists}
    columns |= dict(zip(LABEL_COLUMNS, lists, strict=True))
    return pa.Table.from_pydict(columns, schema=pa.schema([f for f in ALBUM_SCHEMA if f.name in columns]))


def main() -> None:
    """Run all and print ratios and the peak of memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--albums", type=int, default=300_000)
    count = parser.parse_args().albums
    albums = make_albums(count, 1000, 500)
    fields = [albums[name] for name in LABEL_COLUMNS]
    lists = [field.to_pylist() for field in fields]
    names = [sorted({name for field in several for row in field for name in row}) for several in (lists[:2], lists[2:])]
    encoder = LabelEncoder(*names)
    print(f"{count} albums, {len(encoder)} labels")
    matrix, ours = timed("encode_many", lambda: encoder.encode_many(*fields))
    some = count // 30
    _, loop = timed(
        f"the guide's loop over {some} of them",
        lambda: [encoder.encode(*row) for row in zip(*(f[:some] for f in lists), strict=True)],
    )
    binarizer = MultiLabelBinarizer(classes=encoder.all_labels, sparse_output=True)
    joined = [[*a, *b, *c] for a, b, c in zip(*lists, strict=True)]
    other, sklearn = timed("MultiLabelBinarizer(sparse_output=True)", lambda: binarizer.fit_transform(joined))
    same = (matrix.astype(bool) != other.astype(bool)).nnz == 0
    print(f"  {loop * 30 / ours:.0f} and {sklearn / ours:.1f} times as fast; same values: {same}")

    (vocabulary, _), _ = timed("build_vocabulary, 100 albums by 10 artists", lambda: build_vocabulary(albums))
    tracks = pa.Table.from_arrays([albums["file_name"], albums["file_name"], *fields], names=SPLIT_SCHEMA.names)
    shares = {"val": 0.15, "test": 0.15, "seed": 0}
    parts, _ = timed(
        f"make_splits, {len(vocabulary)} labels", lambda: make_splits(tracks, albums, vocabulary, **shares)
    )
    owners = np.array([several[0]["name"] for several in albums["artists"].to_pylist()])
    unique, artist = np.unique(owners, return_inverse=True)
    chance = np.random.default_rng(0).choice(SPLITS, len(unique), p=[0.7, 0.15, 0.15])[artist]
    for name, chosen in (("eno", parts), ("random artists", chance)):
        report = describe_splits(tracks, albums, vocabulary, chosen)
        print(f"  {name}: worst label gap {report.worst_gap:.2%}, mean {report.mean_gap:.3%}")
    print(
        f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB, the lists of Python included"
    )


if __name__ == "__main__":
    main()
