"""Windows of audio → vectors. One module per family of checkpoints.

An encoder is looked up by name (`load_encoder`); its module, and with it PyTorch, is imported only then.
"""

from __future__ import annotations

import inspect
from typing import Any, Protocol, cast

import numpy as np

from eno.errors import ConfigError
from eno.registry import check_options, find_class, import_class
from eno.spec import EncoderSpec

ENCODERS = {
    "musicnn": "eno.encoders.musicnn.encoder:MusiCNN",
    "clap": "eno.encoders.clap.encoder:CLAP",
    "laion": "eno.encoders.clap.laion:LaionCLAP",
    "mert": "eno.encoders.mert:MERT",
    "hf": "eno.encoders.transformers_audio:TransformersAudio",
    "stats": "eno.encoders.stats:Stats",
    "simple_cnn": "eno.cnn.encoder:SimpleCNNTagger",
}
"""Name → ``module:class`` of every encoder."""

_RUNTIME = ("device", "dtype")
"""What an encoder computes with; it need not know about either."""


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


def load_encoder(name: str, *, device: str = "auto", dtype: str = "auto", **options: Any) -> Encoder:
    """Load an encoder by name.

    Parameters
    ----------
    name : str
        One of `ENCODERS`; ``hf:`` with a hub id or folder, short for ``"hf"`` with that as the option `model`; or
        ``module.path:ClassName`` of an encoder of your own. The last imports that module, so never take it from
        somebody else's file or request.
    device : str
        ``"auto"`` (a GPU where there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:1"`` and so on.
    dtype : str
        ``"auto"`` (bfloat16 on a GPU, float32 on a CPU), ``"float32"`` or ``"bfloat16"``.
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
    MissingExtra
        It needs a package that is not installed.
    """
    if name.startswith("hf:"):
        name, options["model"] = "hf", name.removeprefix("hf:")
    encoder_class = _import_class(name)
    check_options("encoder", name, encoder_class, options, runtime=_RUNTIME)
    parameters = inspect.signature(encoder_class).parameters
    runtime = {key: value for key, value in (("device", device), ("dtype", dtype)) if key in parameters}
    encoder = cast(Encoder, encoder_class(**runtime, **options))
    if encoder.spec.name != name:
        raise ConfigError(f"{name}: calls itself {encoder.spec.name!r}; its spec must have name={name!r}.")
    return encoder


def is_own(name: str) -> bool:
    """Whether a name is ``module.path:ClassName`` of a user's own encoder, so that loading it runs their code."""
    return ":" in name and not name.startswith("hf:")


def _import_class(name: str) -> Any:
    if not is_own(name):
        return find_class("encoder", name, ENCODERS, also=("hf:<id or folder>", "<module>:<class>"))
    try:
        return import_class(name)
    except (ImportError, ValueError, AttributeError) as error:
        raise ConfigError(f"Encoder {name!r} cannot be imported ({error}). Is its module on Python's path?") from error
