"""musicnn: convolutional networks for music tagging, small enough for a CPU.

The network is reimplemented in PyTorch. The trained weights are read from the authors' wheel ``musicnn`` (ISC licence),
which is downloaded once and never installed or run.

References
----------
J. Pons and X. Serra, "musicnn: Pre-trained convolutional neural networks for music audio tagging", late-breaking
demo at ISMIR 2019, https://arxiv.org/abs/1909.06654.
J. Pons et al., "End-to-end learning for music audio tagging at scale", ISMIR 2018.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from eno.data.labels.encoder import LabelEncoder
from eno.encoders.musicnn.network import (
    FFT_SAMPLES,
    HOP_SAMPLES,
    PATCH_FRAMES,
    SAMPLE_RATE,
    LogMel,
    MusicnnNetwork,
)
from eno.encoders.musicnn.weights import GENRES, TAGS, load_weights
from eno.encoders.torch_encoder import BatchSize, Dtype, TorchEncoder
from eno.errors import ConfigError, UnknownName
from eno.spec import EncoderSpec

WINDOW_SAMPLES = (PATCH_FRAMES - 1) * HOP_SAMPLES + FFT_SAMPLES
"""Samples spanned by 187 frames: 48,128, or 3.008 s."""

_CHECKPOINTS = {"mtt": ("mtt",), "msd": ("msd",), "both": ("mtt", "msd")}
_OUTPUTS = {"penultimate": 200, "pooled": 1506, "tags": 50}


class MusiCNN(TorchEncoder):
    """The published networks MTT_musicnn and MSD_musicnn.

    Parameters
    ----------
    checkpoint : {"mtt", "msd", "both"}
        Training data of the weights: MagnaTagATune, the Million Song Dataset, or both networks concatenated.
    output : {"penultimate", "pooled", "tags"}
        Layer that becomes the vector: the 200 features before the tag layer, the 1506 pooled features (maximum and
        mean over time of 753 channels), or the probabilities of the 50 tags. Tags are in the order of `tag_labels`.
    batch_size : int, optional
        Windows per batch; by default 2 on a CPU and 64 on a GPU. The widest layer takes 9 MB per
        window: two windows fit a CPU's cache, and batches of eight take 1.5 times as long per window.
    device, dtype
        See `eno.encoders.torch_encoder.TorchEncoder`.

    Notes
    -----
    The original computes one centred spectrogram of a whole file and cuts it into patches of 187 frames (256 samples
    apart, hence 2.992 s). eno cuts the audio into windows of 48,128 samples (3.008 s) instead, the span of 187 frames.
    A window on the same grid yields the same patch up to rounding, without zero padding; only the very first frame of
    a file, half of which precedes the file, has no counterpart.
    """

    def __init__(
        self,
        *,
        checkpoint: Literal["mtt", "msd", "both"] = "msd",
        output: Literal["penultimate", "pooled", "tags"] = "penultimate",
        device: str = "auto",
        dtype: Dtype = "auto",
        batch_size: BatchSize = None,
    ) -> None:
        for option, value, choices in (("checkpoint", checkpoint, _CHECKPOINTS), ("output", output, _OUTPUTS)):
            if value not in choices:
                raise ConfigError(f"Encoder 'musicnn' has no {option} {value!r}; choose from: {', '.join(choices)}.")
        super().__init__(device=device, dtype=dtype, batch_size=batch_size)
        self._output = output
        self._front_end = LogMel().to(self.device)
        self._networks: list[nn.Module] = []
        self._tag_orders: list[list[int]] = []
        hashes = []
        for name in _CHECKPOINTS[checkpoint]:
            weights, sha256 = load_weights(name)
            self._networks.append(self._place(MusicnnNetwork(weights)))
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
            pooling="maximum and mean over time",
            dim=_OUTPUTS[output] * len(self._networks),
        )

    def _forward(self, audio: torch.Tensor) -> torch.Tensor:
        patches = self._front_end(audio)
        with self._mixed_precision():
            outputs = [getattr(network(patches), self._output) for network in self._networks]
        if self._output == "tags":
            outputs = [output[:, order] for output, order in zip(outputs, self._tag_orders, strict=True)]
        return torch.cat(outputs, dim=1).unsqueeze(1)


def tag_labels(vocabulary: str) -> LabelEncoder:
    """Return the 50 tags of the checkpoint 'mtt' or 'msd' in the order of the vectors of ``MusiCNN(output="tags")``."""
    if vocabulary not in TAGS:
        raise UnknownName("vocabulary", vocabulary, TAGS)
    return LabelEncoder(GENRES[vocabulary], set(TAGS[vocabulary]) - GENRES[vocabulary])
