"""Augmentation of log-mel spectrograms [shape=(..., n_mels, frames)].

SpecAugment: D. S. Park et al., Interspeech 2019. Pitch and tempo changes by resampling the spectrogram instead of the
audio: J. Schlüter and T. Grill, "Exploring data augmentation for improved singing voice detection", ISMIR 2015.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from eno.audio.windows import fill_window
from eno.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random time stretching, pitch shifting and masking (see `spec_augment`) of training crops, in this order.

    `time_stretch` is the maximum change of tempo (0 to 0.5; 0.1 is ±10 %), `pitch_shift` the maximum shift in semitones
    (0 to 12).
    """

    time_stretch: float = 0.0
    pitch_shift: float = 0.0
    spec_augment: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.time_stretch <= 0.5:
            raise ConfigError(f"time_stretch is {self.time_stretch}; expected 0 to 0.5 (50 % faster or slower).")
        if not 0 <= self.pitch_shift <= 12:
            raise ConfigError(f"pitch_shift is {self.pitch_shift}; expected 0 to 12 semitones.")

    def frames_needed(self, frames: int) -> int:
        """Return the number of input frames that leave at least `frames` after the fastest stretch."""
        return math.ceil(frames * (1 + self.time_stretch)) + 1 if self.time_stretch else frames

    def __call__(
        self, features: np.ndarray, rng: np.random.Generator, *, sample_rate: int, frames: int | None = None
    ) -> np.ndarray:
        """Augment features [shape=(1, n_mels, t)], and cut them to `frames` if given.

        `sample_rate` is that of the audio. To get `frames` frames, pass ``t = frames_needed(frames)``.
        """
        if self.time_stretch:
            features = time_stretch(features, 1 + rng.uniform(-self.time_stretch, self.time_stretch))
        features = features[..., :frames]
        if self.pitch_shift:
            features = pitch_shift(features, rng.uniform(-self.pitch_shift, self.pitch_shift), sample_rate=sample_rate)
        return spec_augment(features, rng) if self.spec_augment else features


def random_crop(features: np.ndarray, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random crop [shape=(..., n_mels, frames)]; shorter tracks are repeated."""
    start = int(rng.integers(max(0, features.shape[-1] - frames) + 1))
    return cut(features, start, frames)


def cut(features: np.ndarray, start: int, frames: int) -> np.ndarray:
    """Copy `frames` frames from `start`; shorter tracks are repeated. Memory-mapped features are read only there."""
    span = np.array(features[..., start : start + frames])
    return span if span.shape[-1] == frames else fill_window(span, frames, "repeat")


def time_stretch(features: np.ndarray, rate: float) -> np.ndarray:
    """Change the tempo by linear interpolation between frames [shape=(..., n_mels, round(t / rate)), dtype=float32].

    A rate above 1 is faster. The pitch does not change, but unlike in stretched audio onsets are stretched too.
    """
    frames = features.shape[-1]
    return _interpolate(features, np.arange(max(1, round(frames / rate))) * rate)


def pitch_shift(features: np.ndarray, semitones: float, *, sample_rate: int) -> np.ndarray:
    """Shift the pitch by interpolation along the mel axis, HTK's scale from 0 to half of `sample_rate`.

    An approximation: formants are shifted too, and beyond the ends of the spectrum the outermost band is repeated.
    """
    n_mels = features.shape[-2]
    top = _mel(sample_rate / 2)
    step = top / (n_mels + 1)  # band i is centred at (i + 1) steps
    frequencies = 700 * (10 ** (step * np.arange(1, n_mels + 1) / 2595) - 1)
    sources = _mel(frequencies / 2 ** (semitones / 12)) / step - 1
    return np.swapaxes(_interpolate(np.swapaxes(features, -1, -2), sources), -1, -2)


def spec_augment(
    features: np.ndarray,
    rng: np.random.Generator,
    *,
    mel_masks: int = 2,
    mel_width: int = 16,
    time_masks: int = 2,
    time_share: float = 0.1,
) -> np.ndarray:
    """Replace random bands and frames by the mean of the spectrogram.

    Positions and widths of the masks are drawn uniformly. A mask covers at most `mel_width` bands, or the share
    `time_share` of the frames.
    """
    masked = np.array(features, np.float32)
    n_mels, frames = masked.shape[-2:]
    mean = masked.mean()
    for _ in range(mel_masks):
        masked[..., _span(rng, n_mels, min(mel_width, n_mels)), :] = mean
    for _ in range(time_masks):
        masked[..., _span(rng, frames, int(time_share * frames))] = mean
    return masked


def _span(rng: np.random.Generator, length: int, widest: int) -> slice:
    width = int(rng.integers(widest + 1))
    start = int(rng.integers(length - width + 1))
    return slice(start, start + width)


def _interpolate(features: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Interpolate linearly along the last axis; positions beyond its ends get the outermost value."""
    places = np.clip(positions, 0, features.shape[-1] - 1)
    left = np.floor(places).astype(np.int64)
    right = np.minimum(left + 1, features.shape[-1] - 1)
    weight = (places - left).astype(np.float32)
    result: np.ndarray = features[..., left] * (1 - weight) + features[..., right] * weight
    return result.astype(np.float32, copy=False)


def _mel(frequency_hz: np.ndarray | float) -> np.ndarray:
    return np.asarray(2595 * np.log10(1 + np.asarray(frequency_hz) / 700))
