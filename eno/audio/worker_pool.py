"""Worker processes for whatever reads audio files; one that hangs or dies is replaced, and only its file fails."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import Any, Literal

import numpy as np

from eno.audio.worker import WorkerSettings, run_worker
from eno.errors import EnoError

FILE_TIMEOUT_S = 120.0
"""Default for the longest time that a file may take until its next result."""

_AHEAD = 2  # tasks that a worker holds, so that it need not wait for the next one
_START_S = 120.0
_DROP_S = 0.5  # that a worker has to notice that its job is no longer wanted

_POLL_S = 0.2
_STDERR_TAIL = 2000
_SPAWN = multiprocessing.get_context("spawn")
_END = object()

_starting = threading.Lock()


@dataclass(frozen=True, eq=False)
class Chunk:
    """Something that the work on a task has yielded.

    Attributes
    ----------
    job : int
        Number of the attempt at the task.
    task : object
        The task.
    content : np.ndarray [shape=(n, row), dtype=float32] or object
        Arrays that were yielded one after another, shared with the worker and valid until `release` is called; or
        something else that was yielded.
    release : callable
        Must be called, or the worker will wait.
    """

    job: int
    task: Any
    content: Any
    release: Callable[[], None]


@dataclass(frozen=True, eq=False)
class TaskDone:
    """The work on a task is done. `result` is what the function returned."""

    job: int
    task: Any
    result: Any


@dataclass(frozen=True, eq=False)
class TaskFailed:
    """A task has failed. `cause` is an exception of the work, the timeout, or the end of the process."""

    job: int
    task: Any
    reason: str
    cause: Literal["error", "timeout", "crash"]


@dataclass(frozen=True)
class TaskRetried:
    """The chunks of this job do not count: its worker died, and the task is tried again as another job."""

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
    since: float = field(default_factory=time.monotonic)  # when it could last go on

    def is_waiting(self) -> bool:
        return not self.ready or not self.jobs or self.lent == len(self.slots)

    def send(self, *message: Any) -> None:
        with contextlib.suppress(OSError):  # it is dead, which is noticed when its answer is read
            self.pipe.send(message)

    def end(self) -> tuple[int, str]:
        """Kill the process; return its exit code and the last line that it wrote to standard error."""
        self.process.kill()
        self.process.join()
        self.pipe.close()
        descriptor, path = self.stderr
        os.lseek(descriptor, max(0, os.fstat(descriptor).st_size - _STDERR_TAIL), os.SEEK_SET)
        lines = os.read(descriptor, _STDERR_TAIL).decode(errors="replace").splitlines()
        os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):  # the worker has removed it already
            os.unlink(path)
        return self.process.exitcode, next((line.strip() for line in reversed(lines) if line.strip()), "")


class WorkerPool:
    """Processes that run a function on one file after another. Use it as a context manager, or call `close`.

    Workers are started when there is something to do for them. Memory is bounded: a worker waits while all of its slots
    are in use. The script of the user is not run again in the workers, so it needs no ``if __name__ == "__main__"``.

    Parameters
    ----------
    work : callable
        Picklable function of a task, which runs in a worker. If it is a generator function, what it yields becomes
        `Chunk` events; float32 arrays [shape=(slot_shape[1],)] travel in shared memory, several at a time. An exception
        of it fails the task with the reason of the AudioError, or with the exception's text.
    workers : int
        Processes at most.
    slots : int
        Chunks of a worker that may be unreleased before it waits.
    slot_shape : tuple of int
        Largest number of arrays in a chunk, and length of an array.
    nice : int
        Added to the niceness of the workers.
    memory_bytes : int, optional
        Memory that a worker may allocate, where the system can limit it.
    timeout_s : float
        A worker that works on a file for this long without any result is replaced, and the file has failed.
    attempts : int
        How often a task is tried whose worker dies: it may have been killed because of another process.
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
        self._settings = WorkerSettings(
            work=work, slots=slots, slot_shape=slot_shape, nice=nice, memory_bytes=memory_bytes
        )
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
        for worker in self._workers:
            worker.end()
        self._workers = []

    def start(self) -> None:
        """Start all workers and wait until they are ready, so that the first task need not wait for them.

        Raises
        ------
        EnoError
            They cannot be started.
        """
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
            Returns what is sent to a worker for a task, which must be picklable; the task itself if not given.
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
            A worker ended before it was ready.
        """
        waiting, again = iter(tasks), deque[tuple[Any, int]]()
        try:
            while True:
                self._give_out(waiting, again, request, stop)
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

    def _give_out(
        self,
        waiting: Iterator[Any],
        again: deque[tuple[Any, int]],
        request: Callable[[Any], Any],
        stop: Callable[[], bool],
    ) -> None:
        while True:
            worker = min(self._workers, key=lambda one: len(one.jobs), default=None)
            may_start = len(self._workers) < self._max_workers
            if worker is not None and len(worker.jobs) >= _AHEAD and not may_start:
                return
            if again:
                task, attempt = again.popleft()
            else:
                task, attempt = _END if stop() else next(waiting, _END), 1
            if task is _END:
                return
            if worker is None or (worker.jobs and may_start):
                worker = self._start()
            job = next(self._numbers)
            if not worker.jobs:
                worker.since = time.monotonic()
            worker.jobs.append((job, task, attempt))
            worker.send("task", job, request(task))

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
            yield Chunk(job, task, value, lambda: self._release(worker, slot))
            return
        worker.jobs.popleft()
        if kind == "done":
            yield TaskDone(job, task, content[1])
        else:
            yield TaskFailed(job, task, content[1], "error")

    def _release(self, worker: _Worker, slot: int) -> None:
        worker.lent -= 1
        worker.since = time.monotonic()
        worker.send("slot", slot)

    def _replace(self, worker: _Worker, again: deque[tuple[Any, int]], *, timed_out: bool) -> Iterator[Event]:
        """End a worker. Its task fails or is tried again, and other workers take the tasks behind it."""
        if not worker.ready:
            raise self._cannot_start(worker)
        self._workers.remove(worker)
        code, last_line = worker.end()
        (job, task, attempt), *behind = worker.jobs
        again.extendleft((task, attempt) for _, task, attempt in reversed(behind))
        if timed_out:
            reason = (
                f"no progress for {self._timeout_s:g} s while it was decoded: the file is damaged, or its disk or "
                "network does not respond"
            )
            yield TaskFailed(job, task, reason, "timeout")
        elif attempt < self._attempts:
            again.append((task, attempt + 1))
            yield TaskRetried(job)
        else:
            times = f" {self._attempts} times" if self._attempts > 1 else ""
            reason = (
                f"crashed the process that decoded it{times} ({_how_it_ended(code, last_line)}): "
                "the file is damaged, or needs more memory than there is"
            )
            yield TaskFailed(job, task, reason, "crash")

    def _drop(self) -> None:
        """Give up what is under way; a worker that does not notice in time is replaced."""
        busy = [worker for worker in self._workers if worker.jobs]
        for worker in busy:
            worker.send("drop", worker.jobs[0][0])
        deadline = time.monotonic() + _DROP_S
        for worker in busy:
            if len(worker.jobs) > 1 or not _has_dropped(worker, deadline):
                self._workers.remove(worker)
                worker.end()
            worker.jobs.clear()

    def _cannot_start(self, worker: _Worker) -> EnoError:
        self._workers.remove(worker)
        code, last_line = worker.end()
        return EnoError(f"The worker processes that decode audio cannot start ({_how_it_ended(code, last_line)}).")

    def _start(self) -> _Worker:
        shape = (self._settings.slots, *self._settings.slot_shape)
        memory = _SPAWN.RawArray("f", int(np.prod(shape)))
        stderr = tempfile.mkstemp(prefix="eno-worker-")
        process, pipe = start_process(run_worker, memory, stderr[1], self._settings, daemon=True)
        worker = _Worker(process, pipe, np.frombuffer(memory, np.float32).reshape(shape), stderr)
        self._workers.append(worker)
        return worker


def start_process(target: Callable[..., None], *arguments: Any, daemon: bool) -> tuple[Any, connection.Connection]:
    """Start ``target(pipe, *arguments)`` in a new process; return the process and our end of the pipe.

    It is spawned, because a fork of a process that has threads may hang, and does not run the user's script again.
    """
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=target, args=(theirs, *arguments), daemon=daemon)
    with _starting:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            process.start()
        finally:
            sys.modules["__main__"] = main
    theirs.close()  # so that the pipe ends with the process
    return process, ours


def _has_dropped(worker: _Worker, deadline: float) -> bool:
    """Read what a worker still sends of the job that is dropped, until it is through with it."""
    with contextlib.suppress(EOFError, OSError):
        while worker.pipe.poll(max(0.0, deadline - time.monotonic())):
            kind, *content = worker.pipe.recv()
            if kind in ("rows", "object"):
                worker.send("slot", content[1])
            elif kind == "ready":
                worker.ready = True
            elif kind != "log":
                return True
    return False


def _how_it_ended(code: int, last_line: str) -> str:
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"{how}: {last_line}" if last_line else how
