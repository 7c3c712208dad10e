"""Log-mel spectrograms: what the CNN hears.

References
----------
K. Choi, G. Fazekas and M. Sandler, "Automatic tagging using deep convolutional neural networks", ISMIR 2016, has
log-mel spectrograms ahead of other inputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import pad
from torchaudio.transforms import MelSpectrogram

from eno.audio.reading import decode
from eno.errors import ConfigError

FFT_SAMPLES, HOP_SAMPLES = 2048, 512
"""Length of a frame and distance between two, in samples: 128 and 32 ms at 16 kHz."""

LOG_OFFSET = 1e-9
"""Added to the power before the logarithm, so that silence has one."""

_FRAMES_AT_ONCE = 8192  # of a long track: their spectrum takes 100 MB


class AudioFeatureExtractor:
    """Audio file → log-mel spectrogram.

    Parameters
    ----------
    sample_rate : int
        Samples per second that audio is brought to.
    n_mels : int
        Mel bands.

    Raises
    ------
    ConfigError
        A value is out of range.

    Examples
    --------
    >>> AudioFeatureExtractor(n_mels=64).from_waveform(np.zeros(16_000)).shape
    torch.Size([1, 64, 32])

    Notes
    -----
    Frames of 2048 samples, 512 apart and centred, so that n samples give ``1 + n // 512`` of them; power; triangular
    filters on HTK's mel scale without normalisation; ``log(x + 1e-9)``. These are torchaudio's defaults.
    """

    def __init__(self, sample_rate: int = 16_000, n_mels: int = 128) -> None:
        if not 4_000 <= sample_rate <= 192_000:
            raise ConfigError(f"sample_rate is {sample_rate}; expected 4,000 to 192,000 samples per second.")
        if not 8 <= n_mels <= 256:
            raise ConfigError(f"n_mels is {n_mels}; expected 8 to 256 mel bands.")
        self.sample_rate, self.n_mels = sample_rate, n_mels
        self.mel_transform = MelSpectrogram(
            sample_rate=sample_rate, n_mels=n_mels, n_fft=FFT_SAMPLES, hop_length=HOP_SAMPLES, center=False
        )

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the values: features of equal settings may be mixed."""
        return {
            "sample_rate": self.sample_rate,
            "n_mels": self.n_mels,
            "n_fft": FFT_SAMPLES,
            "hop_length": HOP_SAMPLES,
            "log_offset": LOG_OFFSET,
        }

    def extract(self, audio_path: Path | str) -> torch.Tensor:
        """Read a file and compute its features.

        Parameters
        ----------
        audio_path : Path or str
            An audio file of any format, rate and number of channels that eno reads.

        Returns
        -------
        torch.Tensor [shape=(1, n_mels, frames), dtype=float32]

        Raises
        ------
        AudioError
            The file cannot be read as audio.
        """
        return self.from_waveform(decode(audio_path, sample_rate=self.sample_rate))

    def from_waveform(self, samples: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Compute the features of audio that is there already.

        Parameters
        ----------
        samples : np.ndarray or torch.Tensor [shape=(..., n)]
            Mono audio at `sample_rate`, or a batch of it.

        Returns
        -------
        torch.Tensor [shape=(1, n_mels, frames) or (..., n_mels, frames), dtype=float32]
            The first shape for a single waveform of shape (n,).

        Raises
        ------
        ValueError
            There are no more than 1024 samples: half a frame is mirrored at each end.
        """
        waveform = torch.as_tensor(samples, dtype=torch.float32)
        waveform = waveform[None] if waveform.ndim == 1 else waveform
        if waveform.shape[-1] <= FFT_SAMPLES // 2:
            raise ValueError(f"samples have the shape {tuple(waveform.shape)}; expected more than {FFT_SAMPLES // 2}.")
        centred = pad(waveform.reshape(1, -1, waveform.shape[-1]), (FFT_SAMPLES // 2,) * 2, mode="reflect")
        centred = centred.reshape(*waveform.shape[:-1], -1)
        frames = frames_in(waveform.shape[-1])
        parts = []
        for first in range(0, frames, _FRAMES_AT_ONCE):
            last = min(first + _FRAMES_AT_ONCE, frames) - 1
            span = centred[..., first * HOP_SAMPLES : last * HOP_SAMPLES + FFT_SAMPLES]
            parts.append(torch.log(self.mel_transform(span) + LOG_OFFSET))
        return torch.cat(parts, dim=-1)

    def to(self, device: torch.device) -> AudioFeatureExtractor:
        """Compute on this device from now on."""
        self.mel_transform.to(device)
        return self


def frames_in(samples: int) -> int:
    """Frames of audio of that length.

    Examples
    --------
    >>> frames_in(160_000)
    313
    """
    return 1 + samples // HOP_SAMPLES
