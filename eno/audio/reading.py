"""Probe files, decode spans of them, and read windows.

Decoding is deterministic. Positions are counted in samples at the requested rate, on the grid of the whole resampled
file, so that a span decoded alone equals the same span cut from a full decode.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from eno.audio.audio_file import AudioFile, AudioInfo, open_audio
from eno.audio.silence import has_sound, require_sound, sounding
from eno.audio.windows import WindowPolicy, fill_window
from eno.files import Section


@dataclass(frozen=True)
class DecodedWindows:
    """Mono windows [shape=(n, window_samples), dtype=float32], and where they start in the track [shape=(n,)]."""

    samples: np.ndarray
    starts_s: np.ndarray


def probe(path: Path | str, *, listen: bool = True) -> AudioInfo:
    """Return the properties of a file; see `AudioFile.info`. Raises AudioError if it cannot be read."""
    with open_audio(Path(path)) as audio:
        return audio.info(listen=listen)


def decode(path: Path | str, *, sample_rate: int, start: int = 0, samples: int | None = None) -> np.ndarray:
    """Decode a span as mono audio [shape=(samples,), dtype=float32]; by default up to the end of the file.

    `start` and `samples` are counted at `sample_rate`. Raises AudioError if the file cannot be read or ends too early.
    """
    with open_audio(Path(path)) as audio:
        total = audio.samples(sample_rate)
        return audio.span(sample_rate, start, total - start if samples is None else samples)


def read_windows(
    path: Path | str, *, sample_rate: int, window_samples: int, policy: WindowPolicy, padding: str = "repeat"
) -> DecodedWindows:
    """Decode only the windows of a track; `padding` of short tracks is that of `eno.spec.EncoderSpec`.

    Windows without sound are left out, see `eno.audio.silence`. Raises AudioError if the file cannot be read, ends too
    early, is shorter than `MIN_DURATION_S`, or is silent.
    """
    with open_audio(Path(path)) as audio:
        windows = OpenWindows(audio, sample_rate, window_samples, policy, padding)
        samples = list(windows)
        heard = [has_sound(window, sample_rate) for window in samples]
        require_sound(path, heard)
        return DecodedWindows(np.stack([samples[i] for i in np.flatnonzero(heard)]), windows.starts_s[heard])


def sounding_blocks(windows: OpenWindows, most: int) -> Iterator[np.ndarray]:
    """Decode the windows of an open track that have sound, at most so many at a time [shape=(n, window_samples)].

    Raises AudioError after the last window if none has sound.
    """
    heard = sounding(windows.path, windows, windows.sample_rate)
    while block := list(islice(heard, most)):
        yield np.stack(block)


@contextmanager
def open_windows(
    path: Path | str,
    *,
    sample_rate: int,
    window_samples: int,
    policy: WindowPolicy,
    padding: str = "repeat",
    section: Section | None = None,
) -> Iterator[OpenWindows]:
    """Open a track to decode its windows one by one; see `read_windows`. Iterate while the file is open."""
    with open_audio(Path(path), section=section) as audio:
        yield OpenWindows(audio, sample_rate, window_samples, policy, padding)


class OpenWindows:
    """The windows of an open track; iterating decodes them as float32 arrays [shape=(window_samples,)].

    Attributes
    ----------
    starts_s : np.ndarray [shape=(n,), dtype=float64]
        Start of each window, in seconds from the start of the track.
    duration_s : float
        Duration of the track.
    path, sample_rate
        The file, and the rate at which it is decoded.
    """

    def __init__(
        self, audio: AudioFile, sample_rate: int, window_samples: int, policy: WindowPolicy, padding: str
    ) -> None:
        self._audio, self.path, self.sample_rate = audio, audio.path, sample_rate
        self._window_samples, self._padding = window_samples, padding
        self._total = audio.samples(sample_rate)
        self._starts = policy.starts(self._total, window_samples, sample_rate)
        self.starts_s = self._starts / sample_rate
        self.duration_s = audio.duration_s

    def __iter__(self) -> Iterator[np.ndarray]:
        length = min(self._total, self._window_samples)
        for start in self._starts:
            window = self._audio.span(self.sample_rate, int(start), length)
            if length < self._window_samples:
                window = fill_window(window, self._window_samples, self._padding)
            yield window
