"""Decode uploaded files in worker processes, where a file that hangs, crashes or exhausts a decoder fails alone.

Windows are passed on in chunks, so that a long file takes little memory, and a cancelled request stops its decoding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eno.audio.audio_file import open_audio
from eno.audio.reading import OpenWindows
from eno.audio.silence import sounding
from eno.audio.track_decoding import TrackHead
from eno.audio.windows import WindowPolicy
from eno.audio.workers.handle import Chunk, TaskDone, TaskFailed
from eno.audio.workers.pool import WorkerPool
from eno.errors import AudioError
from eno.spec import EncoderSpec

_CHUNK_WINDOWS = 16
_MAX_RATE, _MAX_CHANNELS = 768_000, 64  # a false header with more would make a window take gigabytes
_MEMORY_BYTES = 3 * 2**30


class DecodeTask(NamedTuple):
    """Which windows of which file to decode, unless it lasts longer than `max_duration_s`."""

    path: Path
    policy: WindowPolicy
    max_duration_s: float


def upload_pool(spec: EncoderSpec, *, timeout_s: float) -> WorkerPool:
    """Return a pool of one worker process, which may take `timeout_s` to decode a file. Only one thread may use it."""
    return WorkerPool(
        partial(decode_upload, spec, timeout_s),
        workers=1,
        slot_shape=(_CHUNK_WINDOWS, spec.window_samples),
        memory_bytes=_MEMORY_BYTES,
        timeout_s=timeout_s,
        attempts=1,
    )


def read_upload(
    pool: WorkerPool, task: DecodeTask, *, needed: Callable[[], bool] = lambda: True
) -> Generator[TrackHead | np.ndarray, None, np.ndarray]:
    """Yield duration and window starts of a file, then chunks of its windows with sound [shape=(m, window_samples)].

    Returns which of the windows have sound [shape=(n,), dtype=bool].

    Raises
    ------
    AudioError
        The file cannot be read, is silent, too long, or takes too long to decode; or `needed` has returned False.
    EnoError
        The worker cannot be started.
    """
    with closing(pool.run([task], cancelled=lambda: not needed())) as events:
        for event in events:
            if isinstance(event, Chunk):
                content = event.content.copy() if isinstance(event.content, np.ndarray) else event.content
                event.release()
                yield content
            elif isinstance(event, TaskFailed):
                raise AudioError(task.path, event.reason)
            elif isinstance(event, TaskDone):
                return np.asarray(event.result)
    raise AudioError(task.path, "is no longer needed")


def decode_upload(
    spec: EncoderSpec, timeout_s: float, task: DecodeTask
) -> Generator[TrackHead | np.ndarray, None, np.ndarray]:
    """Decode a file; runs in the worker process."""

    def in_time() -> Iterator[np.ndarray]:
        for window in windows:
            if time.process_time() - began > timeout_s:
                raise AudioError(task.path, f"took longer than {timeout_s:g} s to decode; it may be damaged")
            yield window

    began = time.process_time()
    with open_audio(task.path, max_duration_s=task.max_duration_s) as audio:
        info = audio.info(listen=False)
        if info.sample_rate > _MAX_RATE or info.channels > _MAX_CHANNELS:
            found, most = f"{info.sample_rate:,} Hz, {info.channels} channels", f"{_MAX_RATE:,} Hz, {_MAX_CHANNELS}"
            raise AudioError(task.path, f"is not music according to its header ({found}; at most {most} are accepted)")
        windows = OpenWindows(audio, spec.sample_rate, spec.window_samples, task.policy, spec.padding)
        yield TrackHead(windows.duration_s, windows.starts_s)
        return (yield from sounding(task.path, in_time(), spec.sample_rate))
