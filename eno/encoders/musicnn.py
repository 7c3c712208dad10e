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

import numpy as np
import torch

from eno.data.labels import LabelEncoder
from eno.devices import resolve_device
from eno.encoders.musicnn_network import (
    FFT_SAMPLES,
    HOP_SAMPLES,
    PATCH_FRAMES,
    SAMPLE_RATE,
    LogMel,
    MusicnnNetwork,
)
from eno.encoders.musicnn_weights import GENRES, TAGS, load_weights
from eno.errors import ConfigError, UnknownName
from eno.spec import EncoderSpec

WINDOW_SAMPLES = (PATCH_FRAMES - 1) * HOP_SAMPLES + FFT_SAMPLES
"""Samples that 187 frames span: 48,128, or 3.008 s."""

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

    def __init__(self, *, checkpoint: str = "msd", output: str = "penultimate", device: str = "auto") -> None:
        for option, value, choices in (("checkpoint", checkpoint, _CHECKPOINTS), ("output", output, _OUTPUTS)):
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
            pooling="maximum and mean over time",
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
