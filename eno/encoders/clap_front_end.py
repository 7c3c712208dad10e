"""The front end of CLAP: log-mel spectrograms in PyTorch, on any device."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.audio_utils import mel_filter_bank

_FLOOR = 1e-10  # power below it counts as this much: -100 dB


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
    drowns weak bands in rounding errors, by up to 20 dB where there is silence. On a CPU it takes 3 % of the network's
    time.
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
        # Powers are positive, so single precision is enough from there on.
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
        spectrum = torch.stft(
            audio.to(self.window.dtype),
            self.fft_samples,
            self.hop_samples,
            window=self.window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        power = torch.view_as_real(spectrum).square().sum(-1).float().transpose(1, 2)
        return 10.0 * torch.log10((power @ self.filters).clamp(min=_FLOOR))
