"""What an encoder is, apart from its code: the identity that stores and predictors carry."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_DESCRIPTIVE = ("location", "gain_invariant", "normalized")
# Left out of the fingerprint while they have this value, so that stores from before the field was there stay valid.
_ADDED_LATER = {"padding": "repeat"}


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """All that decides which vector a window gets.

    Attributes
    ----------
    name : str
        Name in `eno.encoders.ENCODERS`, or ``module.path:ClassName`` of a user's own encoder.
    options : dict
        Options of the encoder that decide its vectors. ``load_encoder(name, **options, **location)`` gives it back.
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
    padding : {"repeat", "repeatpad"}
        How a track that is shorter than a window fills it: repeated throughout, or repeated as often as it fits whole,
        then silence.
    location : dict
        Options that say where the weights lie: ``model`` and ``revision``. No part of the fingerprint, since the same
        weights may lie elsewhere on another machine.
    gain_invariant : bool
        Whether a louder or softer copy gets the same vector.
    normalized : bool
        Whether vectors have length 1, so that the mean over the windows of a track is given that length again.
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
    padding: str = "repeat"
    location: dict[str, str] = field(default_factory=dict)
    gain_invariant: bool = False
    normalized: bool = False

    @property
    def window_s(self) -> float:
        """Length of a window in seconds."""
        return self.window_samples / self.sample_rate

    def check_windows(self, windows: np.ndarray) -> None:
        """Make sure that windows have the shape (b, window_samples).

        Raises
        ------
        ValueError
            They have another one.
        """
        if windows.ndim != 2 or windows.shape[1] != self.window_samples:
            raise ValueError(f"windows have the shape {windows.shape}; expected (b, {self.window_samples}).")

    def to_length(self, means: np.ndarray) -> np.ndarray:
        """Give means of windows [shape=(..., dim)] the length 1, if the encoder's vectors have it."""
        if not self.normalized:
            return means
        by_layer = means.reshape(*means.shape[:-1], -1, self.dim)
        lengths = (by_layer**2).sum(axis=-1, keepdims=True) ** 0.5
        scaled: np.ndarray = (by_layer / lengths.clip(1e-12)).reshape(means.shape)
        return scaled

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change when any vector would."""
        deciding = {
            key: value
            for key, value in self.to_dict().items()
            if key not in _DESCRIPTIVE and _ADDED_LATER.get(key) != value
        }
        canonical = json.dumps(deciding, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """Name and fingerprint, as used for folders and messages."""
        return f"{self.name.replace(':', '.')}-{self.fingerprint}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"layers": list(self.layers)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EncoderSpec:
        """Inverse of `to_dict`."""
        return cls(**(values | {"layers": tuple(values["layers"])}))
