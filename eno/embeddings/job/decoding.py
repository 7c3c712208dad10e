"""Processes that decode ahead of the encoder, and are replaced when a file hangs or kills them."""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
import time
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import Any

import numpy as np

from eno.audio.windows import WindowPolicy
from eno.data.library.files import FileStamp
from eno.embeddings.job.decode_worker import DecodeSettings, decode_files
from eno.embeddings.job.results import Failed, Task, Untouched
from eno.errors import EnoError
from eno.spec import EncoderSpec

FILE_TIMEOUT_S = 120.0
"""So long a file may take to give its next windows."""

_SLOTS = 2  # of a worker: one is filled while the other is read
_SLOT_WINDOWS = 8
_SLOT_BYTES = 16 * 2**20
_AHEAD = 2  # tracks that a worker has, so that it need not wait for the next one
_ATTEMPTS = 2  # a process may have been killed for what another one did


@dataclass(frozen=True, eq=False)
class Cut:
    """Windows of a track, not necessarily all of them.

    Attributes
    ----------
    job : int
        Number of the attempt at the track.
    task : Task
        The track.
    samples : np.ndarray [shape=(n, window_samples), dtype=float32]
        Shared with the process that decoded them, so valid until `release` is called, which must be done.
    release : callable
        Gives the memory back.
    """

    job: int
    task: Task
    samples: np.ndarray
    release: Callable[[], None]


@dataclass(frozen=True, eq=False)
class TrackEnd:
    """All windows of a track have been given out.

    Attributes
    ----------
    job : int
        Number of the attempt at the track.
    task : Task
        The track.
    stamp : FileStamp
        What its file is.
    duration_s : float
        Its length.
    starts_s : np.ndarray [shape=(n,), dtype=float64]
        Where its windows begin.
    """

    job: int
    task: Task
    stamp: FileStamp
    duration_s: float
    starts_s: np.ndarray


@dataclass(frozen=True)
class Dropped:
    """An attempt at a track that ended early; what it gave does not count.

    Attributes
    ----------
    job : int
        Number of the attempt.
    """

    job: int


Event = Cut | TrackEnd | Untouched | Failed | Dropped


@dataclass(eq=False)
class _Worker:
    process: Any
    pipe: connection.Connection
    slots: np.ndarray
    jobs: deque[tuple[int, Task, int]] = field(default_factory=deque)  # number, track, attempt; the first is under way
    ready: bool = False
    lent: int = 0
    since: float = 0.0  # when it last could go on

    def waits(self) -> bool:
        """Whether it cannot be blamed for giving nothing."""
        return not self.ready or not self.jobs or self.lent == len(self.slots)


class DecodePool:
    """Processes that decode. Use it as a context manager, or call `close`.

    Memory is bounded: every process has two places for a few windows, and waits when both are taken.

    Parameters
    ----------
    spec : EncoderSpec
        Of the encoder that takes the windows.
    policy : WindowPolicy
        Which windows of a track.
    workers : int
        Processes.
    nice : int
        By how much their priority is lowered.
    file_timeout_s : float
        A process that gives nothing of a file for so long is replaced, and the file has failed.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        policy: WindowPolicy,
        *,
        workers: int,
        nice: int = 0,
        file_timeout_s: float = FILE_TIMEOUT_S,
    ) -> None:
        windows = max(1, min(_SLOT_WINDOWS, _SLOT_BYTES // (4 * spec.window_samples)))
        self._settings = DecodeSettings(spec, policy, _SLOTS, windows, nice)
        self._file_timeout_s = file_timeout_s
        self._context = multiprocessing.get_context("spawn")  # a fork beside PyTorch's threads may hang
        self._numbers = iter(range(sys.maxsize))
        self._workers = [self._start() for _ in range(workers)]

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._workers = []

    def run(self, tasks: Iterable[Task], stop: Callable[[], bool]) -> Iterator[Event]:
        """Decode tracks.

        Parameters
        ----------
        tasks : iterable of Task
            The tracks.
        stop : callable
            Once it says so, only what is under way is finished.

        Yields
        ------
        Event
            In any order, but the cuts of a track in theirs. Each track ends in a `TrackEnd`, `Untouched` or `Failed`.

        Raises
        ------
        EnoError
            The processes end before they have begun.
        """
        waiting, again = iter(tasks), deque[tuple[Task, int]]()
        while True:
            for worker in self._workers:
                while len(worker.jobs) < _AHEAD and (job := _next(waiting, again, stop)):
                    self._give(worker, *job)
            busy = {worker.pipe: worker for worker in self._workers if worker.jobs}
            if not busy:
                return
            answering = connection.wait(list(busy), timeout=self._file_timeout_s / 4)
            for pipe in answering:
                yield from self._receive(busy[pipe], again)  # type: ignore[index]
            for pipe, worker in busy.items():
                overdue = time.monotonic() - worker.since > self._file_timeout_s
                if overdue and pipe not in answering and not worker.waits():
                    yield from self._replace(worker, again, hangs=True)

    def _give(self, worker: _Worker, task: Task, attempt: int) -> None:
        job = next(self._numbers)
        if not worker.jobs:
            worker.since = time.monotonic()
        worker.jobs.append((job, task, attempt))
        with contextlib.suppress(OSError):  # it is dead, which is noticed when its answer is read
            worker.pipe.send(("track", job, task.track.file, task.known_hash))

    def _receive(self, worker: _Worker, again: deque[tuple[Task, int]]) -> Iterator[Event]:
        try:
            kind, *content = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self._replace(worker, again, hangs=False)
            return
        worker.since = time.monotonic()
        if kind == "ready":
            worker.ready = True
            return
        job, task, _ = worker.jobs[0]
        if kind == "windows":
            _, slot, count = content
            worker.lent += 1
            yield Cut(job, task, worker.slots[slot, :count], lambda: self._take_back(worker, slot))
            return
        worker.jobs.popleft()
        if kind == "end":
            _, stamp, duration_s, starts_s = content
            yield TrackEnd(job, task, stamp, duration_s, starts_s)
        elif kind == "same":
            yield Untouched(task.track, content[1])
        else:
            yield Dropped(job)
            yield Failed(task.track, content[1])

    def _take_back(self, worker: _Worker, slot: int) -> None:
        worker.lent -= 1
        worker.since = time.monotonic()
        with contextlib.suppress(OSError):
            worker.pipe.send(("slot", slot))

    def _replace(self, worker: _Worker, again: deque[tuple[Task, int]], *, hangs: bool) -> Iterator[Event]:
        """Start another process; the file under way has failed, or is tried again, and so are those behind it."""
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        ended = worker.process.exitcode
        if not worker.ready:
            raise EnoError(f"The processes that decode cannot start: one ended with exit code {ended}.")
        self._workers[self._workers.index(worker)] = self._start()
        (job, task, attempt), *behind = worker.jobs
        again.extendleft((task, attempt) for _, task, attempt in reversed(behind))
        yield Dropped(job)
        if hangs:
            yield Failed(
                task.track,
                f"gave nothing for {self._file_timeout_s:g} s while it was decoded: it is damaged, or its disk or "
                "network hangs; allow more with --file-timeout, or copy it again from its source",
            )
        elif attempt < _ATTEMPTS:
            again.append((task, attempt + 1))
        else:
            yield Failed(
                task.track,
                f"ended the process that decoded it {_ATTEMPTS} times (exit code {ended}): it is damaged, or needs "
                "more memory than there is",
            )

    def _start(self) -> _Worker:
        shape = self._settings.slot_shape
        memory = self._context.RawArray("f", int(np.prod(shape)))
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=decode_files, args=(theirs, memory, self._settings), daemon=True)
        with without_main():
            process.start()
        theirs.close()  # so that the pipe ends with the process
        return _Worker(process, ours, np.frombuffer(memory, np.float32).reshape(shape), since=time.monotonic())


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Start processes without them running the user's script again, which needs no ``if __name__`` then."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _next(waiting: Iterator[Task], again: deque[tuple[Task, int]], stop: Callable[[], bool]) -> tuple[Task, int] | None:
    if again:
        return again.popleft()
    if stop():
        return None
    task = next(waiting, None)
    return None if task is None else (task, 1)
