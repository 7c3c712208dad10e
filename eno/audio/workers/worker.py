"""What runs in a worker process, where a file that hangs, crashes or exhausts a decoder does no further harm."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections import deque
from collections.abc import Callable, Generator
from multiprocessing import connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eno.audio.decoder_messages import StderrFile
from eno.audio.workers.heartbeat import TICK_S, Heartbeat, use_heartbeat
from eno.audio.workers.processes import end_with_parent
from eno.errors import AudioError


class WorkerSettings(NamedTuple):
    """Settings of `eno.audio.workers.pool.WorkerPool`."""

    work: Callable[[Any], Any]
    slots: int
    slot_shape: tuple[int, int]
    nice: int
    memory_bytes: int | None


def run_worker(
    pipe: connection.Connection, memory: Any, heartbeat: Heartbeat, stderr_file: str, settings: WorkerSettings
) -> None:
    """Run tasks until the pipe is closed.

    Receives ``("task", job, task)``, ``("slot", number)`` when a slot is free again, and ``("cancel", job)``. Sends
    ``("ready",)`` once and ``("log", logger, level, message)`` at any time. For each job it sends any number of
    ``("rows", job, slot, count)`` for yielded arrays and ``("object", job, slot, value)`` for other values, then
    ``("done", job, result)``, ``("failed", job, reason)`` or ``("cancelled", job, None)``.

    `memory` is a shared ctypes array of float32 for the slots; `stderr_file` receives standard error.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent decides
    end_with_parent(heartbeat.tick, TICK_S)
    use_heartbeat(heartbeat)
    if settings.nice and hasattr(os, "nice"):
        os.nice(settings.nice)
    if settings.memory_bytes is not None:
        _limit_memory(settings.memory_bytes)
    logging.getLogger("eno").addHandler(_Forwarding(pipe, heartbeat))
    with contextlib.suppress(EOFError, OSError):  # the parent has closed the pipe
        _Worker(pipe, memory, heartbeat, settings, StderrFile(stderr_file)).run()


class _Cancelled(Exception):
    """The job under way was cancelled."""


class _Worker:
    def __init__(
        self,
        pipe: connection.Connection,
        memory: Any,
        heartbeat: Heartbeat,
        settings: WorkerSettings,
        stderr: StderrFile,
    ) -> None:
        self._pipe, self._heartbeat, self._work, self._stderr = pipe, heartbeat, settings.work, stderr
        self._slots = np.frombuffer(memory, np.float32).reshape(settings.slots, *settings.slot_shape)
        self._free = deque(range(settings.slots))
        self._tasks: deque[tuple[int, Any]] = deque()
        self._job: int | None = None

    def run(self) -> None:
        self._send("ready")
        while True:
            while not self._tasks:
                self._receive()
            self._job, task = self._tasks.popleft()
            self._stderr.clear()
            self._heartbeat.progress()
            outcome: tuple[str, Any]
            try:
                outcome = "done", self._result(task)
            except _Cancelled:
                outcome = "cancelled", None
            except AudioError as error:
                outcome = "failed", error.reason + self._stderr.reported()
            except (EOFError, BrokenPipeError, ConnectionError):
                raise
            except Exception as error:  # whatever is wrong with one file, the others go on
                outcome = "failed", f"cannot be decoded ({type(error).__name__}: {error})"
            self._send(outcome[0], self._job, outcome[1])
            self._job = None

    def _send(self, *message: Any) -> None:
        with self._heartbeat.paused():
            self._pipe.send(message)

    def _receive(self) -> None:
        with self._heartbeat.paused():
            kind, *content = self._pipe.recv()
        if kind == "slot":
            self._free.append(content[0])
        elif kind == "task":
            self._tasks.append((content[0], content[1]))
        elif content[0] == self._job:
            raise _Cancelled

    def _result(self, task: Any) -> Any:
        result = self._work(task)
        if not isinstance(result, Generator):
            return result
        with contextlib.closing(result):
            return self._send_values(result)

    def _send_values(self, values: Generator[Any, None, Any]) -> Any:
        slot, rows = None, 0
        try:
            while True:
                while self._pipe.poll():
                    self._receive()
                value = next(values)
                self._heartbeat.progress()
                if slot is None:
                    slot, rows = self._free_slot(), 0
                if not isinstance(value, np.ndarray):  # yielded before any array
                    self._send("object", self._job, slot, value)
                    slot = None
                    continue
                self._slots[slot, rows] = value
                rows += 1
                if rows == self._slots.shape[1]:
                    self._send("rows", self._job, slot, rows)
                    slot = None
        except StopIteration as end:
            if slot is not None:
                self._send("rows", self._job, slot, rows)
                slot = None
            return end.value
        finally:
            if slot is not None:
                self._free.append(slot)

    def _free_slot(self) -> int:
        while not self._free:
            self._receive()
        return self._free.popleft()


class _Forwarding(logging.Handler):
    def __init__(self, pipe: connection.Connection, heartbeat: Heartbeat) -> None:
        super().__init__()
        self._pipe, self._heartbeat = pipe, heartbeat

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError), self._heartbeat.paused():
            self._pipe.send(("log", record.name, record.levelno, record.getMessage()))


def _limit_memory(allowed: int) -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):  # not every system can
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + allowed, used + allowed))
