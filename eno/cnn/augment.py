"""Augmentations of log-mel spectrograms [shape=(..., n_mels, frames)].

References
----------
SpecAugment: D. S. Park et al., "SpecAugment: A simple data augmentation method for automatic speech recognition",
Interspeech 2019. Pitch and tempo for music: J. Schlüter and T. Grill, "Exploring data augmentation for improved singing
voice detection with neural networks", ISMIR 2015, who also resample the spectrogram instead of the audio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from eno.audio.windows import fill_window
from eno.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Augment:
    """The augmentation of training crops: time stretching, pitch shifting, masking, in this order.

    Attributes
    ----------
    time_stretch : float
        Maximum change of tempo, 0 to 0.5: 0.1 for ±10 %. 0 for none.
    pitch_shift : float
        Maximum shift in semitones, 0 to 12. 0 for none.
    spec_augment : bool
        Whether to mask bands and frames, see `spec_augment`.
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
        """Return the number of frames to read so that at least `frames` are left after the fastest stretch."""
        return math.ceil(frames * (1 + self.time_stretch)) + 1 if self.time_stretch else frames

    def __call__(
        self, features: np.ndarray, rng: np.random.Generator, *, sample_rate: int, frames: int | None = None
    ) -> np.ndarray:
        """Augment a spectrogram.

        Parameters
        ----------
        features : np.ndarray [shape=(1, n_mels, t)]
            With ``t = frames_needed(frames)``, if `frames` is given.
        sample_rate : int
            Of the audio, which determines the frequencies of the bands.
        frames : int, optional
            Length of the result [shape=(1, n_mels, frames), dtype=float32].
        """
        if self.time_stretch:
            features = time_stretch(features, 1 + rng.uniform(-self.time_stretch, self.time_stretch))
        features = features[..., :frames]
        if self.pitch_shift:
            features = pitch_shift(features, rng.uniform(-self.pitch_shift, self.pitch_shift), sample_rate=sample_rate)
        return spec_augment(features, rng) if self.spec_augment else features


def random_crop(features: np.ndarray, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random crop [shape=(..., n_mels, frames)]; shorter tracks are repeated.

    Only the crop is read if `features` is memory-mapped.
    """
    start = int(rng.integers(max(0, features.shape[-1] - frames) + 1))
    return cut(features, start, frames)


def cut(features: np.ndarray, start: int, frames: int) -> np.ndarray:
    """Copy frames from `start`; shorter tracks are repeated."""
    span = np.array(features[..., start : start + frames])
    return span if span.shape[-1] == frames else fill_window(span, frames, "repeat")


def time_stretch(features: np.ndarray, rate: float) -> np.ndarray:
    """Change the tempo by linear interpolation between frames; above 1 is faster.

    The pitch stays the same. Unlike with stretched audio, onsets become longer or shorter with the tempo.

    Returns
    -------
    np.ndarray [shape=(..., n_mels, round(t / rate)), dtype=float32]
        At least one frame.
    """
    frames = features.shape[-1]
    return _interpolate(features, np.arange(max(1, round(frames / rate))) * rate)


def pitch_shift(features: np.ndarray, semitones: float, *, sample_rate: int) -> np.ndarray:
    """Shift the pitch by interpolation along the mel axis.

    An approximation: each band takes the value at its frequency divided by the factor, so formants are shifted too, and
    beyond the ends of the spectrum the outermost band is repeated.

    Parameters
    ----------
    semitones : float
        Above 0 is higher.
    sample_rate : int
        Of the audio: the bands span 0 to half of it on HTK's mel scale.

    Returns
    -------
    np.ndarray [shape=(..., n_mels, t), dtype=float32]
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

    Widths, from 0 to the maximum, and positions of the masks are drawn uniformly.

    Parameters
    ----------
    mel_masks, time_masks : int
        Number of masks.
    mel_width : int
        Maximum number of bands in a mask.
    time_share : float
        Maximum share of the frames in a mask.

    Returns
    -------
    np.ndarray [shape=(..., n_mels, t), dtype=float32]
    """
    masked = np.array(features, np.float32)
    n_mels, frames = masked.shape[-2:]
    mean = masked.mean()
    for _ in range(mel_masks):
        bands = _span(rng, n_mels, min(mel_width, n_mels))
        masked[..., bands, :] = mean
    for _ in range(time_masks):
        masked[..., _span(rng, frames, int(time_share * frames))] = mean
    return masked


def _span(rng: np.random.Generator, length: int, widest: int) -> slice:
    width = int(rng.integers(widest + 1))
    start = int(rng.integers(length - width + 1))
    return slice(start, start + width)


def _interpolate(features: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Interpolate linearly along the last axis; beyond its ends the outermost values are repeated."""
    places = np.clip(positions, 0, features.shape[-1] - 1)
    left = np.floor(places).astype(np.int64)
    right = np.minimum(left + 1, features.shape[-1] - 1)
    weight = (places - left).astype(np.float32)
    result: np.ndarray = features[..., left] * (1 - weight) + features[..., right] * weight
    return result.astype(np.float32, copy=False)


def _mel(frequency_hz: np.ndarray | float) -> np.ndarray:
    return np.asarray(2595 * np.log10(1 + np.asarray(frequency_hz) / 700))
