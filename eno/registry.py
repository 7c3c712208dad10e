"""Look up the class of an encoder or head by name, and check its options."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from eno.errors import ConfigError, UnknownName

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
HEADS = {
    "auto": "eno.models.heads.auto:AutoHead",
    "mlp": "eno.models.heads.mlp:MLPHead",
    "linear": "eno.models.heads.linear:LinearHead",
    "lightgbm": "eno.models.heads.lgbm.head:LightGBMHead",
    "forest": "eno.models.heads.forest:ForestHead",
    "kernel": "eno.models.heads.kernel:KernelHead",
    "knn": "eno.models.heads.knn:KNNHead",
    "blend": "eno.models.heads.blend:BlendHead",
    "zero_shot": "eno.models.heads.zero_shot:ZeroShotHead",
    "probabilities": "eno.models.heads.identity:IdentityHead",
}
"""Name → ``module:class`` of every head."""

TRAINED_HEADS = tuple(name for name in HEADS if name not in ("probabilities", "zero_shot"))
"""Names of the heads that are trained on a collection."""


def find_class(kind: str, name: str, table: Mapping[str, str], *, also: Iterable[str] = ()) -> Any:
    """Import the class under a name in a table of ``name: "module:class"``.

    An unknown name raises UnknownName, whose message mentions the `kind` ("encoder") and further valid forms (`also`).
    """
    if name not in table:
        raise UnknownName(kind, name, [*table, *also])
    return import_class(table[name])


def import_class(place: str) -> Any:
    """Import the class or function at ``module.path:name``."""
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


def check_options(kind: str, name: str, cls: Any, options: Iterable[str], *, runtime: Iterable[str] = ()) -> None:
    """Raise a ConfigError unless the signature of a class has all options and no other required parameter.

    `kind` and `name` are for the message; `runtime` names parameters that are not options.
    """
    given = set(options)
    parameters = inspect.signature(cls).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return
    known = [one for one in parameters if one not in set(runtime)]
    for option in given:
        if option not in known:
            raise ConfigError(
                f"{kind.capitalize()} {name!r} has no option {option!r}; it has: {', '.join(known) or 'none'}."
            )
    for option in known:
        if parameters[option].default is inspect.Parameter.empty and option not in given:
            raise ConfigError(f"{kind.capitalize()} {name!r} needs the option {option!r}: set {name}.{option}.")
