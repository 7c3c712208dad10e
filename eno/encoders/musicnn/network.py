"""The network of musicnn and its front end, in PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from eno.errors import ConfigError

try:
    import torchaudio
except OSError as error:
    raise ConfigError(
        f"torchaudio cannot be loaded with PyTorch {torch.__version__} ({error}): it was built for another version. "
        "Install the matching torchaudio, or run scripts/repair_torchaudio.py from eno's repository in this "
        "environment."
    ) from error

SAMPLE_RATE = 16_000
FFT_SAMPLES, HOP_SAMPLES, MEL_BANDS, PATCH_FRAMES = 512, 256, 96, 187

_NORM_EPSILON = 1e-3  # TensorFlow's default, with which the networks were trained


class LogMel(nn.Module):
    """musicnn's front end: a log-mel spectrogram of 96 Slaney bands.

    Maps audio at 16 kHz [shape=(b, samples)] to frames [shape=(b, frames, 96)], where
    ``frames = (samples - 512) // 256 + 1``: no frame reaches past the audio.
    """

    def __init__(self) -> None:
        super().__init__()
        self._mel = torchaudio.transforms.MelSpectrogram(
            sample_rate=SAMPLE_RATE,
            n_fft=FFT_SAMPLES,
            hop_length=HOP_SAMPLES,
            n_mels=MEL_BANDS,
            center=False,
            power=2.0,
            norm="slaney",
            mel_scale="slaney",
        )

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """Compute the patches; see the class."""
        mel: torch.Tensor = self._mel(audio)
        return torch.log10(10_000 * mel + 1).transpose(1, 2)


@dataclass(frozen=True)
class MusicnnOutput:
    """Outputs of the network for `b` patches.

    Attributes
    ----------
    pooled : torch.Tensor [shape=(b, 1506)]
        Maximum and mean over time, alternating, of the 753 channels of front end and middle.
    penultimate : torch.Tensor [shape=(b, 200)]
        The features before the tag layer.
    tags : torch.Tensor [shape=(b, 50)]
        Probabilities in the order of `TAGS`.
    """

    pooled: torch.Tensor
    penultimate: torch.Tensor
    tags: torch.Tensor


class MusicnnNetwork(nn.Module):
    """The network of the paper with the weights of a checkpoint.

    Parameters
    ----------
    weights : dict of str to torch.Tensor
        Variables under their published names; see `eno.encoders.musicnn.weights.load_weights`.
    """

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.input_norm = _Norm(weights, "batch_normalization")
        # Timbre: filters 7 frames wide that span much of the spectrum, at every pitch.
        self.timbral = nn.ModuleList(
            [_PooledConv(weights, 0, time_padding=(3, 3)), _PooledConv(weights, 1, time_padding=(3, 3))]
        )
        # Rhythm: filters of one band over many frames. 'Same' padding of an even width is one wider on the right.
        self.temporal = nn.ModuleList(
            [_PooledConv(weights, i, time_padding=((k - 1) // 2, k // 2)) for i, k in ((2, 128), (3, 64), (4, 32))]
        )
        self.middle = nn.ModuleList([_TimeConv(weights, i) for i in (5, 6, 7)])
        self.pooled_norm = _Norm(weights, "batch_normalization_9")
        self.dense = _dense(weights, "dense")
        self.dense_norm = _Norm(weights, "batch_normalization_10")
        self.tag_layer = _dense(weights, "dense_1")

    def forward(self, patches: torch.Tensor) -> MusicnnOutput:
        """Compute features and tag probabilities of log-mel patches [shape=(b, 187, 96)]."""
        image = self.input_norm(patches).unsqueeze(1)
        front = torch.cat([conv(image) for conv in (*self.timbral, *self.temporal)], dim=1)
        first = self.middle[0](front)
        second = self.middle[1](first) + first
        third = self.middle[2](second) + second
        channels = torch.cat([front, first, second, third], dim=1)
        pooled = torch.stack([channels.amax(dim=2), channels.mean(dim=2)], dim=2).flatten(1)
        penultimate = self.dense_norm(torch.relu(self.dense(self.pooled_norm(pooled))))
        return MusicnnOutput(pooled, penultimate, torch.sigmoid(self.tag_layer(penultimate)))


class _Norm(nn.Module):
    """Batch normalisation with fixed statistics, as one multiplication and one addition."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, weights: dict[str, torch.Tensor], name: str) -> None:
        super().__init__()
        scale = weights[f"{name}/gamma"] / torch.sqrt(weights[f"{name}/moving_variance"] + _NORM_EPSILON)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", weights[f"{name}/beta"] - weights[f"{name}/moving_mean"] * scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale + self.shift


def _norm_name(convolution: int) -> str:
    return f"batch_normalization_{convolution + 1}"


class _PooledConv(nn.Module):
    """Convolution, ReLU, batch normalisation, maximum over frequency: (b, 1, time, mel) → (b, filters, time).

    ReLU and a normalisation with a positive factor preserve the order of values, so the maximum can come first; they
    then process a thirtieth of the values, which saves most of the network's time. Filters with a negative factor are
    negated, so that the maximum selects the right value, and their sign is restored after the maximum.
    """

    sign: torch.Tensor
    kernel: torch.Tensor
    bias: torch.Tensor

    def __init__(self, weights: dict[str, torch.Tensor], index: int, *, time_padding: tuple[int, int]) -> None:
        super().__init__()
        name = f"conv2d_{index}" if index else "conv2d"
        kernel = weights[f"{name}/kernel"].permute(3, 2, 0, 1)
        self.norm = _Norm(weights, _norm_name(index))
        sign = torch.where(self.norm.scale < 0, -1.0, 1.0)
        self.register_buffer("sign", sign)
        self.register_buffer("kernel", kernel * sign[:, None, None, None])
        self.register_buffer("bias", weights[f"{name}/bias"] * sign)
        self.padding = (0, 0, *time_padding)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        responses = torch.conv2d(nn.functional.pad(image, self.padding), self.kernel, self.bias)
        strongest = torch.relu(responses.amax(dim=3).transpose(1, 2) * self.sign)
        normed: torch.Tensor = self.norm(strongest)
        return normed.transpose(1, 2)


class _TimeConv(nn.Module):
    """Convolution over seven frames and all channels, ReLU, batch normalisation: (b, c, time) → (b, 64, time)."""

    kernel: torch.Tensor
    bias: torch.Tensor

    def __init__(self, weights: dict[str, torch.Tensor], index: int) -> None:
        super().__init__()
        self.norm = _Norm(weights, _norm_name(index))
        self.register_buffer("kernel", weights[f"conv2d_{index}/kernel"][:, :, 0, :].permute(2, 1, 0).contiguous())
        self.register_buffer("bias", weights[f"conv2d_{index}/bias"])

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        responses = torch.relu(torch.conv1d(channels, self.kernel, self.bias, padding=3))
        normed: torch.Tensor = self.norm(responses.transpose(1, 2))
        return normed.transpose(1, 2)


def _dense(weights: dict[str, torch.Tensor], name: str) -> nn.Linear:
    layer = nn.Linear(*weights[f"{name}/kernel"].shape)
    layer.weight = nn.Parameter(weights[f"{name}/kernel"].T.contiguous(), requires_grad=False)
    layer.bias = nn.Parameter(weights[f"{name}/bias"], requires_grad=False)
    return layer
