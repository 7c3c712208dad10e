"""The process that decodes: takes tracks, writes their windows into shared memory, tells of them through a pipe.

A file can hang, crash or exhaust a decoder; in a process of its own it takes nothing else with it.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections import deque
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from typing import Any

import numpy as np

from eno.audio.reading import OpenWindows, open_windows
from eno.audio.windows import WindowPolicy
from eno.data.library.files import FileStamp
from eno.errors import AudioError
from eno.spec import EncoderSpec

_HASH_DIGITS = 32


@dataclass(frozen=True)
class DecodeSettings:
    """What windows are wanted, and how they are handed over.

    Attributes
    ----------
    spec : EncoderSpec
        Of the encoder that takes them.
    policy : WindowPolicy
        Which windows of a track.
    slots, slot_windows : int
        A worker has so many places for so many windows each, and waits while all of them are taken.
    nice : int
        By how much its priority is lowered.
    """

    spec: EncoderSpec
    policy: WindowPolicy
    slots: int
    slot_windows: int
    nice: int

    @property
    def slot_shape(self) -> tuple[int, int, int]:
        """Slots, windows of a slot, samples of a window."""
        return self.slots, self.slot_windows, self.spec.window_samples


def decode_files(pipe: connection.Connection, memory: Any, settings: DecodeSettings) -> None:
    """Decode what comes through the pipe until it is closed.

    Comes in: ``("track", job, file, known_hash)`` and ``("slot", number)`` for a slot that is free again. Goes out:
    ``("ready",)`` once; for each job any number of ``("windows", job, slot, count)``, then ``("end", job, stamp,
    duration_s, starts_s)``, ``("same", job, stamp)`` or ``("failed", job, reason)``.

    Parameters
    ----------
    pipe : Connection
        To the process that wants the windows.
    memory : shared ctypes array
        Of as many float32 as the slots take.
    settings : DecodeSettings
        What is wanted.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one decides
    threading.Thread(target=end_with_parent, daemon=True).start()
    if settings.nice and hasattr(os, "nice"):
        os.nice(settings.nice)
    try:
        _Worker(pipe, memory, settings).run()
    except (EOFError, OSError):  # nobody is there any more
        return


def end_with_parent() -> None:
    """Wait for the process that started this one to end, then end too; for a thread of its own."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)  # also out of a decoder that hangs


class _Worker:
    def __init__(self, pipe: connection.Connection, memory: Any, settings: DecodeSettings) -> None:
        self._pipe, self._settings = pipe, settings
        self._slots = np.frombuffer(memory, np.float32).reshape(settings.slot_shape)
        self._free = deque(range(settings.slots))
        self._tracks: deque[tuple[int, str, str | None]] = deque()

    def run(self) -> None:
        self._pipe.send(("ready",))
        while True:
            while not self._tracks:
                self._receive()
            job, file, known_hash = self._tracks.popleft()
            try:
                self._decode(job, file, known_hash)
            except AudioError as error:
                self._pipe.send(("failed", job, error.reason))
            except (EOFError, BrokenPipeError, ConnectionError):
                raise
            except Exception as error:  # whatever is wrong with one file, the others go on
                self._pipe.send(("failed", job, f"cannot be decoded ({type(error).__name__}: {error})"))

    def _receive(self) -> None:
        message = self._pipe.recv()
        if message[0] == "slot":
            self._free.append(message[1])
        else:
            self._tracks.append(message[1:])

    def _decode(self, job: int, file: str, known_hash: str | None) -> None:
        before = _look(file)
        spec = self._settings.spec
        with open_windows(
            file,
            sample_rate=spec.sample_rate,
            window_samples=spec.window_samples,
            policy=self._settings.policy,
            padding=spec.padding,
        ) as windows:
            if known_hash is not None and self._hash(windows) == known_hash:
                self._pipe.send(("same", job, FileStamp(*before, known_hash)))
                return
            audio_hash = self._hand_over(job, windows)
            starts_s, duration_s = windows.starts_s, windows.duration_s
        if _look(file) != before:
            raise AudioError(file, "was changed while it was read; the next run takes it again")
        self._pipe.send(("end", job, FileStamp(*before, audio_hash), duration_s, starts_s))

    def _hash(self, windows: OpenWindows) -> str:
        digest = hashlib.sha256()
        for window in windows:
            digest.update(np.ascontiguousarray(window, "<f4").data)
        return digest.hexdigest()[:_HASH_DIGITS]

    def _hand_over(self, job: int, windows: OpenWindows) -> str:
        digest = hashlib.sha256()
        slot, count = self._free_slot(), 0
        try:
            for window in windows:
                if count == self._settings.slot_windows:
                    self._pipe.send(("windows", job, slot, count))
                    slot, count = self._free_slot(), 0
                self._slots[slot, count] = window
                digest.update(self._slots[slot, count].data)
                count += 1
        except AudioError:
            self._free.append(slot)
            raise
        self._pipe.send(("windows", job, slot, count))
        return digest.hexdigest()[:_HASH_DIGITS]

    def _free_slot(self) -> int:
        while not self._free:
            self._receive()
        return self._free.popleft()


def _look(file: str) -> tuple[int, int]:
    try:
        status = os.stat(file)
    except OSError:
        return -1, -1  # opening it says what is wrong
    return status.st_size, status.st_mtime_ns
