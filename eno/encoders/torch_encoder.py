"""What all encoders in PyTorch share: batches, the device, and the precision."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from eno.devices import resolve_device, resolve_dtype
from eno.spec import EncoderSpec

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d)


class TorchEncoder(ABC):
    """Base of encoders in PyTorch; see `eno.encoders.Encoder` for what they offer.

    A subclass sets `spec` and defines `_forward`, in which it computes the front end in float32 and the network under
    `_mixed_precision`.

    Parameters
    ----------
    device : str
        See `eno.devices.resolve_device`.
    dtype : str
        See `eno.devices.resolve_dtype`. It changes a vector by less than the next re-encoding of the file would, so
        it is no part of the encoder's identity; ``scripts/bench/precision.py`` measures by how much.
    batch_size : int, optional
        Windows that go through the network at once; `_batch_sizes` has the defaults.
    """

    spec: EncoderSpec
    _batch_sizes = (2, 64)
    """On a CPU, where what the layers give should stay in the cache, and on a GPU, which wants many."""

    def __init__(self, *, device: str = "auto", dtype: str = "auto", batch_size: int | None = None) -> None:
        self.device = resolve_device(device)
        self.dtype = resolve_dtype(dtype, self.device)
        self.batch_size = batch_size or self._batch_sizes[self.device.type != "cpu"]

    def encode(self, windows: np.ndarray) -> np.ndarray:
        """Encode windows.

        Parameters
        ----------
        windows : np.ndarray [shape=(b, window_samples), dtype=float32]
            Mono audio at ``spec.sample_rate``.

        Returns
        -------
        np.ndarray [shape=(b, layers, dim), dtype=float32]
            One vector per window and layer.

        Raises
        ------
        ValueError
            The windows have another length.
        """
        spec = self.spec
        spec.check_windows(windows)
        vectors = np.empty((len(windows), len(spec.layers), spec.dim), np.float32)
        for first in range(0, len(windows), self.batch_size):
            batch = slice(first, first + self.batch_size)
            vectors[batch] = self._encode_batch(windows[batch])
        return vectors

    @torch.inference_mode()
    def _encode_batch(self, windows: np.ndarray) -> np.ndarray:
        audio = torch.from_numpy(np.ascontiguousarray(windows, dtype=np.float32)).to(self.device)
        vectors: np.ndarray = self._forward(audio).float().cpu().numpy()
        return vectors

    @abstractmethod
    def _forward(self, audio: torch.Tensor) -> torch.Tensor:
        """Map audio [shape=(b, window_samples)] to vectors [shape=(b, layers, dim)], both on `device`."""

    def _place(self, network: nn.Module) -> Any:
        """Move a network to the device, ready for inference in the chosen precision."""
        for module in network.modules():
            if parametrize.is_parametrized(module, "weight"):  # weight norm: once, not at every call
                parametrize.remove_parametrizations(module, "weight")
        if self.dtype != torch.float32:
            keep_norms_float32(network)
        return network.to(self.device).eval().requires_grad_(requires_grad=False)

    def _mixed_precision(self) -> torch.autocast:
        """Context in which matrix products and convolutions are computed in `dtype`."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


def keep_norms_float32(network: nn.Module) -> None:
    """Make every normalisation layer compute in float32, also where autocast would not."""

    def to_float32(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(value.float() if torch.is_tensor(value) else value for value in inputs)

    for module in network.modules():
        if isinstance(module, _NORMS):
            module.register_forward_pre_hook(to_float32)
