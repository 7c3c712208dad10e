"""The common base of encoders in PyTorch: batching, device and precision."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn.utils import parametrize

from eno.devices import resolve_device, resolve_dtype
from eno.errors import ConfigError
from eno.spec import EncoderSpec

logger = logging.getLogger(__name__)

# The signatures of encoders are the only source of their options: settings and command-line help are generated from
# them, so their annotations carry the allowed values.
Dtype = Literal["auto", "float32", "bfloat16"]
BatchSize = Annotated[int, Field(ge=1)] | None
WindowLength = Annotated[float, Field(ge=0.5, le=60)]

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d)


class TorchEncoder(ABC):
    """Base of encoders in PyTorch.

    A subclass sets `spec` and implements `_forward`: the front end in float32, the network under `_mixed_precision`.

    Parameters
    ----------
    device : str
        See `eno.devices.resolve_device`.
    dtype : {"auto", "float32", "bfloat16"}
        See `eno.devices.resolve_dtype`. It changes a vector by less than re-encoding the audio file would, so it is
        not part of the encoder's identity; ``scripts/bench/encoding/precision.py`` measures the difference.
    batch_size : int, optional
        Windows per batch; the default comes from `_batch_sizes`.
    """

    spec: EncoderSpec
    _batch_sizes = (2, 64)
    """Default batch size on a CPU, where activations should stay in the cache, and on a GPU."""

    def __init__(self, *, device: str = "auto", dtype: Dtype = "auto", batch_size: BatchSize = None) -> None:
        self.device = resolve_device(device)
        self.dtype = resolve_dtype(dtype, self.device)
        self.batch_size = batch_size or self._batch_sizes[self.device.type != "cpu"]
        self._cores: ThreadPoolExecutor | None = None
        self._starting = threading.Lock()  # threads may share the encoder, but not start its cores twice

    def encode(self, windows: np.ndarray) -> np.ndarray:
        """See `eno.encoders.Encoder`; raise ValueError for windows of another length."""
        return self.start(windows)()

    @torch.inference_mode()
    def start(self, windows: np.ndarray) -> Callable[[], np.ndarray]:
        """Start encoding; the returned callable waits for the vectors and returns them.

        Windows may be overwritten as soon as this returns. When the GPU runs out of memory, the batch size is halved,
        for later calls too.

        Raises
        ------
        ConfigError
            Not even one window fits the memory of the GPU.
        """
        self.spec.check_windows(windows)
        if self.device.type == "cpu" and len(windows) > self.batch_size and torch.get_num_threads() > 1:
            return self._start_on_cores(windows)
        outputs: list[torch.Tensor] = []
        first = 0
        while first < len(windows):
            try:
                outputs.append(self._start_batch(windows[first : first + self.batch_size]))
            except torch.OutOfMemoryError as error:
                self._halve_batch(error)
                continue
            first += len(outputs[-1])
        done = None
        if self.device.type == "cuda":
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record(torch.cuda.current_stream(self.device))

        def finish() -> np.ndarray:
            if done is not None:
                done.synchronize()
            shape = (0, len(self.spec.layers), self.spec.dim)
            vectors: np.ndarray = torch.cat(outputs).numpy() if outputs else np.empty(shape, np.float32)
            return vectors

        return finish

    def _start_on_cores(self, windows: np.ndarray) -> Callable[[], np.ndarray]:
        """Encode several batches concurrently on one core each, which avoids synchronisation between cores."""
        with self._starting:
            if self._cores is None:
                self._cores = single_cores(torch.get_num_threads())
        windows = windows.copy()
        starts = range(0, len(windows), self.batch_size)
        batches = [self._cores.submit(self._start_batch, windows[i : i + self.batch_size]) for i in starts]

        def finish() -> np.ndarray:
            vectors: np.ndarray = torch.cat([batch.result() for batch in batches]).numpy()
            return vectors

        return finish

    @torch.inference_mode()
    def _start_batch(self, windows: np.ndarray) -> torch.Tensor:
        audio = torch.from_numpy(np.ascontiguousarray(windows, dtype=np.float32))
        if self.device.type != "cuda":
            return self._forward(audio.to(self.device)).float().cpu()
        # Copies to and from pinned memory overlap with the computation.
        vectors = self._forward(audio.pin_memory().to(self.device, non_blocking=True)).float()
        host = torch.empty(vectors.shape, dtype=torch.float32, pin_memory=True)
        return host.copy_(vectors, non_blocking=True)

    def _halve_batch(self, error: torch.OutOfMemoryError) -> None:
        if self.batch_size == 1:
            raise ConfigError(
                f"A single window does not fit the memory of {self.device} ({str(error).splitlines()[0]}). "
                "Free some memory or use another device."
            ) from error
        self.batch_size //= 2
        logger.warning("%s ran out of memory: the batch size is now %d", self.device, self.batch_size)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @abstractmethod
    def _forward(self, audio: torch.Tensor) -> torch.Tensor:
        """Map audio [shape=(b, window_samples)] to vectors [shape=(b, layers, dim)], both on `device`."""

    def _place(self, network: nn.Module) -> Any:
        """Move a network to the device, ready for inference in the chosen precision.

        The weights become float32 whatever their precision on disk; `_mixed_precision` rounds them where that is safe.
        """
        for module in network.modules():
            if parametrize.is_parametrized(module, "weight"):  # apply weight norm once, not at every call
                parametrize.remove_parametrizations(module, "weight")
        if self.dtype != torch.float32:
            keep_norms_float32(network)
            if self.device.type == "cpu":
                keep_recurrent_float32(network)
        return network.to(self.device, torch.float32).eval().requires_grad_(requires_grad=False)

    def _mixed_precision(self) -> torch.autocast:
        """Return a context in which matrix products and convolutions are computed in `dtype`."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


def single_cores(count: int) -> ThreadPoolExecutor:
    """Start threads in which PyTorch uses one core each; other threads are not affected."""
    before = torch.get_num_threads()
    together = threading.Barrier(count + 1)

    def begin() -> None:
        torch.set_num_threads(1)
        together.wait()

    pool = ThreadPoolExecutor(count, thread_name_prefix="encode")
    begun = [pool.submit(begin) for _ in range(count)]  # the barrier makes every thread take one
    together.wait()
    for one in begun:
        one.result()
    torch.set_num_threads(before)  # also the default of threads started later
    return pool


def keep_norms_float32(network: nn.Module) -> None:
    """Make every normalisation layer compute in float32, even under autocast."""

    def to_float32(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(value.float() if torch.is_tensor(value) else value for value in inputs)

    for module in network.modules():
        if isinstance(module, _NORMS):
            module.register_forward_pre_hook(to_float32)


def keep_recurrent_float32(network: nn.Module) -> None:
    """Make every recurrent layer compute in float32, as many processors do not support half precision there."""

    def in_float32(forward: Callable[..., Any]) -> Callable[..., Any]:
        def compute(values: torch.Tensor, *state: Any) -> Any:
            with torch.autocast(values.device.type, enabled=False):
                return forward(values.float(), *state)

        return compute

    for module in network.modules():
        if isinstance(module, nn.RNNBase):
            module.forward = in_float32(module.forward)
