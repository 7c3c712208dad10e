"""The front end of CLAP: log-mel spectrograms in PyTorch, on any device."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import pad
from transformers.audio_utils import mel_filter_bank

_FLOOR = 1e-10  # power below it counts as this much: -100 dB
# Windows, of which each takes 25 MB on the way: on a CPU they would push each other out of the cache.
_AT_ONCE_GPU = 16


class ClapLogMel(nn.Module):
    """Log-mel spectrogram as `transformers.ClapFeatureExtractor` computes it, for whole batches.

    Parameters
    ----------
    settings : dict
        The checkpoint's ``preprocessor_config.json``. Checkpoints trained with feature fusion have
        ``"truncation": "fusion"`` and HTK mel bands; all others have Slaney bands.

    Notes
    -----
    The transform is computed in double precision, as in the original: in single precision a loud bass or an offset
    drowns weak bands in rounding errors.
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
        """Compute spectrograms.

        Parameters
        ----------
        audio : torch.Tensor [shape=(b, samples)]
            Mono audio.

        Returns
        -------
        torch.Tensor [shape=(b, frames, mels), dtype=float32]
            Decibels, at least -100; ``frames = samples // hop + 1``.
        """
        at_once = 1 if audio.device.type == "cpu" else _AT_ONCE_GPU
        return torch.cat([self._log_mel(some) for some in torch.split(audio, at_once)])

    def _log_mel(self, audio: torch.Tensor) -> torch.Tensor:
        half = self.fft_samples // 2
        padded = pad(audio.to(self.window.dtype).unsqueeze(1), (half, half), mode="reflect").squeeze(1)
        # Not torch.stft: it puts time last, and every step after it works on frequencies.
        spectrum = torch.fft.rfft(padded.unfold(1, self.fft_samples, self.hop_samples) * self.window)
        # Only now to single precision: what follows adds up positive values, where nothing cancels.
        power = spectrum.real.float().square() + spectrum.imag.float().square()
        return 10.0 * torch.log10((power @ self.filters).clamp(min=_FLOOR))
