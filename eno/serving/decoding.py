"""A process that decodes what strangers send: a file can hang, crash or exhaust a decoder, and takes only this with it.

Windows are asked for a few at a time, so that a file of any length takes little memory, and one that nobody waits for
any more is given up at once.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from multiprocessing import connection
from pathlib import Path
from typing import Any

import numpy as np

from eno.audio.audio_file import open_audio
from eno.audio.reading import OpenWindows
from eno.audio.windows import WindowPolicy
from eno.embeddings.job.decode_worker import end_with_parent
from eno.embeddings.job.decoding import without_main
from eno.errors import AudioError, EnoError
from eno.spec import EncoderSpec

_CHUNK_WINDOWS = 16
_MAX_RATE, _MAX_CHANNELS = 768_000, 64  # beyond, a header lies, and a window of it would take gigabytes
_MEMORY_BYTES = 3 * 2**30
_START_S = 120.0

_starting = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which windows of a file are wanted.

    Attributes
    ----------
    path : Path
        The file.
    spec : EncoderSpec
        Of the encoder that takes them.
    policy : WindowPolicy
        Which ones.
    max_duration_s : float
        A longer file is refused.
    """

    path: Path
    spec: EncoderSpec
    policy: WindowPolicy
    max_duration_s: float


@dataclass(frozen=True, eq=False)
class Opened:
    """A file that is being decoded.

    Attributes
    ----------
    duration_s : float
        Its length.
    starts_s : np.ndarray [shape=(n,), dtype=float64]
        Where its windows begin.
    chunks : iterator of np.ndarray [shape=(m, window_samples), dtype=float32]
        The windows, some at a time. Raises AudioError.
    """

    duration_s: float
    starts_s: np.ndarray
    chunks: Iterator[np.ndarray]


class DecodeProcess:
    """One process, started when it is first needed, and again after it had to be ended. For one thread at a time.

    Parameters
    ----------
    timeout_s : float
        A file that takes the decoder longer than this, all its windows together, is given up.
    """

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s, self._left_s = timeout_s, timeout_s
        self._process: Any = None
        self._pipe: connection.Connection | None = None

    @contextlib.contextmanager
    def open(self, wanted: Wanted, *, needed: Callable[[], bool] = lambda: True) -> Iterator[Opened]:
        """Decode a file.

        Parameters
        ----------
        wanted : Wanted
            Which windows of which file.
        needed : callable
            When it no longer says so, decoding is given up.

        Yields
        ------
        Opened
            Valid inside the context.

        Raises
        ------
        AudioError
            The file cannot be read, is too long, or takes the decoder too long; or nobody needs it any more.
        EnoError
            The process cannot be started.
        """
        self.start()
        self._left_s = self._timeout_s
        self._send(wanted)
        duration_s, starts_s = self._answer(wanted, needed)
        done = False

        def chunks() -> Iterator[np.ndarray]:
            nonlocal done
            left = len(starts_s)
            while left:
                self._send("next")
                (chunk,) = self._answer(wanted, needed)
                left -= len(chunk)
                yield chunk
            done = True

        try:
            yield Opened(duration_s, starts_s, chunks())
        finally:
            if not done and self._pipe is not None:  # a file that failed has ended by itself
                self._send("stop")

    def start(self) -> None:
        """Start the process, if it does not run."""
        if self._pipe is not None and self._process.is_alive():
            return
        self.close()
        context = multiprocessing.get_context("spawn")  # a fork beside PyTorch's threads may hang
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve_windows, args=(theirs,), daemon=True)
        with _starting, without_main():
            self._process.start()
        theirs.close()  # so that the pipe ends with the process
        with contextlib.suppress(EOFError, OSError):
            if self._pipe.poll(_START_S) and self._pipe.recv() == "ready":
                return
        self.close()
        raise EnoError("The process that decodes audio cannot start.")

    def close(self) -> None:
        """End the process."""
        if self._pipe is not None:
            self._pipe.close()
            self._process.kill()
            self._process.join()
        self._pipe = None

    def _send(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # it is dead, which is noticed when its answer is read
            assert self._pipe is not None
            self._pipe.send(message)

    def _answer(self, wanted: Wanted, needed: Callable[[], bool]) -> Any:
        began, pipe = time.monotonic(), self._pipe
        assert pipe is not None
        try:
            while not pipe.poll(0.2):
                if time.monotonic() - began > self._left_s:
                    self.close()
                    raise AudioError(
                        wanted.path, f"took longer than {self._timeout_s:g} s to decode; it may be damaged"
                    )
                if not needed():
                    self.close()
                    raise AudioError(wanted.path, "is no longer needed")
            kind, *content = pipe.recv()
        except (EOFError, OSError):
            self.close()
            raise AudioError(wanted.path, "ended the process that decoded it: it is damaged") from None
        self._left_s -= time.monotonic() - began
        if kind == "failed":
            raise AudioError(wanted.path, content[0])
        return content


def serve_windows(pipe: connection.Connection) -> None:
    """Decode what comes through the pipe until it is closed; what the process runs.

    Comes in: a `Wanted`, then ``"next"`` for each chunk, or ``"stop"``. Goes out: ``"ready"`` once; then for each file
    ``("opened", duration_s, starts_s)`` and ``("windows", chunk)``, or ``("failed", reason)``.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service decides when it is time to go
    threading.Thread(target=end_with_parent, daemon=True).start()
    _limit_memory()
    with contextlib.suppress(EOFError, OSError):
        pipe.send("ready")
        while True:
            wanted = pipe.recv()
            if isinstance(wanted, Wanted):  # else the end of a file that failed
                _decode(pipe, wanted)


def _decode(pipe: connection.Connection, wanted: Wanted) -> None:
    try:
        with open_audio(wanted.path, max_duration_s=wanted.max_duration_s) as audio:
            info = audio.info(listen=False)
            if info.sample_rate > _MAX_RATE or info.channels > _MAX_CHANNELS:
                raise AudioError(
                    wanted.path, f"claims {info.sample_rate:,} samples a second in {info.channels} channels: not music"
                )
            spec = wanted.spec
            windows = OpenWindows(audio, spec.sample_rate, spec.window_samples, wanted.policy, spec.padding)
            pipe.send(("opened", windows.duration_s, windows.starts_s))
            each = iter(windows)
            left = len(windows.starts_s)
            while left and pipe.recv() == "next":
                chunk = np.stack(list(islice(each, _CHUNK_WINDOWS)))
                left -= len(chunk)
                pipe.send(("windows", chunk))
    except AudioError as error:
        pipe.send(("failed", error.reason))
    except (EOFError, BrokenPipeError, ConnectionError):
        raise
    except Exception as error:  # whatever is wrong with one file, the others go on
        pipe.send(("failed", f"cannot be decoded ({type(error).__name__})"))


def _limit_memory() -> None:
    """Where the system can, so that a file which asks for more than there is fails alone."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # not on every system

        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY_BYTES, used + _MEMORY_BYTES))
