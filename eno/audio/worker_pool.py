"""Worker processes for whatever reads audio files; one that hangs or dies is replaced, and only its file fails."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import Any, Literal

import numpy as np

from eno.audio.processes import SPAWN, start_process
from eno.audio.worker import WorkerSettings, run_worker
from eno.errors import EnoError

FILE_TIMEOUT_S = 120.0
"""Default for the longest time that a worker may take until the next result of a file."""

_AHEAD = 2  # tasks that a worker holds, so that it need not wait for the next one
_START_S = 120.0
_DROP_S = 0.5  # for a worker to notice that its job is no longer wanted
_POLL_S = 0.2
_STDERR_TAIL = 2000
_END = object()


@dataclass(frozen=True, eq=False)
class Chunk:
    """Something that the work on a task has yielded.

    Attributes
    ----------
    job : int
        Number of the attempt at the task.
    content : np.ndarray [shape=(n, row), dtype=float32] or object
        Successive arrays, in memory shared with the worker and valid until `release` is called; or another object.
    release : callable
        Must be called, else the worker waits forever.
    """

    job: int
    task: Any
    content: Any
    release: Callable[[], None]


@dataclass(frozen=True, eq=False)
class TaskDone:
    """The work on a task has returned `result`."""

    job: int
    task: Any
    result: Any


@dataclass(frozen=True, eq=False)
class TaskFailed:
    """A task has failed: by an exception, the timeout, or the end of its process."""

    job: int
    task: Any
    reason: str
    cause: Literal["error", "timeout", "crash"]


@dataclass(frozen=True)
class TaskRetried:
    """The worker of this job has died. Its chunks do not count; the task is tried again as another job."""

    job: int


Event = Chunk | TaskDone | TaskFailed | TaskRetried


@dataclass(eq=False)
class _Worker:
    process: Any
    pipe: connection.Connection
    slots: np.ndarray
    stderr: tuple[int, str]  # descriptor and path of the file that receives it
    jobs: deque[tuple[int, Any, int]] = field(default_factory=deque)  # number, task, attempt; the first is under way
    ready: bool = False
    lent: int = 0
    since: float = field(default_factory=time.monotonic)  # when it last had a reason to go on

    def is_waiting(self) -> bool:
        return not self.ready or not self.jobs or self.lent == len(self.slots)

    def send(self, *message: Any) -> None:
        with contextlib.suppress(OSError):  # it is dead, which is noticed when its answer is read
            self.pipe.send(message)

    def release(self, slot: int) -> None:
        self.lent -= 1
        self.since = time.monotonic()
        self.send("slot", slot)

    def has_dropped(self, deadline: float) -> bool:
        """Discard what it still sends of the dropped job; return whether it was done with that before the deadline."""
        with contextlib.suppress(EOFError, OSError):
            while self.pipe.poll(max(0.0, deadline - time.monotonic())):
                kind, *content = self.pipe.recv()
                if kind in ("rows", "object"):
                    self.send("slot", content[1])
                elif kind == "ready":
                    self.ready = True
                elif kind != "log":
                    return True
        return False

    def end(self) -> str:
        """Kill the process; describe how it ended, with the last line that it wrote to standard error."""
        self.process.kill()
        self.process.join()
        self.pipe.close()
        descriptor, path = self.stderr
        os.lseek(descriptor, max(0, os.fstat(descriptor).st_size - _STDERR_TAIL), os.SEEK_SET)
        lines = os.read(descriptor, _STDERR_TAIL).decode(errors="replace").split("\n")
        os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):  # the worker has removed it already
            os.unlink(path)
        code = self.process.exitcode
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return ": ".join([how, *[line.strip() for line in lines if line.strip()][-1:]])


class WorkerPool:
    """Processes that run a function on one file after another. Use it as a context manager, or call `close`.

    Workers are started as they are needed. Memory is bounded: a worker waits while all of its slots are in use.

    Parameters
    ----------
    work : callable
        Picklable function of a task. If it is a generator function, what it yields becomes `Chunk` events; float32
        arrays [shape=(slot_shape[1],)] travel in shared memory, several at a time. An exception fails the task.
    workers : int
        Limit of processes.
    slots : int
        Chunks of a worker that may be unreleased before it waits.
    slot_shape : tuple of int
        Largest number of arrays in a chunk, and length of an array.
    nice : int
        Added to the niceness of the workers.
    memory_bytes : int, optional
        Memory that a worker may allocate, if the system can limit it.
    timeout_s : float
        A worker that works on a file for this long without a result is replaced, and the file has failed.
    attempts : int
        How often a task is tried if its worker dies, perhaps because of another process.
    """

    def __init__(
        self,
        work: Callable[[Any], Any],
        *,
        workers: int,
        slots: int = 2,
        slot_shape: tuple[int, int] = (1, 1),
        nice: int = 0,
        memory_bytes: int | None = None,
        timeout_s: float = FILE_TIMEOUT_S,
        attempts: int = 2,
    ) -> None:
        self._settings = WorkerSettings(work, slots, slot_shape, nice, memory_bytes)
        self._max_workers, self._timeout_s, self._attempts = workers, timeout_s, attempts
        self._numbers = iter(range(sys.maxsize))
        self._workers: list[_Worker] = []

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.process.kill()
        while self._workers:
            self._workers.pop().end()

    def start(self) -> None:
        """Start all workers and wait until they are ready; EnoError if one cannot be started."""
        while len(self._workers) < self._max_workers:
            self._start()
        for worker in self._workers:
            if not worker.ready and worker.pipe.poll(_START_S):
                with contextlib.suppress(EOFError, OSError):
                    worker.ready = worker.pipe.recv() == ("ready",)
            if not worker.ready:
                raise self._cannot_start(worker)

    def run(
        self,
        tasks: Iterable[Any],
        *,
        request: Callable[[Any], Any] = lambda task: task,
        stop: Callable[[], bool] = lambda: False,
        cancelled: Callable[[], bool] | None = None,
    ) -> Generator[Event, None, None]:
        """Work on tasks. What is under way when the caller stops iterating is dropped.

        Parameters
        ----------
        tasks : iterable
            Taken as workers become free.
        request : callable, optional
            Returns what is sent to a worker for a task, which must be picklable; the task itself by default.
        stop : callable
            Once it returns True, no further task is begun.
        cancelled : callable, optional
            Once it returns True, what is under way is dropped and the iteration ends.

        Yields
        ------
        Event
            In any order, except that the chunks of a job keep theirs. Each task that was begun ends in a `TaskDone` or
            a `TaskFailed`.

        Raises
        ------
        EnoError
            A worker cannot be started.
        """
        waiting, again = iter(tasks), deque[tuple[Any, int]]()

        def upcoming() -> tuple[Any, int] | None:
            if again:
                return again.popleft()
            task = _END if stop() else next(waiting, _END)
            return None if task is _END else (task, 1)

        try:
            while True:
                while self._has_room() and (following := upcoming()):
                    self._give(*following, request(following[0]))
                busy: dict[Any, _Worker] = {worker.pipe: worker for worker in self._workers if worker.jobs}
                if not busy:
                    return
                answering = connection.wait(list(busy), timeout=self._timeout_s / 4 if cancelled is None else _POLL_S)
                if cancelled is not None and cancelled():
                    return
                for pipe in answering:
                    yield from self._receive(busy[pipe], again)
                for pipe, worker in busy.items():
                    overdue = time.monotonic() - worker.since > self._timeout_s
                    if overdue and pipe not in answering and not worker.is_waiting():
                        yield from self._replace(worker, again, timed_out=True)
        finally:
            self._drop()

    def _has_room(self) -> bool:
        return len(self._workers) < self._max_workers or any(len(worker.jobs) < _AHEAD for worker in self._workers)

    def _give(self, task: Any, attempt: int, request: Any) -> None:
        worker = min(self._workers, key=lambda one: len(one.jobs), default=None)
        if worker is None or (worker.jobs and len(self._workers) < self._max_workers):
            worker = self._start()
        if not worker.jobs:
            worker.since = time.monotonic()
        job = next(self._numbers)
        worker.jobs.append((job, task, attempt))
        worker.send("task", job, request)

    def _receive(self, worker: _Worker, again: deque[tuple[Any, int]]) -> Iterator[Event]:
        try:
            kind, *content = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self._replace(worker, again, timed_out=False)
            return
        if kind == "log":
            name, level, message = content
            logging.getLogger(name).log(level, "%s", message)
            return
        worker.since = time.monotonic()
        if kind == "ready":
            worker.ready = True
            return
        job, task, _ = worker.jobs[0]
        if kind in ("rows", "object"):
            _, slot, value = content
            worker.lent += 1
            value = worker.slots[slot, :value] if kind == "rows" else value
            yield Chunk(job, task, value, lambda: worker.release(slot))
            return
        worker.jobs.popleft()
        if kind == "done":
            yield TaskDone(job, task, content[1])
        else:
            yield TaskFailed(job, task, content[1], "error")

    def _replace(self, worker: _Worker, again: deque[tuple[Any, int]], *, timed_out: bool) -> Iterator[Event]:
        """End a worker. Its task fails or is tried again, and other workers take the tasks behind it."""
        if not worker.ready:
            raise self._cannot_start(worker)
        self._workers.remove(worker)
        ended = worker.end()
        (job, task, attempt), *behind = worker.jobs
        again.extendleft((task, attempt) for _, task, attempt in reversed(behind))
        if timed_out:
            reason = f"no progress for {self._timeout_s:g} s while it was decoded"
            reason += ": the file is damaged, or its disk or network does not respond"
            yield TaskFailed(job, task, reason, "timeout")
        elif attempt < self._attempts:
            again.append((task, attempt + 1))
            yield TaskRetried(job)
        else:
            times = f" {self._attempts} times" if self._attempts > 1 else ""
            reason = f"crashed the process that decoded it{times} ({ended})"
            reason += ": the file is damaged, or needs more memory than there is"
            yield TaskFailed(job, task, reason, "crash")

    def _drop(self) -> None:
        """Give up what is under way; a worker that does not notice in time is ended."""
        busy = [worker for worker in self._workers if worker.jobs]
        for worker in busy:
            worker.send("drop", worker.jobs[0][0])
        deadline = time.monotonic() + _DROP_S
        for worker in busy:
            if len(worker.jobs) > 1 or not worker.has_dropped(deadline):
                self._workers.remove(worker)
                worker.end()
            worker.jobs.clear()

    def _cannot_start(self, worker: _Worker) -> EnoError:
        self._workers.remove(worker)
        return EnoError(f"The worker processes that decode audio cannot start ({worker.end()}).")

    def _start(self) -> _Worker:
        shape = (self._settings.slots, *self._settings.slot_shape)
        memory = SPAWN.RawArray("f", int(np.prod(shape)))
        stderr = tempfile.mkstemp(prefix="eno-worker-")
        process, pipe = start_process(run_worker, memory, stderr[1], self._settings, daemon=True)
        worker = _Worker(process, pipe, np.frombuffer(memory, np.float32).reshape(shape), stderr)
        self._workers.append(worker)
        return worker
