"""Encoders turn windows of audio into embeddings. There is one module per family of checkpoints.

An encoder is looked up by name (`load_encoder`); only then are its module and PyTorch imported.
"""

from __future__ import annotations

import inspect
from typing import Any, Protocol, cast

import numpy as np

from eno.encoders.imported import ImportedEncoder as ImportedEncoder
from eno.encoders.imported import is_imported as is_imported
from eno.encoders.imported import refuse_imported
from eno.errors import ConfigError
from eno.registry import ENCODERS as ENCODERS
from eno.registry import check_options, find_class, import_class
from eno.spec import IMPORTED, EncoderSpec

_RUNTIME = ("device", "dtype")
"""Parameters that say how to compute, not what. An encoder may lack them."""


class Encoder(Protocol):
    """A frozen pretrained network that turns windows into embeddings."""

    @property
    def spec(self) -> EncoderSpec:
        """The encoder's identity and the windows it expects."""

    def encode(self, windows: np.ndarray) -> np.ndarray:
        """Encode windows.

        Parameters
        ----------
        windows : np.ndarray [shape=(b, window_samples), dtype=float32]
            Mono audio at ``spec.sample_rate``.

        Returns
        -------
        np.ndarray [shape=(b, layers, dim), dtype=float32]
            One vector per window and layer. It must not depend on the other windows of the batch.
        """


def load_encoder(name: str, *, device: str = "auto", dtype: str = "auto", **options: Any) -> Encoder:
    """Load an encoder by name.

    Parameters
    ----------
    name : str
        One of `ENCODERS`; ``hf:<model>``, short for ``"hf"`` with the option `model`; or ``module.path:ClassName`` of
        your own encoder. The last form imports that module, so never take it from an untrusted file or request.
    device, dtype : str
        See `eno.devices`.
    **options
        Options of the encoder, documented on its class.

    Raises
    ------
    UnknownName
        There is no such encoder.
    ConfigError
        An option is unknown or has an invalid value.
    WeightsError
        The weights are missing or damaged and cannot be downloaded.
    MissingExtra
        A package that the encoder needs is not installed.
    """
    refuse_imported(name)
    if name.startswith("hf:"):
        name, options["model"] = "hf", name.removeprefix("hf:")
    encoder_class = _import_class(name)
    check_options("encoder", name, encoder_class, options, runtime=_RUNTIME)
    parameters = inspect.signature(encoder_class).parameters
    runtime = {key: value for key, value in (("device", device), ("dtype", dtype)) if key in parameters}
    encoder = cast(Encoder, encoder_class(**runtime, **options))
    if encoder.spec.name != name:
        raise ConfigError(f"Encoder {name!r}: its spec has name={encoder.spec.name!r}; expected name={name!r}.")
    return encoder


def is_own(name: str) -> bool:
    """Return whether a name is ``module.path:ClassName`` of a user's own encoder; loading it runs their code."""
    return ":" in name and not name.startswith(("hf:", IMPORTED))


def _import_class(name: str) -> Any:
    if not is_own(name):
        return find_class("encoder", name, ENCODERS, also=("hf:<id or folder>", "<module>:<class>"))
    try:
        return import_class(name)
    except (ImportError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"Encoder {name!r} cannot be imported ({error}). Check that its module is on Python's path."
        ) from error
