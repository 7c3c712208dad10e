"""Compare a collection with a store: what a run has to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.library.files import Track, Tracks
from eno.embeddings.job.executor import Task
from eno.embeddings.store.ledger import AMENDMENT_SCHEMA, Failure, Ledger
from eno.errors import StoreError
from eno.files import Section

_NONE = -1  # in place of a row, a size or a time


class Amendment(NamedTuple):
    """A change since a part was written; see `eno.embeddings.store.ledger.AMENDMENT_SCHEMA`."""

    gone: bool
    size: int | None = None
    mtime_ns: int | None = None


@dataclass
class Plan:
    """What a run has to do.

    Attributes
    ----------
    tasks : list of Task
        Tracks that are new, have changed, or are tried again.
    skipped, vanished : int
        Tracks that are up to date, and tracks in the store whose file was deleted.
    held : set of str
        Tracks among the tasks and failures that have vectors of an earlier file.
    failures : dict of str to Failure
        Tracks that failed before and are not tried again.
    amendments : dict of str to Amendment
        The amendments that the store should have.
    moved : dict of str to str
        New tracks among the tasks → the track without a file, of the same size, that each may be under another name.
    """

    tasks: list[Task] = field(default_factory=list)
    skipped: int = 0
    vanished: int = 0
    held: set[str] = field(default_factory=set)
    failures: dict[str, Failure] = field(default_factory=dict)
    amendments: dict[str, Amendment] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)


def make_plan(tracks: Tracks, held: pa.Table, ledger: Ledger, *, retry_failed: bool) -> Plan:
    """Compare the tracks of a collection with those of a store.

    A file is unchanged if it has the size and modification time with which it was embedded, or if these are unknown; a
    section of a file also if it begins and ends where it did.
    Otherwise it becomes a task, which compares its samples: also with those of a track without a file, since the file
    may have been renamed. `held` is ``store.tracks(also_gone=True)``.

    Raises
    ------
    StoreError
        The store has tracks, but none of this collection.
    """
    places = pc.index_in(tracks.ids, held["track_id"].combine_chunks())
    rows = pc.fill_null(places, _NONE).to_numpy()
    moved = _moved(tracks, held, rows)
    if len(held) and len(tracks) and (rows == _NONE).all() and not moved:
        raise StoreError(
            f"{ledger.folder}: holds {len(held)} tracks, for instance {held['track_id'][0]}, and none of them is in "
            "this folder. If this is another collection, name another store with --store."
        )
    plan = Plan()
    failed = {failure.track_id: failure for failure in ledger.failures()}
    same = _unchanged(tracks, held, rows)
    plan.skipped = int(same.sum())
    for place in np.flatnonzero(~same).tolist():
        track, row = tracks[place], int(rows[place])
        if row != _NONE:
            plan.held.add(track.id)
        failure = failed.get(track.id)
        if failure and not retry_failed and _is_same(failure, track):
            plan.failures[track.id] = failure
            continue
        if row == _NONE and place in moved:
            row = moved[place]
            plan.moved[track.id] = held["track_id"][row].as_py()
        plan.tasks.append(Task(track, held["samples_hash"][row].as_py() if row != _NONE else None))
    _amend(plan, tracks, held, rows, same, read_amendments(ledger))
    return plan


def _is_same(failure: Failure, track: Track) -> bool:
    """Whether a track is still what failed. The path of a file may differ, but not the limits of a section."""
    limits = track.place.removeprefix(track.file)
    return failure.path.endswith(limits) and (failure.size, failure.mtime_ns) == (track.size, track.mtime_ns)


def _moved(tracks: Tracks, held: pa.Table, rows: np.ndarray) -> dict[int, int]:
    """Map the places of new tracks to the rows of tracks without a file that have the same size.

    Of several with that size, the one with the same modification time, which renaming does not change. Sections of a
    file must begin and end at the same places.
    """
    missing = np.ones(len(held), bool)
    missing[rows[rows != _NONE]] = False
    new = np.flatnonzero(rows == _NONE)
    if not missing.any() or not len(new):
        return {}
    sizes, times = (pc.fill_null(held[name], _NONE).to_numpy() for name in ("size", "mtime_ns"))
    sections = _sections(held)
    stamps: dict[tuple[int, int, Section | None], int] = {}
    of_size: dict[tuple[int, Section | None], list[int]] = {}
    for row in np.flatnonzero(missing & (sizes >= 0) & held["samples_hash"].is_valid().to_numpy()).tolist():
        stamps[int(sizes[row]), int(times[row]), sections.get(row)] = row
        of_size.setdefault((int(sizes[row]), sections.get(row)), []).append(row)
    found: dict[int, int] = {}
    for place in new.tolist():
        size, section = int(tracks.sizes[place]), tracks[place].section
        several = of_size.get((size, section), [])
        row = stamps.get((size, int(tracks.mtimes_ns[place]), section), several[0] if len(several) == 1 else _NONE)
        if row != _NONE:
            found[place] = row
    return found


def _unchanged(tracks: Tracks, held: pa.Table, rows: np.ndarray) -> np.ndarray:
    same: np.ndarray = rows != _NONE
    for name, now in (("size", tracks.sizes), ("mtime_ns", tracks.mtimes_ns)):
        then = pc.fill_null(held[name], _NONE).to_numpy()
        then = np.append(then, _NONE)[rows]  # row -1 is the last one
        same &= (then == _NONE) | (then == now)
    sections = _sections(held)
    for place in np.flatnonzero(same & tracks.are_sections).tolist():
        same[place] = sections.get(int(rows[place])) == tracks[place].section
    return same


def _sections(held: pa.Table) -> dict[int, Section]:
    """Return the rows of tracks that are sections of a file."""
    limits = held.select(["section_start_s", "section_end_s"])
    rows = np.flatnonzero(limits["section_start_s"].is_valid().to_numpy())
    found = limits.take(pa.array(rows, pa.int64())).to_pydict().values()
    return {row: Section(*one) for row, one in zip(rows.tolist(), zip(*found, strict=True), strict=True)}


def _amend(
    plan: Plan,
    tracks: Tracks,
    held: pa.Table,
    rows: np.ndarray,
    same: np.ndarray,
    earlier: dict[str, Amendment],
) -> None:
    missing = np.ones(len(held), bool)
    missing[rows[rows != _NONE]] = False
    gone = held["track_id"].filter(pa.array(missing)).to_pylist()
    deleted = tracks.deleted(gone)
    for name in gone:
        if name in deleted:
            plan.amendments[name] = earlier.get(name, Amendment(gone=True))._replace(gone=True)
        elif name in earlier:  # the others may lie in a folder that is not mounted
            plan.amendments[name] = earlier[name]
    plan.vanished = sum(amendment.gone for amendment in plan.amendments.values())
    for name in plan.failures.keys() & plan.held:
        plan.amendments[name] = Amendment(gone=True)
    if earlier:
        here = {tracks[place].id for place in np.flatnonzero(same).tolist()}
        back = {name: amendment._replace(gone=False) for name, amendment in earlier.items() if name in here}
        plan.amendments |= {name: amendment for name, amendment in back.items() if amendment.size is not None}
    unknown = np.append(held["size"].is_null().to_numpy(), False)[rows] & same
    for place in np.flatnonzero(unknown).tolist():
        track = tracks[place]
        if track.size is not None:
            plan.amendments[track.id] = Amendment(gone=False, size=track.size, mtime_ns=track.mtime_ns)


def read_amendments(ledger: Ledger) -> dict[str, Amendment]:
    """Read the amendments of a ledger, by track."""
    rows = ledger.amendments().to_pylist()
    return {row["track_id"]: Amendment(row["gone"], row["size"], row["mtime_ns"]) for row in rows}


def write_amendments(ledger: Ledger, amendments: dict[str, Amendment]) -> None:
    """Replace the amendments in a ledger, if they differ."""
    if amendments != read_amendments(ledger):
        rows = [{"track_id": name, **amendment._asdict()} for name, amendment in amendments.items()]
        ledger.write_amendments(pa.Table.from_pylist(rows, AMENDMENT_SCHEMA))
