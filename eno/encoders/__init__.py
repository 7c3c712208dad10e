"""Windows of audio → vectors. One module per family of checkpoints.

An encoder is looked up by name (`load_encoder`); its module, and with it PyTorch, is imported only then.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any, Protocol, cast

import numpy as np

from eno.errors import ConfigError, UnknownName
from eno.spec import EncoderSpec

ENCODERS = {
    "musicnn": "eno.encoders.musicnn:MusiCNN",
}
"""Name → ``module:class`` of every encoder."""


class Encoder(Protocol):
    """A frozen pretrained network that turns windows into vectors."""

    @property
    def spec(self) -> EncoderSpec:
        """What this encoder is."""

    def encode(self, windows: np.ndarray) -> np.ndarray:
        """Encode windows.

        Parameters
        ----------
        windows : np.ndarray [shape=(b, window_samples), dtype=float32]
            Mono audio at ``spec.sample_rate``.

        Returns
        -------
        np.ndarray [shape=(b, layers, dim), dtype=float32]
            One vector per window and layer. A window's vector does not depend on the rest of the batch.
        """


def load_encoder(name: str, *, device: str = "auto", **options: Any) -> Encoder:
    """Load an encoder by name.

    Parameters
    ----------
    name : str
        One of `ENCODERS`.
    device : str
        ``"auto"`` (a GPU where there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:1"`` and so on.
    **options
        Options of that encoder; its class documents them.

    Returns
    -------
    Encoder
        Ready to encode.

    Raises
    ------
    UnknownName
        There is no such encoder.
    ConfigError
        The encoder has no such option, or the option has no such value.
    WeightsError
        Its weights cannot be had.
    """
    if name not in ENCODERS:
        raise UnknownName("encoder", name, ENCODERS)
    module, _, attribute = ENCODERS[name].partition(":")
    encoder_class = getattr(importlib.import_module(module), attribute)
    known = inspect.signature(encoder_class).parameters
    for option in options:
        if option not in known:
            raise ConfigError(f"Encoder {name!r} has no option {option!r}; it has: {', '.join(known)}.")
    return cast(Encoder, encoder_class(device=device, **options))
