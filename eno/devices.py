"""The device and precision of PyTorch."""

from __future__ import annotations

import torch

from eno.errors import ConfigError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Precisions by name. float16 is left out: its range is too small for the activations of these networks."""


def resolve_device(name: str) -> torch.device:
    """Return a PyTorch device by name; ``"auto"`` is the first GPU, else the CPU.

    A missing device raises ConfigError; there is no fallback to the CPU.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"Device {name!r} cannot be used ({reason}). This PyTorch ({torch.__version__}) sees "
            f"{torch.cuda.device_count()} GPUs. Use 'auto' or 'cpu', or install PyTorch for your GPU."
        ) from error
    return device


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the precision of matrix products; ``"auto"`` is bfloat16 on a GPU that supports it, else float32."""
    if name == "auto":
        half = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if half else torch.float32
    if name not in DTYPES:
        raise ConfigError(f"Unknown dtype {name!r}; choose from: auto, {', '.join(DTYPES)}.")
    return DTYPES[name]
