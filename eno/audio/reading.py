"""Audio in: look into a file, decode the spans that are needed, read windows.

Everything is deterministic: the same file and the same settings give the same samples. Positions
are counted in samples at the rate that was asked for, on the grid of the resampled whole file, so that a
span decoded alone equals the same span cut from a full decode.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eno.audio.audio_file import AudioFile, AudioInfo, open_audio
from eno.audio.windows import WindowPolicy, fill_window


@dataclass(frozen=True)
class Windows:
    """Windows of one track.

    Attributes
    ----------
    samples : np.ndarray [shape=(n, window_samples), dtype=float32]
        Mono audio.
    starts_s : np.ndarray [shape=(n,), dtype=float64]
        Where each window begins, in seconds from the start of the track.
    """

    samples: np.ndarray
    starts_s: np.ndarray


def probe(path: Path | str, *, listen: bool = True) -> AudioInfo:
    """Look into a file: its format, its length, and whether its channels cancel.

    Parameters
    ----------
    path : Path or str
        An audio file.
    listen : bool
        Decode a few spans to learn how it is mixed down.

    Returns
    -------
    AudioInfo
        What was found.

    Raises
    ------
    AudioError
        The file cannot be read as audio.
    """
    with open_audio(Path(path)) as audio:
        return audio.info(listen=listen)


def decode(path: Path | str, *, sample_rate: int, start: int = 0, samples: int | None = None) -> np.ndarray:
    """Decode a span as mono audio at the wanted rate.

    Parameters
    ----------
    path : Path or str
        An audio file.
    sample_rate : int
        Samples per second of the result.
    start : int
        First sample, counted at `sample_rate`.
    samples : int, optional
        How many; to the end of the file if not given.

    Returns
    -------
    np.ndarray [shape=(samples,), dtype=float32]
        The span, equal to the same span cut from a full decode.

    Raises
    ------
    AudioError
        The file cannot be read, or ends before the span does.
    """
    with open_audio(Path(path)) as audio:
        total = audio.samples(sample_rate)
        return audio.span(sample_rate, start, total - start if samples is None else samples)


def read_windows(
    path: Path | str, *, sample_rate: int, window_samples: int, policy: WindowPolicy, padding: str = "repeat"
) -> Windows:
    """Decode the windows of a track, and only these.

    Parameters
    ----------
    path : Path or str
        An audio file.
    sample_rate : int
        Samples per second of the windows.
    window_samples : int
        Samples of one window.
    policy : WindowPolicy
        Which windows.
    padding : {"repeat", "repeatpad"}
        How a track that is shorter than a window fills it; see `eno.spec.EncoderSpec`.

    Returns
    -------
    Windows
        Mono float32 windows and where they begin.

    Raises
    ------
    AudioError
        The file cannot be read, ends before it should, or is shorter than `MIN_DURATION_S`.
    """
    with open_windows(
        path, sample_rate=sample_rate, window_samples=window_samples, policy=policy, padding=padding
    ) as windows:
        return Windows(samples=np.stack(list(windows)), starts_s=windows.starts_s)


@contextmanager
def open_windows(
    path: Path | str, *, sample_rate: int, window_samples: int, policy: WindowPolicy, padding: str = "repeat"
) -> Iterator[OpenWindows]:
    """Open a track to decode its windows one after the other; as `read_windows`, but a long track need not fit memory.

    Yields
    ------
    OpenWindows
        Iterate over it while the file is open.

    Raises
    ------
    AudioError
        As `read_windows`, on opening or on the way.
    """
    with open_audio(Path(path)) as audio:
        yield OpenWindows(audio, sample_rate, window_samples, policy, padding)


class OpenWindows:
    """The windows of an open track; iterating gives float32 arrays [shape=(window_samples,)].

    Attributes
    ----------
    starts_s : np.ndarray [shape=(n,), dtype=float64]
        Where each window begins, in seconds from the start of the track.
    duration_s : float
        Length of the track.
    """

    def __init__(
        self, audio: AudioFile, sample_rate: int, window_samples: int, policy: WindowPolicy, padding: str
    ) -> None:
        self._audio, self._sample_rate, self._window_samples, self._padding = (
            audio,
            sample_rate,
            window_samples,
            padding,
        )
        self._total = audio.samples(sample_rate)
        self._starts = policy.starts(self._total, window_samples, sample_rate)
        self.starts_s = self._starts / sample_rate
        self.duration_s = audio.duration_s

    def __iter__(self) -> Iterator[np.ndarray]:
        length = min(self._total, self._window_samples)
        for start in self._starts:
            window = self._audio.span(self._sample_rate, int(start), length)
            if length < self._window_samples:
                window = fill_window(window, self._window_samples, self._padding)
            yield window
