"""Worker processes for reading audio files; one that hangs or dies is replaced, and only its file fails."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from multiprocessing import connection
from typing import Any

from eno.audio.workers.handle import Event, TaskFailed, TaskRetried, Worker
from eno.audio.workers.worker import WorkerSettings
from eno.errors import EnoError

FILE_TIMEOUT_S = 120.0
"""Default for the longest time without a result of a file."""

_AHEAD = 2  # tasks sent to a worker, so that it need not wait for the next one
_START_S = 120.0
_CANCEL_S = 0.5  # for a worker to notice that its job was cancelled
_POLL_S = 0.2


class WorkerPool:
    """Processes that run a function on one file after another; a context manager.

    Workers are started when they are needed.

    Parameters
    ----------
    work : callable
        Picklable function of a task. If it is a generator function, its values become `Chunk` events; float32 arrays
        [shape=(slot_shape[1],)] are passed in shared memory, up to ``slot_shape[0]`` at a time.
    workers : int
        Maximum number of processes.
    slots : int
        Number of unreleased chunks at which a worker waits.
    nice : int
        Added to the niceness of the workers.
    memory_bytes : int, optional
        Memory that a worker may allocate, where the system can limit it.
    timeout_s : float
        A worker that was able to run for this long without progress is replaced, and its file fails. Time in which it
        waits for the caller, is suspended or the machine sleeps does not count.
    attempts : int
        How often a task is tried if its worker dies.
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
        self._numbers = itertools.count()
        self._workers: list[Worker] = []

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the workers."""
        for worker in self._workers:
            worker.process.kill()
        while self._workers:
            self._workers.pop().end()

    def start(self) -> None:
        """Start all workers and wait until they are ready; raise EnoError if one cannot be started."""
        while len(self._workers) < self._max_workers:
            self._workers.append(Worker(self._settings))
        for worker in self._workers:
            with contextlib.suppress(EOFError, OSError):
                while not worker.ready and worker.pipe.poll(_START_S):
                    worker.receive()
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
        """Run tasks. Closing the generator cancels those under way.

        Parameters
        ----------
        tasks : iterable
            Read as workers become free.
        request : callable
            Returns the picklable object that is sent to a worker for a task.
        stop : callable
            Once it returns True, no further tasks are started.
        cancelled : callable, optional
            Once it returns True, tasks under way are cancelled and the generator ends.

        Yields
        ------
        Event
            Those of a job in order. Each started task ends with a `TaskDone` or a `TaskFailed`.

        Raises
        ------
        EnoError
            A worker cannot be started.
        """
        first_attempts, again = ((task, 1) for task in tasks), deque[tuple[Any, int]]()

        def upcoming() -> tuple[Any, int] | None:
            if again:
                return again.popleft()
            return None if stop() else next(first_attempts, None)

        try:
            while True:
                while self._has_room() and (following := upcoming()):
                    self._give(*following, request(following[0]))
                busy: dict[Any, Worker] = {worker.pipe: worker for worker in self._workers if worker.jobs}
                if not busy:
                    return
                answering = connection.wait(list(busy), timeout=self._timeout_s / 4 if cancelled is None else _POLL_S)
                if cancelled is not None and cancelled():
                    return
                for pipe, worker in busy.items():
                    if pipe in answering or pipe.poll():  # the caller may have taken its time since
                        event = self._receive(worker, again)
                    else:
                        overdue = worker.heartbeat.stalled_s() > self._timeout_s
                        event = self._replace(worker, again, timed_out=True) if overdue else None
                    if event is not None:
                        yield event
        finally:
            self._cancel()

    def _has_room(self) -> bool:
        return len(self._workers) < self._max_workers or any(len(worker.jobs) < _AHEAD for worker in self._workers)

    def _give(self, task: Any, attempt: int, request: Any) -> None:
        worker = min(self._workers, key=lambda one: len(one.jobs), default=None)
        if worker is None or (worker.jobs and len(self._workers) < self._max_workers):
            worker = Worker(self._settings)
            self._workers.append(worker)
        job = next(self._numbers)
        worker.jobs.append((job, task, attempt))
        worker.send("task", job, request)

    def _receive(self, worker: Worker, again: deque[tuple[Any, int]]) -> Event | None:
        try:
            return worker.receive()
        except (EOFError, OSError):
            return self._replace(worker, again, timed_out=False)

    def _replace(self, worker: Worker, again: deque[tuple[Any, int]], *, timed_out: bool) -> Event:
        """Kill a worker. Its task fails or is tried again; the tasks behind it go to other workers."""
        if not worker.ready:
            raise self._cannot_start(worker)
        self._workers.remove(worker)
        ended = worker.end()
        (job, task, attempt), *behind = worker.jobs
        again.extendleft((task, attempt) for _, task, attempt in reversed(behind))
        if timed_out:
            reason = f"no progress for {self._timeout_s:g} s while it was decoded"
            reason += ": the file is damaged, or its disk or network does not respond"
            return TaskFailed(job, task, reason, "timeout")
        if attempt < self._attempts:
            again.append((task, attempt + 1))
            return TaskRetried(job)
        times = f" {self._attempts} times" if self._attempts > 1 else ""
        reason = f"crashed the process that decoded it{times} ({ended})"
        reason += ": the file is damaged, or needs more memory than is available"
        return TaskFailed(job, task, reason, "crash")

    def _cancel(self) -> None:
        """Cancel jobs under way; kill workers that do not notice in time."""
        busy = [worker for worker in self._workers if worker.jobs]
        for worker in busy:
            worker.send("cancel", worker.jobs[0][0])
        deadline = time.monotonic() + _CANCEL_S
        for worker in busy:
            if len(worker.jobs) > 1 or not worker.has_cancelled(deadline):
                self._workers.remove(worker)
                worker.end()

    def _cannot_start(self, worker: Worker) -> EnoError:
        self._workers.remove(worker)
        return EnoError(f"The worker processes that decode audio cannot start ({worker.end()}).")
