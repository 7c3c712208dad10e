"""Decode uploaded files in worker processes, where a file that hangs, crashes or exhausts a decoder fails alone.

Windows arrive a few at a time, so a file of any length takes little memory, and decoding stops as soon as nobody waits
for the file any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

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


class Upload(NamedTuple):
    """A file, the windows that are wanted of it, and the longest duration that is allowed."""

    path: Path
    policy: WindowPolicy
    max_duration_s: float


def upload_pool(spec: EncoderSpec, *, timeout_s: float) -> WorkerPool:
    """Return a pool of one worker, for one thread, in which all windows of a file may take `timeout_s` to decode."""
    return WorkerPool(
        partial(decode_upload, spec, timeout_s),
        workers=1,
        slot_shape=(_CHUNK_WINDOWS, spec.window_samples),
        memory_bytes=_MEMORY_BYTES,
        timeout_s=timeout_s,
        attempts=1,
    )


def read_upload(
    pool: WorkerPool, upload: Upload, *, needed: Callable[[], bool] = lambda: True
) -> Generator[TrackHead | np.ndarray, None, None]:
    """Yield the head of a file, then its windows [shape=(m, window_samples), dtype=float32], some at a time.

    Raises
    ------
    AudioError
        The file cannot be read, is too long, or takes too long to decode; or `needed` has returned False.
    EnoError
        The worker cannot be started.
    """
    with closing(pool.run([upload], cancelled=lambda: not needed())) as events:
        for event in events:
            if isinstance(event, Chunk):
                content = event.content.copy() if isinstance(event.content, np.ndarray) else event.content
                event.release()
                yield content
            elif isinstance(event, TaskFailed):
                raise AudioError(upload.path, event.reason)
            else:
                return
    raise AudioError(upload.path, "is no longer needed")


def decode_upload(spec: EncoderSpec, timeout_s: float, upload: Upload) -> Generator[TrackHead | np.ndarray, None, None]:
    """Decode the windows of a file; what the worker runs."""
    began = time.process_time()
    with open_audio(upload.path, max_duration_s=upload.max_duration_s) as audio:
        info = audio.info(listen=False)
        if info.sample_rate > _MAX_RATE or info.channels > _MAX_CHANNELS:
            claimed = f"{info.sample_rate:,} samples per second in {info.channels} channels"
            raise AudioError(upload.path, f"claims {claimed}: not music")
        windows = OpenWindows(audio, spec.sample_rate, spec.window_samples, upload.policy, spec.padding)
        yield TrackHead(windows.duration_s, windows.starts_s)
        for window in windows:
            if time.process_time() - began > timeout_s:
                raise AudioError(upload.path, f"took longer than {timeout_s:g} s to decode; it may be damaged")
            yield window
