"""Looking after a store: is it whole, and how to take its vectors elsewhere."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eno.embeddings.store import EmbeddingStore
from eno.errors import StoreError
from eno.files import replace_file

VECTORS_FILE, IDS_FILE = "vectors.npy", "ids.csv"


@dataclass
class StoreCheck:
    """What `verify_store` found.

    Attributes
    ----------
    parts, tracks, windows, failures : int
        What could be read.
    problems : list of str
        What is wrong, and where; empty if nothing is.
    """

    parts: int = 0
    tracks: int = 0
    windows: int = 0
    failures: int = 0
    problems: list[str] = field(default_factory=list)


def verify_store(store: EmbeddingStore) -> StoreCheck:
    """Read all of a store, and compare what is there with what should be.

    Every page of every part is checked against its checksum, every vector for values that are not finite; no part
    may be missing between others, no window may be there twice, and no track may be both embedded and failed.

    Parameters
    ----------
    store : EmbeddingStore
        The store.

    Returns
    -------
    StoreCheck
        Counts and problems; nothing is changed.
    """
    check = StoreCheck()
    seen: dict[str, set[float]] = {}
    numbers = [int(part.stem) for part in store.part_paths()]
    for number in sorted(set(range(max(numbers, default=-1) + 1)) - set(numbers)):
        check.problems.append(f"part {number:06d} is missing; 'eno embed' does its tracks again")
    for part in store.part_paths():
        try:
            names, starts, vectors = store.read_part(part)
        except StoreError as error:
            check.problems.append(str(error))
            continue
        check.parts += 1
        check.windows += len(names)
        broken = ~np.isfinite(vectors.reshape(len(names), -1)).all(axis=1)
        if broken.any():
            check.problems.append(
                f"{part}: {int(broken.sum())} vectors are not finite, first of {names[broken.argmax()]}"
            )
        twice = set()
        for name, start in zip(names, starts.tolist(), strict=True):
            known = seen.setdefault(name, set())
            if start in known:
                twice.add(name)
            known.add(start)
        if twice:
            check.problems.append(f"{part}: windows of {len(twice)} tracks are there twice, first of {min(twice)}")
    failed = {failure.track_id for failure in store.failures()}
    check.tracks, check.failures = len(seen), len(failed)
    if both := failed & set(seen):
        check.problems.append(f"{len(both)} tracks are both embedded and among the failures, first {min(both)}")
    return check


def export_store(store: EmbeddingStore, folder: Path | str, *, windows: bool = False) -> int:
    """Write vectors as one NumPy array, and beside it what its rows are as CSV.

    Parameters
    ----------
    store : EmbeddingStore
        The store.
    folder : Path or str
        Receives ``vectors.npy`` [shape=(n, dim) or (n, layers, dim), dtype=float32] and ``ids.csv`` with the columns
        ``track_id`` and, for windows, ``start_s``, in the order of the rows.
    windows : bool
        One row a window, part by part, in place of the mean of each track.

    Returns
    -------
    int
        Rows.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if windows:
        return _export_windows(store, folder)
    names, matrix = store.matrix()
    with replace_file(folder / VECTORS_FILE) as temporary, temporary.open("wb") as file:
        np.save(file, matrix)
    _write_ids(folder / IDS_FILE, ["track_id"], [(name,) for name in names])
    return len(names)


def _export_windows(store: EmbeddingStore, folder: Path) -> int:
    shape = (int(store.summary()["windows"]), len(store.spec.layers), store.spec.dim)
    rows: list[tuple[str, float]] = []
    with replace_file(folder / VECTORS_FILE) as temporary:
        if shape[0] == 0:
            with temporary.open("wb") as file:
                np.save(file, np.zeros(shape, np.float32))
        else:
            target = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
            for part in store.part_paths():
                names, starts, vectors = store.read_part(part)
                target[len(rows) : len(rows) + len(names)] = vectors
                rows += zip(names, starts.tolist(), strict=True)
            target.flush()
    _write_ids(folder / IDS_FILE, ["track_id", "start_s"], rows)
    return shape[0]


def _write_ids(path: Path, columns: list[str], rows: list[tuple[str]] | list[tuple[str, float]]) -> None:
    with replace_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
