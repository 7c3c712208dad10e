"""Embed every track of a collection into a store."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.audio.track_decoding import FileStamp
from eno.data.library.files import Track, find_tracks
from eno.embeddings.job.executor import Embedded, Executor, Failed, Result, Untouched
from eno.embeddings.job.pipeline import LocalExecutor
from eno.embeddings.job.plan import Amendment, Plan, make_plan, write_amendments
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.ledger import Failure
from eno.embeddings.store.lock import WriterLock
from eno.embeddings.store.parts import PART_BYTES
from eno.encoders import Encoder
from eno.files import AudioRoots, printable

_FLUSH_S = 60.0
"""Maximum time between writes, and so the work that is lost when the job is killed."""


@dataclass(frozen=True)
class EmbedProgress:
    """Progress of a run.

    Attributes
    ----------
    done, failed, total : int
        Processed tracks, failed ones among them, and all tracks of this run.
    audio_s : float
        Duration of the embedded tracks.
    """

    done: int
    failed: int
    total: int
    audio_s: float
    seconds: float

    @property
    def tracks_per_s(self) -> float:
        """Tracks done per second."""
        return self.done / max(self.seconds, 1e-9)

    @property
    def audio_hours_per_hour(self) -> float:
        """Hours of audio embedded per hour."""
        return self.audio_s / max(self.seconds, 1e-9)

    @property
    def eta_s(self) -> float | None:
        """Seconds that the remaining tracks will take at this rate; None before anything is done."""
        return (self.total - self.done) / self.tracks_per_s if self.done else None


@dataclass(frozen=True)
class EmbedReport:
    """Result of a run. ``found == embedded + skipped + failed + left``.

    Attributes
    ----------
    found : int
        Audio files in the collection.
    embedded, skipped, failed : int
        Tracks embedded by this run, by earlier runs, and not at all (the reasons are in the store's ledger).
    left : int
        Tracks not reached, because the run was interrupted.
    changed : int
        Embedded tracks whose file had changed.
    vanished : int
        Tracks in the store whose file was deleted. They do not count until their files are back;
        `eno.embeddings.store.maintenance.compact_store` removes them.
    moved : dict of str to str
        Tracks that have the samples of an earlier one whose file is gone, and that track. They are among the skipped.
    unread : dict of str to str
        Folders that cannot be listed, and why.
    left_out : dict of str to int
        Numbers of other files by suffix, and of folders that were not entered by name.
    seconds, audio_s : float
        Time that the run took, and duration of the tracks that it embedded.
    """

    found: int = 0
    embedded: int = 0
    skipped: int = 0
    failed: int = 0
    left: int = 0
    changed: int = 0
    vanished: int = 0
    failures: list[Failure] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    audio_s: float = 0.0

    @property
    def coverage(self) -> float:
        """Share of the files that the store holds; 1 if there are no files."""
        return (self.embedded + self.skipped) / self.found if self.found else 1.0


def embed_folder(
    audio_roots: AudioRoots | Path | str | Iterable[Path | str],
    encoder: Encoder,
    store: EmbeddingStore,
    *,
    executor: Executor | None = None,
    retry_failed: bool = False,
    on_progress: Callable[[EmbedProgress], None] | None = None,
) -> EmbedReport:
    """Bring a store up to date with a collection: embed new and changed files, drop deleted ones.

    Parameters
    ----------
    audio_roots : AudioRoots, Path, str, or iterable of Path or str
        One audio folder or several; see `eno.data.library.files.find_tracks`. Tracks that may be in a folder that
        cannot be read or is not mounted do not count as deleted, see `eno.data.library.files.Tracks.deleted`.
    store : EmbeddingStore
        A store of this encoder. Its tracks are skipped, so an interrupted run can be continued.
    executor : Executor, optional
        By default a `LocalExecutor`.
    retry_failed : bool
        Also try unchanged files that failed in an earlier run.

    Returns
    -------
    EmbedReport
        Also after Ctrl-C or SIGTERM: the first finishes the tracks under way, a second one does not; results are saved.

    Raises
    ------
    FingerprintMismatch
        The store belongs to another encoder.
    StoreError
        Another process is writing to the store, it is not writable, or it belongs to another collection.
    """
    began = time.monotonic()
    store.require(encoder.spec)
    executor = executor or LocalExecutor(encoder, store.policy)
    with store.writing() as lock, _Interrupts() as stop:
        with ThreadPoolExecutor(1) as beside:
            held = beside.submit(store.tracks, also_gone=True)
            tracks = find_tracks(audio_roots)
        seen: dict[str, Any] = {
            "unread": {printable(folder): reason for folder, reason in tracks.unread.items()},
            "left_out": dict(tracks.left_out.most_common()),
        }
        if not tracks:  # more likely an unmounted share than a deleted collection, so nothing is changed
            return EmbedReport(seconds=time.monotonic() - began, **seen)
        plan = make_plan(tracks, held.result(), store.ledger, retry_failed=retry_failed)
        run = _Run(store, plan, lock)
        try:
            run.begin()
            for result in executor(plan.tasks, stop):
                run.take(result)
                if on_progress:
                    on_progress(run.progress())
        except KeyboardInterrupt:
            pass  # what is done is saved below, and the report counts the rest as `left`
        finally:
            run.end()
    failures = run.failures
    done = run.embedded + plan.skipped + run.untouched + len(failures)
    return EmbedReport(
        found=len(tracks),
        embedded=run.embedded,
        skipped=plan.skipped + run.untouched,
        failed=len(failures),
        left=len(tracks) - done,
        changed=run.changed,
        vanished=plan.vanished,
        moved=run.moved,
        failures=sorted(failures.values(), key=lambda failure: failure.track_id),
        seconds=time.monotonic() - began,
        audio_s=run.audio_s,
        **seen,
    )


class _Interrupts:
    """Turns the first Ctrl-C or SIGTERM into a request to stop; the second raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        return self._asked

    def __enter__(self) -> _Interrupts:
        if threading.current_thread() is threading.main_thread():  # other threads cannot set handlers
            self._before = {one: signal.signal(one, self._ask) for one in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_error: object) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)

    def _ask(self, _signal: int, _frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True


class _Run:
    """Collects results and writes them to the store in a thread."""

    def __init__(self, store: EmbeddingStore, plan: Plan, lock: WriterLock) -> None:
        self.failures = dict(plan.failures)
        self.embedded = self.untouched = self.changed = 0
        self.audio_s = 0.0
        self.moved: dict[str, str] = {}
        self._store, self._plan, self._lock = store, plan, lock
        self._amendments = dict(plan.amendments)
        self._began = self._flushed = time.monotonic()
        self._waiting: list[Embedded] = []
        self._moving: dict[str, FileStamp] = {}
        self._bytes = 0
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._writing: Future[None] | None = None

    def begin(self) -> None:
        """Record which files were deleted or are back, before anything else."""
        write_amendments(self._store.ledger, self._amendments)

    def take(self, result: Result) -> None:
        self.failures.pop(result.track.id, None)
        if isinstance(result, Failed):
            self._fail(result.track, result.reason, passing=result.passing)
        elif isinstance(result, Untouched):
            self.untouched += 1
            if result.track.id in self._plan.moved:
                self.moved[result.track.id] = self._plan.moved[result.track.id]
                self._moving[result.track.id] = result.stamp
                return
            self._amendments[result.track.id] = Amendment(False, result.stamp.size, result.stamp.mtime_ns)
        else:
            self._add(result)
        if self._bytes >= PART_BYTES or time.monotonic() - self._flushed > _FLUSH_S:
            self._flush()

    def _add(self, result: Embedded) -> None:
        kept = self._store.rounded(result.vectors)
        if not np.isfinite(kept).all():
            self._fail(result.track, f"the encoder returns NaN, or values too large for {self._store.dtype}")
            return
        self._waiting.append(replace(result, vectors=kept))
        self._bytes += kept.nbytes
        self.embedded += 1
        self.audio_s += result.duration_s
        self.changed += result.track.id in self._plan.held

    def _fail(self, track: Track, reason: str, *, passing: bool = False) -> None:
        size, mtime_ns = (None, None) if passing else (track.size, track.mtime_ns)
        self.failures[track.id] = Failure(track.id, track.place, reason, size, mtime_ns)
        if track.id in self._plan.held:  # with vectors of the earlier file
            self._amendments[track.id] = Amendment(gone=True)

    def progress(self) -> EmbedProgress:
        failed = len(self.failures) - len(self._plan.failures)
        done = self.embedded + self.untouched + failed
        return EmbedProgress(done, failed, len(self._plan.tasks), self.audio_s, time.monotonic() - self._began)

    def end(self) -> None:
        try:
            self._flush()
            self._wait()
        finally:
            self._writer.shutdown()

    def _flush(self) -> None:
        self._wait()
        self._writing = self._writer.submit(
            self._write, self._waiting, self._moving, dict(self.failures), dict(self._amendments)
        )
        self._waiting, self._moving, self._bytes, self._flushed = [], {}, 0, time.monotonic()

    def _wait(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def _write(
        self,
        done: list[Embedded],
        moving: dict[str, FileStamp],
        failures: dict[str, Failure],
        amendments: dict[str, Amendment],
    ) -> None:
        self._lock.check()
        if moving:
            self._copy(moving)
        if done:
            files: dict[str, FileStamp] = {one.track.id: one.stamp for one in done}
            ids = [one.track.id for one in done for _ in one.starts_s]
            starts, vectors = (
                np.concatenate(rows) for rows in zip(*((o.starts_s, o.vectors) for o in done), strict=True)
            )
            self._store.append(ids, starts, vectors, files=files)
        if sorted(failures.values(), key=lambda one: one.track_id) != self._store.ledger.failures():
            self._store.ledger.write_failures(failures.values())
        write_amendments(self._store.ledger, amendments)

    def _copy(self, moving: dict[str, FileStamp]) -> None:
        """Write the vectors of tracks whose files were renamed again, with their new ids."""
        new_ids: dict[str, list[str]] = {}
        for track_id in moving:
            new_ids.setdefault(self.moved[track_id], []).append(track_id)
        held = self._store.tracks(also_gone=True)
        held = held.filter(pc.is_in(held["track_id"], value_set=pa.array(list(new_ids), pa.string())))
        names = held["track_id"].to_pylist()
        shape = (len(self._store.spec.layers), self._store.spec.dim)
        for rows, starts, vectors in self._store.live_windows(held):
            places = [(new, at) for at, row in enumerate(rows.tolist()) for new in new_ids[names[row]]]
            places.sort(key=lambda pair: pair[0])  # all windows of a track together, in their order
            at = np.array([at for _, at in places])
            ids = [new for new, _ in places]
            files = {one: moving[one] for one in ids}
            self._store.append(ids, starts[at], vectors[at].reshape(-1, *shape), files=files)
