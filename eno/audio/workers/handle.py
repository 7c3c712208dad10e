"""A worker process as its pool sees it: its jobs, and what it sends about them."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from eno.audio.workers.heartbeat import Heartbeat
from eno.audio.workers.processes import SPAWN, start_process
from eno.audio.workers.worker import WorkerSettings, run_worker


@dataclass(frozen=True, eq=False)
class Chunk:
    """Something that the work on a task has yielded.

    Attributes
    ----------
    job : int
        Number of the attempt at the task.
    content : np.ndarray [shape=(n, row), dtype=float32] or object
        Successive arrays, in shared memory that is valid until `release` is called; or another object.
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
    """A task has failed."""

    job: int
    task: Any
    reason: str
    cause: Literal["error", "timeout", "crash"]


@dataclass(frozen=True)
class TaskRetried:
    """The worker of this job has died; discard its chunks. The task is tried again as another job."""

    job: int


Event = Chunk | TaskDone | TaskFailed | TaskRetried


class Worker:
    """A worker process.

    Attributes
    ----------
    jobs : deque of (int, task, int)
        Number, task and attempt of each job; the worker runs the first.
    ready : bool
        Whether the process has started.
    heartbeat : Heartbeat
        Tells for how long it has made no progress.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        shape = (settings.slots, *settings.slot_shape)
        memory = SPAWN.RawArray("f", int(np.prod(shape)))
        self._slots = np.frombuffer(memory, np.float32).reshape(shape)
        self.heartbeat = Heartbeat()
        self._stderr, self._stderr_file = tempfile.mkstemp(prefix="eno-worker-")
        self.process, self.pipe = start_process(
            run_worker, memory, self.heartbeat, self._stderr_file, settings, daemon=True
        )
        self.jobs: deque[tuple[int, Any, int]] = deque()
        self.ready = False

    def send(self, *message: Any) -> None:
        """Send a message; see `eno.audio.workers.worker.run_worker`."""
        with contextlib.suppress(OSError):  # a dead worker is noticed when its answer is read
            self.pipe.send(message)

    def receive(self) -> Event | None:
        """Receive a message; return an event if it is about a job. Raises EOFError or OSError if the worker is dead."""
        kind, *content = self.pipe.recv()
        if kind == "log":
            name, level, message = content
            logging.getLogger(name).log(level, "%s", message)
            return None
        if kind == "ready":
            self.ready = True
            return None
        (job, task, _), value = self.jobs[0], content[-1]
        if kind in ("rows", "object"):
            slot = content[1]
            content = self._slots[slot, :value] if kind == "rows" else value
            return Chunk(job, task, content, lambda: self.send("slot", slot))
        self.jobs.popleft()
        return TaskDone(job, task, value) if kind == "done" else TaskFailed(job, task, value, "error")

    def has_cancelled(self, deadline: float) -> bool:
        """Discard what is still sent about its job; return whether the job ended before the deadline."""
        with contextlib.suppress(EOFError, OSError):
            while self.jobs and self.pipe.poll(max(0.0, deadline - time.monotonic())):
                if isinstance(event := self.receive(), Chunk):
                    event.release()
        return not self.jobs

    def end(self) -> str:
        """Kill the process; return how it ended and the last line of its standard error."""
        self.process.kill()
        self.process.join()
        self.pipe.close()
        with os.fdopen(self._stderr, "rb") as printed:
            last = printed.read().decode(errors="replace").strip().rpartition("\n")[2]
        Path(self._stderr_file).unlink(missing_ok=True)  # the worker removes it where it can
        code = self.process.exitcode
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"{how}: {last}" if last else how
