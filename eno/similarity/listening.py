"""Audio that is asked about: a file, or a passage of it, as the encoder hears it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eno.audio.audio_file import MIN_DURATION_S, AudioFile, open_audio
from eno.audio.windows import WindowPolicy, fill_window
from eno.encoders import Encoder
from eno.errors import AudioError, ConfigError

SILENCE = 1e-4
"""Peak below which audio is taken for silence: -80 dB of full scale."""

_TIME = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d+)?)")
_BATCH = 16


@dataclass(frozen=True, eq=False)
class Heard:
    """What an encoder made of a file.

    Attributes
    ----------
    vectors : np.ndarray [shape=(n, layers, dim), dtype=float32]
        Of its windows.
    starts_s : np.ndarray [shape=(n,), dtype=float64]
        Where they begin, in seconds from the start of the file.
    duration_s : float
        How much was listened to: the whole file, or the passage.
    """

    vectors: np.ndarray
    starts_s: np.ndarray
    duration_s: float


def parse_time(text: str) -> float:
    """Read a time: seconds, ``m:ss`` or ``h:mm:ss``, also with a fraction.

    Raises
    ------
    ConfigError
        It is none of these.

    Examples
    --------
    >>> [parse_time(text) for text in ("65", "1:05", "1:02:03.5")]
    [65.0, 65.0, 3723.5]
    """
    found = _TIME.fullmatch(text.strip())
    hours, minutes, seconds = found.groups() if found else (None, None, None)
    if not found or (minutes and float(seconds or 0) >= 60) or (hours and int(minutes or 0) >= 60):
        raise ConfigError(f"{text!r} is no time; write seconds, m:ss or h:mm:ss, as in 65 or 1:05.")
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(seconds or 0)


def listen(
    path: Path, encoder: Encoder, policy: WindowPolicy, *, from_s: float | None = None, to_s: float | None = None
) -> Heard:
    """Encode a file, or a passage of it.

    Parameters
    ----------
    path : Path
        An audio file.
    encoder : Encoder
        What hears it.
    policy : WindowPolicy
        Which windows of a whole file. A passage gets windows that overlap by half, from its start to its end; one that
        is shorter than a window fills it as a short track would.
    from_s, to_s : float, optional
        Where the passage begins and ends, in seconds; the start and the end of the file if not given.

    Raises
    ------
    AudioError
        The file cannot be read, is silent there, or does not reach so far.
    ConfigError
        The passage ends before it begins, or is shorter than `MIN_DURATION_S`.
    """
    spec = encoder.spec
    rate, length = spec.sample_rate, spec.window_samples
    with open_audio(path) as audio:
        first, last = _span(path, audio, rate, from_s, to_s)
        if from_s is not None or to_s is not None:
            policy = WindowPolicy(hop_s=length / rate / 2)
        starts = policy.starts(last - first, length, rate) + first
        samples = min(length, last - first)
        vectors, peak = [], 0.0
        for begin in range(0, len(starts), _BATCH):
            cut = [audio.span(rate, int(start), samples) for start in starts[begin : begin + _BATCH]]
            peak = max(peak, *(float(np.abs(one).max()) for one in cut))
            if samples < length:
                cut = [fill_window(one, length, spec.padding) for one in cut]
            vectors.append(encoder.encode(np.stack(cut)))
    if peak < SILENCE:
        raise AudioError(path, "is silent where it was listened to; silence sounds like nothing. Name another passage")
    return Heard(np.concatenate(vectors), starts / rate, (last - first) / rate)


def _span(path: Path, audio: AudioFile, rate: int, from_s: float | None, to_s: float | None) -> tuple[int, int]:
    """First and last sample of a passage."""
    total = audio.samples(rate)
    begin, end = from_s or 0.0, to_s if to_s is not None else total / rate
    if to_s is not None and end - begin < MIN_DURATION_S:
        raise ConfigError(
            f"the passage from {begin:g} s to {end:g} s: it must be at least {MIN_DURATION_S} s long to hear music."
        )
    if begin > total / rate - MIN_DURATION_S:
        raise AudioError(path, f"is {total / rate:.1f} s long; a passage cannot begin at {begin:g} s")
    return round(begin * rate), min(total, round(end * rate))
