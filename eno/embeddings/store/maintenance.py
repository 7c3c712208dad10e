"""Verify, compact and export stores."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.parts import PART_BYTES, Part, PartRows
from eno.errors import StoreError
from eno.files import replace_file

OnProgress = Callable[[int, int], None] | None

VECTORS_FILE, IDS_FILE = "vectors.npy", "ids.csv"


@dataclass
class StoreCheck:
    """Result of `verify_store`.

    Attributes
    ----------
    dead : int
        Windows of tracks that were deleted or embedded again; `compact_store` removes them.
    problems : list of str
        What is wrong, and where.
    """

    parts: int = 0
    tracks: int = 0
    windows: int = 0
    failures: int = 0
    dead: int = 0
    problems: list[str] = field(default_factory=list)


def verify_store(store: EmbeddingStore, *, on_progress: OnProgress = None) -> StoreCheck:
    """Read a whole store and check it: checksums, missing parts and rows, duplicate windows, non-finite vectors.

    `on_progress` receives the number of checked parts and of all parts.
    """
    while True:
        before = store.parts.all()
        check = _verify(store, on_progress)
        if not check.problems or set(before) <= set(store.parts.all()):
            return check
        # Parts have been merged meanwhile, which would look like damage.


def _verify(store: EmbeddingStore, on_progress: OnProgress) -> StoreCheck:
    check = StoreCheck()
    expected = store.ledger.counts()
    for number in sorted(expected.keys() - {part.number for part in store.parts.all()}):
        check.problems.append(f"part {number:06d} is missing; 'eno embed' will embed its tracks again")
    rows, parts = 0, store.parts.all()
    for done, part in enumerate(parts, 1):
        try:
            windows = store.parts.read(part)
            store.parts.tracks(part)
        except StoreError as error:
            check.problems.append(str(error))
        else:
            check.parts += 1
            rows += len(windows.starts_s)
            problems = _problems_of(windows, expected.get(part.number, len(windows.starts_s)))
            check.problems += [f"{store.folder}/{part.entry.name}: {problem}" for problem in problems]
        if on_progress:
            on_progress(done, len(parts))
    if check.parts < len(parts):
        return check  # without all parts it is unknown which windows are outdated
    tracks = store.tracks()
    check.tracks, check.windows = len(tracks), pc.sum(tracks["windows"]).as_py() or 0
    check.dead = rows - check.windows
    failed = {failure.track_id for failure in store.ledger.failures()}
    check.failures = len(failed)
    if both := failed & set(tracks["track_id"].to_pylist()):
        check.problems.append(f"{len(both)} tracks are both embedded and among the failures, first {min(both)}")
    return check


def _problems_of(windows: PartRows, expected: int) -> list[str]:
    problems = []
    if len(windows.starts_s) != expected:
        problems.append(f"has {len(windows.starts_s)} windows, was written with {expected}")
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
    """Result of `compact_store`; `removed` is the number of outdated windows."""

    parts_before: int
    parts_after: int
    bytes_before: int
    bytes_after: int
    removed: int


def compact_store(store: EmbeddingStore, *, part_bytes: int = PART_BYTES, on_progress: OnProgress = None) -> Compaction:
    """Remove outdated windows and those of deleted files, and merge small parts up to `part_bytes`.

    It may be interrupted at any time. `on_progress` receives the number of parts done and of all parts.

    Raises
    ------
    StoreError
        Another process is writing, or a part is damaged.
    """
    with store.writing() as lock:
        before = store.parts.all()
        tracks, amended = store.tracks(), store.ledger.amendments()
        live = dict.fromkeys((part.number for part in before), 0)
        counted = tracks.group_by("part").aggregate([("windows", "sum")])
        live |= dict(zip(counted["part"].to_pylist(), counted["windows_sum"].to_pylist(), strict=True))
        removed, done, kept = 0, 0, []
        for group in _groups(before, part_bytes):
            done += len(group)
            if on_progress:
                on_progress(done, len(before))
            written = sum(pc.sum(store.parts.tracks(part)["windows"]).as_py() or 0 for part in group)
            dead = written - sum(live[part.number] for part in group)
            if len(group) == 1 and not dead:
                kept += [part.number for part in group]
                continue
            names = tracks.filter(pc.is_in(tracks["part"], pa.array([part.number for part in group], pa.int32())))
            rows = [
                _live_rows(store.parts.read_whole(part), names.filter(pc.equal(names["part"], part.number)))
                for part in group
            ]
            lock.check()
            store.replace_parts(group, pa.concat_tables(rows))
            removed += dead
        here = tracks.filter(pc.is_in(tracks["part"], pa.array(kept, pa.int32())))["track_id"]
        store.ledger.write_amendments(amended.filter(pc.is_in(amended["track_id"], here.combine_chunks())))
        after = store.parts.all()
    bytes_before, bytes_after = (sum(part.entry.size for part in parts) for parts in (before, after))
    return Compaction(len(before), len(after), bytes_before, bytes_after, removed)


def _groups(parts: list[Part], part_bytes: int) -> Iterator[list[Part]]:
    """Group consecutive parts up to the size of a new one."""
    group: list[Part] = []
    for part in parts:
        if group and sum(one.entry.size for one in (*group, part)) > part_bytes:
            yield group
            group = []
        group.append(part)
    if group:
        yield group


def _live_rows(table: pa.Table, tracks: pa.Table) -> pa.Table:
    """Select the rows of tracks, with the present size and modification time of their files."""
    places = pc.index_in(table["track_id"], value_set=tracks["track_id"].combine_chunks())
    live = places.is_valid()
    table, now = table.filter(live), tracks.take(places.filter(live))
    for name in ("size", "mtime_ns"):
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), now[name])
    return table


def export_store(
    store: EmbeddingStore, folder: Path | str, *, windows: bool = False, on_progress: OnProgress = None
) -> int:
    """Export the means of tracks, or all windows; return the number of rows.

    The files are ``vectors.npy`` [shape=(n, dim) or (n, layers, dim), dtype=float32] and ``ids.csv`` with the columns
    ``track_id`` and, for windows, ``start_s``. `on_progress` receives the number of rows done and of all rows.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if windows:
        return _export_windows(store, folder, on_progress)
    names, matrix = store.matrix()
    with replace_file(folder / VECTORS_FILE) as temporary, temporary.open("wb") as file:
        np.save(file, matrix)
    if on_progress:
        on_progress(len(names), len(names))
    _write_ids(folder / IDS_FILE, ["track_id"], [(name,) for name in names])
    return len(names)


def _export_windows(store: EmbeddingStore, folder: Path, on_progress: OnProgress) -> int:
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
                if on_progress:
                    on_progress(len(ids), shape[0])
            target.flush()
    _write_ids(folder / IDS_FILE, ["track_id", "start_s"], ids)
    return shape[0]


def _write_ids(path: Path, columns: list[str], rows: list[tuple[str]] | list[tuple[str, float]]) -> None:
    with replace_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
