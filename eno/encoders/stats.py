"""Classical audio descriptors without weights: the baseline of every comparison.

References
----------
G. Tzanetakis and P. Cook, "Musical genre classification of audio signals", IEEE Transactions on Speech and Audio
Processing, 2002. Spectral contrast: D.-N. Jiang et al., ICME 2002. Computed with librosa (B. McFee et al., SciPy 2015).
"""

from __future__ import annotations

import importlib.metadata
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from threadpoolctl import ThreadpoolController

from eno.errors import ConfigError, MissingExtra
from eno.spec import EncoderSpec

_SAMPLE_RATE, _FFT_SAMPLES, _HOP_SAMPLES = 22_050, 2048, 512
_MFCC, _CHROMA, _CONTRAST = 20, 12, 7
_TRACKS = _MFCC + _CHROMA + _CONTRAST
_SLOWEST_BPM, _FASTEST_BPM = 40.0, 240.0


class Stats:
    """Statistics over time of MFCCs, chroma and spectral contrast, and the tempo.

    Parameters
    ----------
    window_s : float
        Length of a window in seconds. Estimating a tempo takes several seconds of audio.

    Notes
    -----
    119 values: mean, standard deviation and mean absolute change between frames (512 samples at 22,050 Hz) of 20 MFCCs,
    12 chroma bins and 7 contrast bands; the tempo in octaves above 120 BPM; and the autocorrelation of the onsets at
    that tempo. The first MFCC depends on the level. Heads should standardise these values.
    """

    def __init__(self, *, window_s: Annotated[float, Field(ge=2, le=60)] = 10.0) -> None:
        if not 2 <= window_s <= 60:
            raise ConfigError(f"window_s = {window_s}: expected 2 to 60 seconds.")
        try:
            import librosa
        except ImportError as error:
            raise MissingExtra("stats", "librosa") from error
        # librosa's minor releases have changed values before.
        version = ".".join(importlib.metadata.version("librosa").split(".")[:2])
        self.spec = EncoderSpec(
            name="stats",
            options={"window_s": window_s},
            revision=f"1-librosa-{version}",
            weights_sha256="",
            sample_rate=_SAMPLE_RATE,
            window_samples=round(window_s * _SAMPLE_RATE),
            layers=("descriptors",),
            pooling="mean, standard deviation and mean absolute change over time",
            dim=3 * _TRACKS + 2,
        )
        self._mel = librosa.filters.mel(sr=_SAMPLE_RATE, n_fft=_FFT_SAMPLES)
        self._threads = ThreadpoolController()

    def encode(self, windows: np.ndarray) -> np.ndarray:
        """See `eno.encoders.Encoder`; raise ValueError for windows of another length."""
        self.spec.check_windows(windows)
        vectors = np.empty((len(windows), 1, self.spec.dim), np.float32)
        # The matrices are so small that several threads of BLAS mostly wait for each other, and for those that decode.
        with self._threads.limit(limits=1, user_api="blas"):
            for row, window in zip(vectors, windows, strict=True):
                row[0] = self._describe(window)
        return vectors

    def _describe(self, window: np.ndarray) -> np.ndarray:
        import librosa

        # All features share one spectrogram. Tuning is 0: estimating it takes longer than everything else.
        spectrum: np.ndarray = np.abs(librosa.stft(window, n_fft=_FFT_SAMPLES, hop_length=_HOP_SAMPLES))
        decibels = librosa.power_to_db(self._mel @ np.square(spectrum), top_db=None)
        common: dict[str, Any] = {"sr": _SAMPLE_RATE, "hop_length": _HOP_SAMPLES}
        tracks = np.concatenate(
            [
                librosa.feature.mfcc(S=decibels, n_mfcc=_MFCC),
                librosa.feature.chroma_stft(S=np.square(spectrum), tuning=0.0, n_chroma=_CHROMA, **common),
                librosa.feature.spectral_contrast(S=spectrum, **common),
            ]
        )
        change = np.abs(np.diff(tracks, axis=1)).mean(axis=1)
        return np.concatenate([tracks.mean(axis=1), tracks.std(axis=1), change, _tempo(decibels)])


def _tempo(decibels: np.ndarray) -> np.ndarray:
    """Return the tempo in octaves above 120 BPM, and the normalised autocorrelation of the onsets at its lag."""
    import librosa

    onsets = np.maximum(np.diff(decibels, axis=1), 0).mean(axis=0)
    onsets = onsets - onsets.mean()
    frames_per_minute = 60 * _SAMPLE_RATE / _HOP_SAMPLES
    correlation = librosa.autocorrelate(onsets)
    if not correlation[0] > 1e-6:  # silence, or a steady sound
        return np.zeros(2)
    first, last = int(frames_per_minute / _FASTEST_BPM), int(frames_per_minute / _SLOWEST_BPM)
    lags = np.arange(first, min(last, len(correlation) - 1) + 1)
    octaves = np.log2(frames_per_minute / lags / 120)
    # Favour moderate tempi over their halves and doubles, as librosa.feature.tempo does.
    strength = correlation[lags] / correlation[0]
    best = int(np.argmax(strength * np.exp(-0.5 * octaves**2)))
    return np.array([octaves[best], strength[best]])
