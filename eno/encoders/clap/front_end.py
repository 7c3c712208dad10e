"""The front end of CLAP: log-mel spectrograms in PyTorch, on any device."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import pad
from transformers.audio_utils import mel_filter_bank

_FLOOR = 1e-10  # minimum power: -100 dB
# A window takes 25 MB in between, so on a CPU several would not fit the cache.
_BATCH_ON_GPU = 16


class ClapLogMel(nn.Module):
    """Log-mel spectrograms equal to those of `transformers.ClapFeatureExtractor`, for batches.

    Maps mono audio [shape=(b, samples)] to decibels, at least -100 [shape=(b, samples // hop + 1, mels)].

    Parameters
    ----------
    settings : dict
        The checkpoint's ``preprocessor_config.json``. Checkpoints trained with feature fusion have
        ``"truncation": "fusion"`` and HTK mel bands; all others have Slaney bands.

    Notes
    -----
    The Fourier transform is in double precision, as in the original: in single precision, rounding errors of a loud
    bass or an offset exceed weak bands.
    """

    window: torch.Tensor
    filters: torch.Tensor

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        slaney = settings.get("truncation", "fusion") != "fusion"
        self.fft_samples = int(settings.get("fft_window_size", 1024))
        self.hop_samples = int(settings.get("hop_length", 480))
        filters = mel_filter_bank(
            num_frequency_bins=self.fft_samples // 2 + 1,
            num_mel_filters=int(settings.get("feature_size", 64)),
            min_frequency=float(settings.get("frequency_min", 0)),
            max_frequency=float(settings.get("frequency_max", 14_000)),
            sampling_rate=int(settings.get("sampling_rate", 48_000)),
            norm="slaney" if slaney else None,
            mel_scale="slaney" if slaney else "htk",
        )
        self.register_buffer("window", torch.hann_window(self.fft_samples, dtype=torch.float64), persistent=False)
        self.register_buffer("filters", torch.from_numpy(filters).float(), persistent=False)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """Compute spectrograms; see the class."""
        batch = 1 if audio.device.type == "cpu" else _BATCH_ON_GPU
        return torch.cat([self._log_mel(some) for some in torch.split(audio, batch)])

    def _log_mel(self, audio: torch.Tensor) -> torch.Tensor:
        half = self.fft_samples // 2
        padded = pad(audio.to(self.window.dtype).unsqueeze(1), (half, half), mode="reflect").squeeze(1)
        # Not torch.stft: it puts time last, but the next steps work along frequency.
        spectrum = torch.fft.rfft(padded.unfold(1, self.fft_samples, self.hop_samples) * self.window)
        # Single precision is enough from here: sums of positive values do not cancel.
        power = spectrum.real.float().square() + spectrum.imag.float().square()
        return 10.0 * torch.log10((power @ self.filters).clamp(min=_FLOOR))
