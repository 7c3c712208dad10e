"""Audio as a query: encode a file, or a passage of one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eno.audio.audio_file import MIN_DURATION_S, AudioFile, open_audio
from eno.audio.silence import has_sound, require_sound
from eno.audio.windows import WindowPolicy, fill_window
from eno.encoders import Encoder
from eno.errors import AudioError, ConfigError
from eno.files import Section

_BATCH = 16


@dataclass(frozen=True, eq=False)
class EncodedAudio:
    """Embeddings of the windows of a file or passage.

    Attributes
    ----------
    vectors : np.ndarray [shape=(n, layers, dim), dtype=float32]
    starts_s : np.ndarray [shape=(n,), dtype=float64]
        Start of each window, in seconds from the start of the file.
    duration_s : float
        Duration of the file or passage.
    """

    vectors: np.ndarray
    starts_s: np.ndarray
    duration_s: float


def encode_audio(
    path: Path,
    encoder: Encoder,
    policy: WindowPolicy,
    *,
    section: Section | None = None,
    from_s: float | None = None,
    to_s: float | None = None,
) -> EncodedAudio:
    """Encode a file or a section of it, or the passage from `from_s` to `to_s` seconds of either.

    The policy determines the windows of a whole file. A passage gets windows that overlap by half, from its start to
    its end; if it is shorter than a window, it fills one as a short track does. Windows without sound are left out, see
    `eno.audio.silence`.

    Raises
    ------
    AudioError
        The file cannot be read, is silent, or ends before the passage.
    ConfigError
        The passage is shorter than `MIN_DURATION_S`.
    """
    spec = encoder.spec
    rate, length = spec.sample_rate, spec.window_samples
    with open_audio(path, section=section) as audio:
        first, last = _span(path, audio, rate, from_s, to_s)
        if from_s is not None or to_s is not None:
            policy = WindowPolicy(hop_s=length / rate / 2)
        starts = policy.starts(last - first, length, rate) + first
        samples = min(length, last - first)
        vectors, heard = [], list[bool]()
        for begin in range(0, len(starts), _BATCH):
            cut = [audio.span(rate, int(start), samples) for start in starts[begin : begin + _BATCH]]
            if samples < length:
                cut = [fill_window(one, length, spec.padding) for one in cut]
            heard += [has_sound(one, rate) for one in cut]
            if sounding := [one for one, loud in zip(cut, heard[begin:], strict=True) if loud]:
                vectors.append(encoder.encode(np.stack(sounding)))
    require_sound(path, heard)
    return EncodedAudio(np.concatenate(vectors), starts[heard] / rate, (last - first) / rate)


def _span(path: Path, audio: AudioFile, rate: int, from_s: float | None, to_s: float | None) -> tuple[int, int]:
    """Return the first sample of a passage, and the one after its last."""
    total = audio.samples(rate)
    begin, end = from_s or 0.0, to_s if to_s is not None else total / rate
    if to_s is not None and end - begin < MIN_DURATION_S:
        raise ConfigError(f"The passage from {begin:g} s to {end:g} s must be at least {MIN_DURATION_S} s long.")
    if begin > total / rate - MIN_DURATION_S:
        raise AudioError(path, f"is {total / rate:.1f} s long, so a passage cannot begin at {begin:g} s")
    return round(begin * rate), min(total, round(end * rate))
