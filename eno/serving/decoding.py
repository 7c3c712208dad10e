"""Decode uploaded files in worker processes, where a file that hangs, crashes or exhausts a decoder fails alone.

Windows arrive a few at a time, so a file of any length takes little memory, and decoding stops as soon as nobody waits
for the file any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from eno.audio.audio_file import open_audio
from eno.audio.reading import OpenWindows
from eno.audio.track_decoding import TrackHead
from eno.audio.windows import WindowPolicy
from eno.audio.worker_pool import Chunk, TaskFailed, WorkerPool
from eno.errors import AudioError
from eno.spec import EncoderSpec

_CHUNK_WINDOWS = 16
_MAX_RATE, _MAX_CHANNELS = 768_000, 64  # beyond these a header lies, and a window would take gigabytes
_MEMORY_BYTES = 3 * 2**30


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The windows that are wanted of a file; a file longer than `max_duration_s` is refused."""

    path: Path
    policy: WindowPolicy
    max_duration_s: float


@dataclass(frozen=True, eq=False)
class Opened:
    """A file that is being decoded.

    Attributes
    ----------
    duration_s : float
        Its duration.
    starts_s : np.ndarray [shape=(n,), dtype=float64]
        Where its windows begin.
    chunks : iterator of np.ndarray [shape=(m, window_samples), dtype=float32]
        The windows, some at a time. Raises AudioError.
    """

    duration_s: float
    starts_s: np.ndarray
    chunks: Iterator[np.ndarray]


class DecodeProcess:
    """One worker process, started on first use and again after it had to be ended. For one thread at a time.

    Parameters
    ----------
    spec : EncoderSpec
        The encoder that takes the windows.
    timeout_s : float
        Longest time that decoding all windows of a file may take.
    """

    def __init__(self, spec: EncoderSpec, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._pool = WorkerPool(
            partial(decode_upload, spec, timeout_s),
            workers=1,
            slot_shape=(_CHUNK_WINDOWS, spec.window_samples),
            memory_bytes=_MEMORY_BYTES,
            timeout_s=timeout_s,
            attempts=1,
        )

    @contextmanager
    def open(self, wanted: Wanted, *, needed: Callable[[], bool] = lambda: True) -> Iterator[Opened]:
        """Decode a file.

        Parameters
        ----------
        wanted : Wanted
            Which windows of which file.
        needed : callable
            Decoding is given up once it returns False.

        Yields
        ------
        Opened
            Valid inside the context.

        Raises
        ------
        AudioError
            The file cannot be read, is too long, or takes too long to decode; or it is no longer needed.
        EnoError
            The process cannot be started.
        """
        with closing(self._contents(wanted, needed)) as contents:
            head = next(contents)
            assert isinstance(head, TrackHead)
            yield Opened(head.duration_s, head.starts_s, contents)  # type: ignore[arg-type]

    def _contents(self, wanted: Wanted, needed: Callable[[], bool]) -> Generator[TrackHead | np.ndarray, None, None]:
        with closing(self._pool.run([wanted], cancelled=lambda: not needed())) as events:
            for event in events:
                if isinstance(event, Chunk):
                    content = event.content.copy() if isinstance(event.content, np.ndarray) else event.content
                    event.release()
                    yield content
                elif isinstance(event, TaskFailed):
                    raise AudioError(
                        wanted.path, _too_slow(self._timeout_s) if event.cause == "timeout" else event.reason
                    )
                else:
                    return
        raise AudioError(wanted.path, "is no longer needed")

    def start(self) -> None:
        """Start the process, if it is not running; EnoError if that fails."""
        self._pool.start()

    def close(self) -> None:
        """End the process."""
        self._pool.close()


def decode_upload(spec: EncoderSpec, timeout_s: float, wanted: Wanted) -> Generator[TrackHead | np.ndarray, None, None]:
    """Decode the windows of an upload; what the worker runs."""
    began = time.process_time()
    with open_audio(wanted.path, max_duration_s=wanted.max_duration_s) as audio:
        info = audio.info(listen=False)
        if info.sample_rate > _MAX_RATE or info.channels > _MAX_CHANNELS:
            raise AudioError(
                wanted.path, f"claims {info.sample_rate:,} samples per second in {info.channels} channels: not music"
            )
        windows = OpenWindows(audio, spec.sample_rate, spec.window_samples, wanted.policy, spec.padding)
        yield TrackHead(windows.duration_s, windows.starts_s)
        for window in windows:
            if time.process_time() - began > timeout_s:
                raise AudioError(wanted.path, _too_slow(timeout_s))
            yield window


def _too_slow(timeout_s: float) -> str:
    return f"took longer than {timeout_s:g} s to decode; it may be damaged"
