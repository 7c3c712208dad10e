"""Windows of audio → vectors. One module per family of checkpoints.

An encoder is looked up by name (`load_encoder`); its module, and with it PyTorch, is imported only then.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, cast

import numpy as np

from eno.errors import ConfigError, UnknownName

ENCODERS = {
    "musicnn": "eno.encoders.musicnn:MusiCNN",
}
"""Name → ``module:class`` of every encoder."""


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """All that decides which vector a window gets.

    Attributes
    ----------
    name : str
        Name in `ENCODERS`.
    options : dict
        Options of the encoder, every one of them, so that ``load_encoder(name, **options)`` gives it back.
    revision : str
        Version of the published weights together with that of eno's code around them.
    weights_sha256 : str
        Hash of the weights as published.
    sample_rate : int
        Samples per second that the windows must have.
    window_samples : int
        Samples of one window.
    layers : tuple of str
        What the vectors of one window are, in their order.
    pooling : str
        How a vector comes about inside a window.
    dim : int
        Values per layer.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    revision: str
    weights_sha256: str
    sample_rate: int
    window_samples: int
    layers: tuple[str, ...]
    pooling: str
    dim: int

    @property
    def window_s(self) -> float:
        """Length of a window in seconds."""
        return self.window_samples / self.sample_rate

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change when any vector would."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """Name and fingerprint, as used for folders and messages."""
        return f"{self.name}-{self.fingerprint}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"layers": list(self.layers)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EncoderSpec:
        """Inverse of `to_dict`."""
        return cls(**(values | {"layers": tuple(values["layers"])}))


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
