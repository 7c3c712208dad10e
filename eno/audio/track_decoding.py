"""Decode the windows of tracks in worker processes, which import little to save memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from eno.audio.reading import OpenWindows, open_windows
from eno.audio.silence import sounding
from eno.audio.windows import WindowPolicy
from eno.audio.workers.heartbeat import note_progress
from eno.audio.workers.pool import FILE_TIMEOUT_S, WorkerPool
from eno.errors import AudioError
from eno.files import Section
from eno.spec import EncoderSpec

_HASH_DIGITS = 32
_SLOT_WINDOWS = 8
_SLOT_BYTES = 16 * 2**20


class FileStamp(NamedTuple):
    """Identity of an embedded file: bytes, time of modification in nanoseconds, and hash of the decoded samples.

    If the track is a section of the file, also where that begins and ends.
    """

    size: int
    mtime_ns: int
    samples_hash: str
    section_start_s: float | None = None
    section_end_s: float | None = None


class TrackRequest(NamedTuple):
    """Path of a file to decode, or section of it, unless its samples still have the known hash."""

    file: str
    known_hash: str | None
    section: Section | None = None


class TrackEnd(NamedTuple):
    """Follows the windows of a track; `heard` says which of them have sound [shape=(n,), dtype=bool]."""

    stamp: FileStamp
    heard: np.ndarray


class TrackHead(NamedTuple):
    """Precedes the windows of a track: its duration, and where its windows begin [shape=(n,), dtype=float64]."""

    duration_s: float
    starts_s: np.ndarray


def track_pool(
    spec: EncoderSpec, policy: WindowPolicy, *, workers: int, nice: int = 0, file_timeout_s: float = FILE_TIMEOUT_S
) -> WorkerPool:
    """Return a pool of workers that decode tracks, given `TrackRequest` messages.

    The first chunk of a track is its `TrackHead`, the others are its windows with sound, and the result is its
    `TrackEnd`. There are no chunks if the samples have the known hash.
    """
    windows = max(1, min(_SLOT_WINDOWS, _SLOT_BYTES // (4 * spec.window_samples)))
    return WorkerPool(
        partial(decode_track, spec, policy),
        workers=workers,
        slot_shape=(windows, spec.window_samples),
        nice=nice,
        timeout_s=file_timeout_s,
    )


def decode_track(
    spec: EncoderSpec, policy: WindowPolicy, request: TrackRequest
) -> Generator[TrackHead | np.ndarray, None, TrackEnd]:
    """Decode the windows of a track in a worker.

    Raises AudioError if it cannot be read, is silent (see `eno.audio.silence`), or is being modified.
    """
    before, limits = _size_and_time(request.file), request.section or ()
    layout: Any = {"sample_rate": spec.sample_rate, "window_samples": spec.window_samples, "padding": spec.padding}
    with open_windows(request.file, policy=policy, section=request.section, **layout) as windows:
        if request.known_hash is not None and _hash_of(windows) == request.known_hash:
            return TrackEnd(FileStamp(*before, request.known_hash, *limits), np.zeros(0, bool))
        digest = hashlib.sha256()
        yield TrackHead(windows.duration_s, windows.starts_s)
        heard = yield from sounding(request.file, _hashed(windows, digest), spec.sample_rate)
    if _size_and_time(request.file) != before:
        raise AudioError(request.file, "was modified while it was being read; the next run tries it again")
    return TrackEnd(FileStamp(*before, digest.hexdigest()[:_HASH_DIGITS], *limits), heard)


def _hash_of(windows: OpenWindows) -> str:
    digest = hashlib.sha256()
    for _ in _hashed(windows, digest):
        pass
    return digest.hexdigest()[:_HASH_DIGITS]


def _hashed(windows: OpenWindows, digest: Any) -> Iterator[np.ndarray]:
    for window in windows:
        note_progress()
        digest.update(np.ascontiguousarray(window, "<f4").data)
        yield window


def _size_and_time(file: str) -> tuple[int, int]:
    try:
        status = os.stat(file)
    except OSError:  # opening the file gives the reason
        return -1, -1
    return status.st_size, status.st_mtime_ns
