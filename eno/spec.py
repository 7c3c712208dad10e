"""The identity of an encoder, which stores and predictors record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_DESCRIPTIVE = ("location", "gain_invariant", "normalized")
IMPORTED = "imported:"
"""Begins the names of encoders whose vectors were imported, and which eno cannot load."""
# Excluded from the fingerprint at this value, so that stores written before the field existed stay valid.
_ADDED_LATER = {"padding": "repeat"}


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """Everything that determines the embedding of a window.

    Attributes
    ----------
    name : str
        Name in `eno.encoders.ENCODERS`, or ``module.path:ClassName`` of a user's own encoder.
    options : dict
        Options that affect the vectors. ``load_encoder(name, **options, **location)`` loads the same encoder.
    revision : str
        Version of the published weights and of eno's code for them.
    sample_rate, window_samples : int
        Sample rate in Hz and length of the windows.
    layers : tuple of str
        Names of the vectors of one window, in order.
    pooling : str
        How frames are pooled into a vector, in words.
    dim : int
        Values per layer.
    padding : {"repeat", "repeatpad"}
        How a track shorter than a window is padded: looped, or repeated a whole number of times, then silence.
    location : dict
        ``model`` and ``revision`` of the weights. Not part of the fingerprint, as paths differ between machines.
    gain_invariant : bool
        Whether the vector is independent of the level of the audio.
    normalized : bool
        Whether vectors have unit length; then the mean over the windows of a track is normalised again.
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
        """Raise ValueError unless windows have the shape (b, window_samples)."""
        if windows.ndim != 2 or windows.shape[1] != self.window_samples:
            raise ValueError(f"windows have the shape {windows.shape}; expected (b, {self.window_samples}).")

    def renormalise(self, means: np.ndarray) -> np.ndarray:
        """Scale means over windows [shape=(..., layers * dim)] back to unit length per layer, if `normalized`."""
        if not self.normalized:
            return means
        by_layer = means.reshape(*means.shape[:-1], -1, self.dim)
        lengths = (by_layer**2).sum(axis=-1, keepdims=True) ** 0.5
        scaled: np.ndarray = (by_layer / lengths.clip(1e-12)).reshape(means.shape)
        return scaled

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change whenever the vectors would."""
        relevant = {
            key: value
            for key, value in self.to_dict().items()
            if key not in _DESCRIPTIVE and _ADDED_LATER.get(key) != value
        }
        canonical = json.dumps(relevant, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """Name and fingerprint, for folders and messages."""
        return f"{self.name.replace(':', '.')}-{self.fingerprint}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self) | {"layers": list(self.layers)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EncoderSpec:
        """Read the result of `to_dict`."""
        return cls(**(values | {"layers": tuple(values["layers"])}))


def label_of(specs: Sequence[EncoderSpec]) -> str:
    """Return the label of an encoder, or those of several that are used together."""
    return " + ".join(spec.label for spec in specs)


def fingerprint_of(specs: Sequence[EncoderSpec]) -> str:
    """Return the fingerprint of an encoder, or those of several that are used together."""
    return "+".join(spec.fingerprint for spec in specs)


def vector_shape(specs: Sequence[EncoderSpec]) -> tuple[int, ...]:
    """Return the shape of a track's vector: ``(dim,)`` or ``(layers, dim)``, flattened and joined if several are."""
    if len(specs) > 1:
        return (sum(spec.dim * len(spec.layers) for spec in specs),)
    layers, dim = len(specs[0].layers), specs[0].dim
    return (dim,) if layers == 1 else (layers, dim)
