"""Looking after a store: is it whole, what can go, and how to take its vectors elsewhere."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.parts import PART_BYTES, Part, Windows
from eno.errors import StoreError
from eno.files import replace_file

VECTORS_FILE, IDS_FILE = "vectors.npy", "ids.csv"


@dataclass
class StoreCheck:
    """What `verify_store` found.

    Attributes
    ----------
    parts, tracks, windows, failures : int
        What could be read, and counts.
    dead : int
        Windows of tracks that vanished or were embedded anew later; `compact_store` removes them.
    problems : list of str
        What is wrong, and where; empty if nothing is.
    """

    parts: int = 0
    tracks: int = 0
    windows: int = 0
    failures: int = 0
    dead: int = 0
    problems: list[str] = field(default_factory=list)


def verify_store(store: EmbeddingStore) -> StoreCheck:
    """Read all of a store, and compare what is there with what should be.

    Every page of every part is checked against its checksum, every vector for values that are not finite; all parts
    that were written are there with all their rows, no window is there twice, and no track is both embedded and failed.

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
    expected = store.ledger.counts()
    for number in sorted(expected.keys() - {part.number for part in store.parts()}):
        check.problems.append(f"part {number:06d} is missing; 'eno embed' does its tracks again")
    rows = 0
    for part in store.parts():
        try:
            windows = store.read_part(part)
            store.part_tracks(part)
        except StoreError as error:
            check.problems.append(str(error))
            continue
        check.parts += 1
        rows += len(windows.starts_s)
        check.problems += [f"{store.folder}/{part.entry.name}: {problem}" for problem in _problems_of(windows)]
        if (due := expected.get(part.number, len(windows.starts_s))) != len(windows.starts_s):
            check.problems.append(
                f"{store.folder}/{part.entry.name}: has {len(windows.starts_s)} windows, was written with {due}"
            )
    if check.parts < len(store.parts()):
        return check  # which windows count is not known without all parts
    tracks = store.tracks()
    check.tracks, check.windows = len(tracks), pc.sum(tracks["windows"]).as_py() or 0
    check.dead = rows - check.windows
    failed = {failure.track_id for failure in store.ledger.failures()}
    check.failures = len(failed)
    if both := failed & set(tracks["track_id"].to_pylist()):
        check.problems.append(f"{len(both)} tracks are both embedded and among the failures, first {min(both)}")
    return check


def _problems_of(windows: Windows) -> list[str]:
    problems = []
    broken = ~np.isfinite(windows.vectors).all(axis=1)
    if broken.any():
        name = windows.track_ids[int(broken.argmax())].as_py()
        problems.append(f"{int(broken.sum())} vectors are not finite, first of {name}")
    codes = windows.track_ids.indices.to_numpy()
    rows, counts = np.unique(np.stack([codes, windows.starts_s]), axis=1, return_counts=True)
    if (counts > 1).any():
        names = windows.track_ids.dictionary.take(pa.array(np.unique(rows[0, counts > 1]).astype(int))).to_pylist()
        problems.append(f"windows of {len(names)} tracks are there twice, first of {min(names)}")
    return problems


@dataclass(frozen=True)
class Compaction:
    """What `compact_store` did.

    Attributes
    ----------
    parts_before, parts_after, bytes_before, bytes_after : int
        Parts and their size.
    removed : int
        Windows that no longer counted.
    """

    parts_before: int
    parts_after: int
    bytes_before: int
    bytes_after: int
    removed: int


def compact_store(store: EmbeddingStore, *, part_bytes: int = PART_BYTES) -> Compaction:
    """Remove what no longer counts, and merge small parts.

    Vectors of files that vanished are lost for good; until then they count again as soon as the files are back. It may
    be stopped at any time: of a part and what it was merged into, only the newer counts.

    Parameters
    ----------
    store : EmbeddingStore
        The store; nobody else may be writing.
    part_bytes : int
        About this large a part becomes.

    Returns
    -------
    Compaction

    Raises
    ------
    StoreError
        The store is being written, or a part is damaged.
    """
    with store.writing() as lock:
        before = store.parts()
        tracks, amended = store.tracks(), store.ledger.amendments()
        live = dict.fromkeys((part.number for part in before), 0)
        counted = tracks.group_by("part").aggregate([("windows", "sum")])
        live |= dict(zip(counted["part"].to_pylist(), counted["windows_sum"].to_pylist(), strict=True))
        removed, kept = 0, []
        for group in _groups(before, part_bytes):
            written = sum(pc.sum(store.part_tracks(part)["windows"]).as_py() or 0 for part in group)
            dead = written - sum(live[part.number] for part in group)
            if len(group) == 1 and not dead:
                kept += [part.number for part in group]
                continue
            names = tracks.filter(pc.is_in(tracks["part"], pa.array([part.number for part in group], pa.int32())))
            rows = [
                _live_rows(store.read_part_table(part), names.filter(pc.equal(names["part"], part.number)))
                for part in group
            ]
            lock.check()
            store.replace_parts(group, pa.concat_tables(rows))
            removed += dead
        here = tracks.filter(pc.is_in(tracks["part"], pa.array(kept, pa.int32())))["track_id"]
        store.ledger.write_amendments(amended.filter(pc.is_in(amended["track_id"], here.combine_chunks())))
        after = store.parts()
    bytes_before, bytes_after = (sum(part.entry.size for part in parts) for parts in (before, after))
    return Compaction(len(before), len(after), bytes_before, bytes_after, removed)


def _groups(parts: list[Part], part_bytes: int) -> Iterator[list[Part]]:
    """Neighbours that together make a part of the wanted size."""
    group: list[Part] = []
    for part in parts:
        if group and sum(one.entry.size for one in (*group, part)) > part_bytes:
            yield group
            group = []
        group.append(part)
    if group:
        yield group


def _live_rows(table: pa.Table, tracks: pa.Table) -> pa.Table:
    """Rows of tracks, with the size and time that their files have by now."""
    places = pc.index_in(table["track_id"], value_set=tracks["track_id"].combine_chunks())
    live = places.is_valid()
    table, now = table.filter(live), tracks.take(places.filter(live))
    for name in ("size", "mtime_ns"):
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), now[name])
    return table


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
    tracks = store.tracks()
    names = tracks["track_id"].to_numpy()
    shape = (pc.sum(tracks["windows"]).as_py() or 0, len(store.spec.layers), store.spec.dim)
    ids: list[tuple[str, float]] = []
    with replace_file(folder / VECTORS_FILE) as temporary:
        if shape[0] == 0:
            with temporary.open("wb") as file:
                np.save(file, np.zeros(shape, np.float32))
        else:
            target = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
            for rows, starts, vectors in store.live_windows(tracks):
                target[len(ids) : len(ids) + len(rows)] = vectors.reshape(len(rows), *shape[1:])
                ids += zip(names[rows].tolist(), starts.tolist(), strict=True)
            target.flush()
    _write_ids(folder / IDS_FILE, ["track_id", "start_s"], ids)
    return shape[0]


def _write_ids(path: Path, columns: list[str], rows: list[tuple[str]] | list[tuple[str, float]]) -> None:
    with replace_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
