"""Which processor PyTorch computes on."""

from __future__ import annotations

import torch

from eno.errors import ConfigError


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
