"""musicnn: convolutional networks trained to tag music, small enough for a CPU.

The network is written anew in PyTorch; the trained weights are those that its authors publish (ISC
licence) in the wheel ``musicnn``, which is downloaded once and only read, never installed or run.

References
----------
J. Pons and X. Serra, "musicnn: Pre-trained convolutional neural networks for music audio tagging", late-breaking
demo at ISMIR 2019, https://arxiv.org/abs/1909.06654.
J. Pons et al., "End-to-end learning for music audio tagging at scale", ISMIR 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torchaudio
from torch import nn

from eno.data.labels import LabelEncoder
from eno.devices import resolve_device
from eno.encoders.musicnn_weights import GENRES, TAGS, load_weights
from eno.errors import ConfigError, UnknownName
from eno.spec import EncoderSpec

SAMPLE_RATE = 16_000
_FFT, _HOP, _MELS, _FRAMES = 512, 256, 96, 187
WINDOW_SAMPLES = (_FRAMES - 1) * _HOP + _FFT
"""Samples that 187 frames span: 48,128, or 3.008 s."""

_NORM_EPSILON = 1e-3  # TensorFlow's default, with which the networks were trained
# Windows at once. The widest layer gives 9 MB per window: on a CPU two still fit its cache, and eight take 1.5 times
# as long per window; a GPU wants many.
_BATCH_CPU, _BATCH_GPU = 2, 64

_CHECKPOINTS = {"mtt": ("mtt",), "msd": ("msd",), "both": ("mtt", "msd")}
_OUTPUTS = {"penultimate": 200, "pooled": 1506, "tags": 50}


class MusiCNN:
    """The published MTT_musicnn and MSD_musicnn as an encoder.

    Parameters
    ----------
    checkpoint : {"mtt", "msd", "both"}
        Trained on MagnaTagATune, on the Million Song Dataset, or both one after the other.
    output : {"penultimate", "pooled", "tags"}
        The 200 features before the tag layer; the 1506 values of the pooled back-end (maximum and mean over time
        of 753 channels); or the probabilities of the 50 tags that a checkpoint was trained on, in the order of
        `tag_labels`.
    device : str
        See `eno.encoders.load_encoder`.

    Notes
    -----
    The original takes one spectrogram of a whole file, whose frames are centred, and cuts it into patches of
    187 frames (256 samples apart, hence 2.992 s). eno cuts the audio instead, into windows of 48,128 samples
    (3.008 s): precisely what 187 frames look at. So a window that starts on that grid gives the same patch to the
    last bit of rounding, without zeros at its edges; only the very first frame of a file, of which half lies before
    the file begins, has no counterpart.
    """

    def __init__(
        self,
        *,
        checkpoint: str = "msd",
        output: str = "penultimate",
        device: str = "auto",
    ) -> None:
        for option, value, choices in (
            ("checkpoint", checkpoint, _CHECKPOINTS),
            ("output", output, _OUTPUTS),
        ):
            if value not in choices:
                raise ConfigError(f"Encoder 'musicnn' has no {option} {value!r}; choose from: {', '.join(choices)}.")
        self.device = resolve_device(device)
        self._output = output
        self._front_end = LogMel().to(self.device)
        self._networks: list[MusicnnNetwork] = []
        self._tag_orders: list[list[int]] = []
        hashes = []
        for name in _CHECKPOINTS[checkpoint]:
            weights, sha256 = load_weights(name)
            self._networks.append(MusicnnNetwork(weights).to(self.device).eval())
            self._tag_orders.append([TAGS[name].index(tag) for tag in tag_labels(name).all_labels])
            hashes.append(sha256)
        self.spec = EncoderSpec(
            name="musicnn",
            options={"checkpoint": checkpoint, "output": output},
            revision="0.1.0-1",
            weights_sha256="+".join(hashes),
            sample_rate=SAMPLE_RATE,
            window_samples=WINDOW_SAMPLES,
            layers=(output,),
            pooling="none" if output == "pooled" else "maximum and mean over time",
            dim=_OUTPUTS[output] * len(self._networks),
        )

    def encode(self, windows: np.ndarray) -> np.ndarray:
        """Encode windows.

        Parameters
        ----------
        windows : np.ndarray [shape=(b, 48128), dtype=float32]
            Mono audio at 16 kHz.

        Returns
        -------
        np.ndarray [shape=(b, 1, dim), dtype=float32]
            The chosen output of the chosen checkpoints.

        Raises
        ------
        ValueError
            The windows have another length.
        """
        if windows.ndim != 2 or windows.shape[1] != WINDOW_SAMPLES:
            raise ValueError(f"windows have the shape {windows.shape}; expected (b, {WINDOW_SAMPLES}).")
        step = _BATCH_CPU if self.device.type == "cpu" else _BATCH_GPU
        vectors = [self._encode_batch(windows[i : i + step]) for i in range(0, len(windows), step)]
        return np.concatenate(vectors) if vectors else np.zeros((0, 1, self.spec.dim), np.float32)

    @torch.inference_mode()
    def _encode_batch(self, windows: np.ndarray) -> np.ndarray:
        audio = torch.from_numpy(np.ascontiguousarray(windows, dtype=np.float32)).to(self.device)
        patches = self._front_end(audio)
        outputs = [getattr(network(patches), self._output) for network in self._networks]
        if self._output == "tags":
            outputs = [output[:, order] for output, order in zip(outputs, self._tag_orders, strict=True)]
        vectors: np.ndarray = torch.cat(outputs, dim=1).unsqueeze(1).cpu().numpy()
        return vectors


def tag_labels(vocabulary: str) -> LabelEncoder:
    """Name the 50 tags of a checkpoint.

    Parameters
    ----------
    vocabulary : {"mtt", "msd"}
        The checkpoint.

    Returns
    -------
    LabelEncoder
        Genres and descriptors in the order of the vectors of ``MusiCNN(output="tags")``.

    Raises
    ------
    UnknownName
        There is no such checkpoint.
    """
    if vocabulary not in TAGS:
        raise UnknownName("vocabulary", vocabulary, TAGS)
    return LabelEncoder(GENRES[vocabulary], set(TAGS[vocabulary]) - GENRES[vocabulary])


class LogMel(nn.Module):
    """musicnn's front end: 96 Slaney mel bands of the power spectrum, on a logarithmic scale.

    Maps audio at 16 kHz [shape=(b, samples)] to frames [shape=(b, frames, 96)], where
    ``frames = (samples - 512) // 256 + 1``: no frame reaches past the audio.
    """

    def __init__(self) -> None:
        super().__init__()
        self._mel = torchaudio.transforms.MelSpectrogram(
            sample_rate=SAMPLE_RATE,
            n_fft=_FFT,
            hop_length=_HOP,
            n_mels=_MELS,
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
    """What the network gives for `b` patches.

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
    """The network of the paper, with the weights of one checkpoint.

    Parameters
    ----------
    weights : dict of str to torch.Tensor
        Variables under their published names, as `load_weights` gives them.
    """

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.input_norm = _Norm(weights, "batch_normalization")
        # Timbre: filters 7 frames wide that span much of the spectrum, at every pitch.
        self.timbral = nn.ModuleList(
            [_PooledConv(weights, 0, time_padding=(3, 3)), _PooledConv(weights, 1, time_padding=(3, 3))]
        )
        # Rhythm: filters of one band over many frames. 'Same' padding of an even width has one more on the right.
        self.temporal = nn.ModuleList(
            [_PooledConv(weights, i, time_padding=((k - 1) // 2, k // 2)) for i, k in ((2, 128), (3, 64), (4, 32))]
        )
        self.middle = nn.ModuleList([_TimeConv(weights, i) for i in (5, 6, 7)])
        self.pooled_norm = _Norm(weights, "batch_normalization_9")
        self.dense = _dense(weights, "dense")
        self.dense_norm = _Norm(weights, "batch_normalization_10")
        self.tag_layer = _dense(weights, "dense_1")

    def forward(self, patches: torch.Tensor) -> MusicnnOutput:
        """Run the network.

        Parameters
        ----------
        patches : torch.Tensor [shape=(b, 187, 96)]
            Log-mel patches.

        Returns
        -------
        MusicnnOutput
            Features and tag probabilities.
        """
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

    Both ReLU and a normalisation with a positive factor keep the order of values, so the maximum may come
    first; then they work on a thirtieth of the values, which is most of the time that this network takes.
    Where the factor is negative the maximum comes from the smallest value: those filters are negated, which
    makes it the largest, and the sign is put back after the maximum.
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
