"""What an encoder is, apart from its code: the identity that stores and predictors carry."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """All that decides which vector a window gets.

    Attributes
    ----------
    name : str
        Name in `eno.encoders.ENCODERS`.
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
