"""Detects work that hangs: measures for how long a process was able to run without making progress."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from eno.audio.workers.processes import SPAWN

TICK_S = 0.1


class Heartbeat:
    """Shared by a worker process and its pool.

    A thread of the worker ticks. While the machine sleeps, or the process is suspended or gets no processor time, no
    tick is counted, so that neither is mistaken for a file that hangs.
    """

    def __init__(self) -> None:
        # Seconds that the worker was able to run, and how many they were at its latest progress. One thread writes
        # each, so no lock is needed.
        self._seconds = SPAWN.RawArray("d", [0.0, math.inf])

    def tick(self) -> None:
        """Count `TICK_S` seconds."""
        self._seconds[0] += TICK_S

    def progress(self) -> None:
        """Note that the work goes on."""
        self._seconds[1] = self._seconds[0]

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the time of a block in which the worker waits for its pool."""
        stalled = self.stalled_s()
        self._seconds[1] = math.inf
        try:
            yield
        finally:
            self._seconds[1] = self._seconds[0] - stalled

    def stalled_s(self) -> float:
        """Return the seconds without progress; negative infinity if the worker has nothing to do."""
        return float(self._seconds[0] - self._seconds[1])


_of_this_process: Heartbeat | None = None


def use_heartbeat(heartbeat: Heartbeat) -> None:
    """Let `note_progress` refer to this heartbeat; called in a new worker."""
    global _of_this_process
    _of_this_process = heartbeat


def note_progress() -> None:
    """Note that the work goes on, from within a long computation; does nothing outside workers."""
    if _of_this_process is not None:
        _of_this_process.progress()
