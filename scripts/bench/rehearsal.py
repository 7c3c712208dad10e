"""The commands that a user of a large collection runs, on a made-up one: time, CPU and peak memory of each.

Vectors and labels are those of `tagging.long_tail`, with one window per track; the store says that musicnn made them.
No audio is read, so importing, scanning, matching and embedding have their own benchmarks.

    python scripts/bench/rehearsal.py --tracks 300000 --labels 1049
    python scripts/bench/rehearsal.py --tracks 300000 --labels 1049 --folder made/ --only "tag"

With ``--folder`` the collection is kept there, and used again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy import sparse
from tagging import long_tail

from eno.audio.windows import WindowPolicy
from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.data.splits.artist_split import SPLIT_SCHEMA, write_splits
from eno.data.splits.stratify import SPLITS, split_by_group
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.encoders import load_encoder

_AT_ONCE = 50_000
# In a small process of its own, because the peak memory of a new process begins with that of its parent.
_MEASURE = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
status = subprocess.call(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
found = {"seconds": time.perf_counter() - began, "cpu": used.ru_utime + used.ru_stime, "mib": used.ru_maxrss / 1024}
json.dump(found | {"status": status}, open("usage.json", "w"))
"""
_TEST = 2_000  # rows of the made-up test set, which is not used: `eno split` divides the tracks

_BUILDS_INDEX = "similar, with index"

COMMANDS = {
    "train": ("train", "--store", "store", "--head", "auto"),
    "train linear": ("train", "--store", "store", "--head", "linear", "--model", "linear"),
    "evaluate": ("evaluate", "--model", "linear"),
    "tag, JSON Lines": ("tag", "--store", "store", "--model", "linear", "--json"),
    "tag, Parquet": ("tag", "--store", "store", "--model", "linear", "--format", "parquet", "--out", "tags.parquet"),
    "tag, albums": ("tag", "--store", "store", "--model", "linear", "--json", "--album"),
    _BUILDS_INDEX: ("similar", "--store", "store", "artist 5/0/0000150.flac"),
    "similar": ("similar", "--store", "store", "artist 5/0/0000150.flac"),
}


def make(folder: Path, tracks: int, labels: int, seed: int) -> None:
    """Make the store, the vocabulary and the splits of a collection."""
    spec = load_encoder("musicnn").spec
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        made = Path(temporary)
        long_tail.write(made, tracks, spec.dim * len(spec.layers), labels, test=_TEST, seed=seed)
        X, Y = np.load(made / "train.npy", mmap_mode="r"), sparse.load_npz(made / "train_labels.npz")
        artists = np.load(made / "train_rows.npz")["artists"]
        names = [f"artist {artist}/{row // 10 % 3}/{row:07d}.flac" for row, artist in enumerate(artists.tolist())]
        store = EmbeddingStore.create(folder / "store", spec, policy=WindowPolicy(count=1))
        for first in range(0, tracks, _AT_ONCE):
            rows = slice(first, min(first + _AT_ONCE, tracks))
            vectors = np.asarray(X[rows], np.float32).reshape(-1, len(spec.layers), spec.dim)
            store.append(names[rows], np.zeros(len(vectors)), vectors)
    root, half = DataRoot(folder), labels // 2
    encoder = LabelEncoder([f"genre {i:04d}" for i in range(half)], [f"mood {i:04d}" for i in range(labels - half)])
    root.label_encoder.parent.mkdir(parents=True, exist_ok=True)
    encoder.save(root.label_encoder)
    families = [
        [[encoder.all_labels[i] for i in Y.indices[start:end] if (i < half) == genre] for start, end in _spans(Y)]
        for genre in (True, False)
    ]
    columns = [
        names,
        [f"release/album/{name.rpartition('/')[0]}" for name in names],
        families[0],
        [[]] * tracks,
        families[1],
    ]
    arrays = [pa.array(values, kind.type) for values, kind in zip(columns, SPLIT_SCHEMA, strict=True)]
    groups = [f"artist {artist}" for artist in artists.tolist()]
    splits = split_by_group(Y.tocsr(), groups, val=0.1, test=0.15, seed=seed)
    write_splits(root.splits, pa.Table.from_arrays(arrays, schema=SPLIT_SCHEMA), splits, groups)
    print(", ".join(f"{name} {int((splits == name).sum())}" for name in SPLITS))


def _spans(Y: sparse.csr_array) -> zip[tuple[int, int]]:
    return zip(Y.indptr[:-1].tolist(), Y.indptr[1:].tolist(), strict=True)


def run(folder: Path, command: tuple[str, ...]) -> dict[str, float]:
    """Run a command of eno; return its time, memory and exit status."""
    arguments = [sys.executable, "-c", _MEASURE, sys.executable, "-m", "eno", *command, "--data-root", "."]
    path = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))
    with (folder / "output.txt").open("wb") as output:
        subprocess.run(
            arguments, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=os.environ | {"PYTHONPATH": path}
        )
    found: dict[str, float] = json.loads((folder / "usage.json").read_text())
    return found


def main() -> None:
    """Make a collection, run the commands, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tracks", type=int, default=30_000)
    parser.add_argument("--labels", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keep the collection here")
    parser.add_argument("--only", nargs="*", metavar="COMMAND", help=f"some of: {', '.join(COMMANDS)}")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not DataRoot(folder).label_encoder.is_file():
            make(folder, chosen.tracks, chosen.labels, chosen.seed)
        print(f"load {os.getloadavg()[0]:.1f}\n{'command':<22}{'seconds':>9}{'CPU':>9}{'MiB':>8}")
        for name, command in COMMANDS.items():
            if chosen.only is None or name in chosen.only:
                if name == _BUILDS_INDEX:  # of an earlier run
                    for made in ("index", "cache"):
                        shutil.rmtree(folder / "store" / made, ignore_errors=True)
                found = run(folder, command)
                times = f"{found['seconds']:>9.1f}{found['cpu']:>9.1f}{found['mib']:>8.0f}"
                print(f"{name:<22}{times}{'  failed' if found['status'] else ''}", flush=True)
                if found["status"]:
                    print((folder / "output.txt").read_text(errors="replace")[-2000:])


if __name__ == "__main__":
    main()
