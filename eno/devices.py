"""Which processor PyTorch computes on, and how precisely."""

from __future__ import annotations

import torch

from eno.errors import ConfigError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Precisions by name. float16 is not among them: its range is too small for these networks' activations."""


def resolve_device(name: str) -> torch.device:
    """Turn a device name into a device that exists; never falls back in silence.

    Parameters
    ----------
    name : str
        ``"auto"`` (the first GPU, else the CPU), or a PyTorch device name such as ``"cpu"`` or ``"cuda:1"``.

    Returns
    -------
    torch.device
        The device.

    Raises
    ------
    ConfigError
        PyTorch has no such device on this machine.
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
            f"{torch.cuda.device_count()} GPUs; use 'auto' or 'cpu', or install PyTorch for your GPU."
        ) from error
    return device


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """Turn the name of a precision into the type that matrix products are computed in.

    Parameters
    ----------
    name : str
        ``"auto"`` (bfloat16 on a GPU that has it, else float32), ``"float32"`` or ``"bfloat16"``.
    device : torch.device
        Where it is computed.

    Returns
    -------
    torch.dtype
        float32 or bfloat16.

    Raises
    ------
    ConfigError
        There is no such precision.
    """
    if name == "auto":
        half = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if half else torch.float32
    if name not in DTYPES:
        raise ConfigError(f"Unknown dtype {name!r}; choose from: auto, {', '.join(DTYPES)}.")
    return DTYPES[name]
