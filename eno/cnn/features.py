"""Log-mel spectrograms, the input of the CNN.

References
----------
K. Choi, G. Fazekas and M. Sandler, "Automatic tagging using deep convolutional neural networks", ISMIR 2016, finds
log-mel spectrograms better than other inputs.
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
"""Frame length and hop in samples: 128 and 32 ms at 16 kHz."""

LOG_OFFSET = 1e-9
"""Added to the power, so that silence has a logarithm."""

_FRAMES_AT_ONCE = 8192  # their spectrum takes 100 MB


class AudioFeatureExtractor:
    """Compute log-mel spectrograms.

    Parameters
    ----------
    sample_rate : int
        In Hz; audio is resampled to it.
    n_mels : int
        Number of mel bands.

    Examples
    --------
    >>> AudioFeatureExtractor(n_mels=64).from_waveform(np.zeros(16_000)).shape
    torch.Size([1, 64, 32])

    Notes
    -----
    Centred frames of 2048 samples with a hop of 512, so n samples have ``1 + n // 512`` frames; power spectrum;
    triangular filters on HTK's mel scale without normalisation, as by default in torchaudio; ``log(x + 1e-9)``.
    """

    def __init__(self, sample_rate: int = 16_000, n_mels: int = 128) -> None:
        if not 4_000 <= sample_rate <= 192_000:
            raise ConfigError(f"sample_rate is {sample_rate}; expected 4,000 to 192,000 Hz.")
        if not 8 <= n_mels <= 256:
            raise ConfigError(f"n_mels is {n_mels}; expected 8 to 256 mel bands.")
        self.sample_rate, self.n_mels = sample_rate, n_mels
        self.mel_transform = MelSpectrogram(
            sample_rate=sample_rate, n_mels=n_mels, n_fft=FFT_SAMPLES, hop_length=HOP_SAMPLES, center=False
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that affects the values; features with equal settings can be combined."""
        return {
            "sample_rate": self.sample_rate,
            "n_mels": self.n_mels,
            "n_fft": FFT_SAMPLES,
            "hop_length": HOP_SAMPLES,
            "log_offset": LOG_OFFSET,
        }

    def extract(self, audio_path: Path | str) -> torch.Tensor:
        """Decode a file and compute its features.

        Returns
        -------
        torch.Tensor [shape=(1, n_mels, frames), dtype=float32]
        """
        return self.from_waveform(decode(audio_path, sample_rate=self.sample_rate))

    def from_waveform(self, samples: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Compute the features of audio in memory.

        Parameters
        ----------
        samples : np.ndarray or torch.Tensor [shape=(..., n)]
            Mono audio at `sample_rate`; n must be above 1024, because half a frame is mirrored at each end.

        Returns
        -------
        torch.Tensor [shape=(1, n_mels, frames) or (..., n_mels, frames), dtype=float32]
            The first shape for a single waveform of shape (n,).
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
        """Move the computation to a device."""
        self.mel_transform.to(device)
        return self


def frames_in(samples: int) -> int:
    """Return the number of frames of audio of this length.

    Examples
    --------
    >>> frames_in(160_000)
    313
    """
    return 1 + samples // HOP_SAMPLES
