"""Heads: embeddings → tag probabilities. Every kind of head has its own module in `eno.models.heads`.

Create a head by name (`create_head`), load a saved one (`load_head`), or import its class
(``from eno.models import MLPHead``). Its module, and the library it needs, are imported only then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eno.models.heads import HEAD_FILE, create_head, load_head
from eno.models.types import Head, Labels, RowSource, Vectors
from eno.registry import HEADS, import_class

if TYPE_CHECKING:
    from eno.models.heads.auto import AutoHead
    from eno.models.heads.blend import BlendHead
    from eno.models.heads.forest import ForestHead
    from eno.models.heads.identity import IdentityHead
    from eno.models.heads.kernel import KernelHead
    from eno.models.heads.knn import KNNHead
    from eno.models.heads.lgbm.head import LightGBMHead
    from eno.models.heads.linear import LinearHead
    from eno.models.heads.mlp import MLPHead
    from eno.models.heads.zero_shot import ZeroShotHead

__all__ = [
    "HEADS",
    "HEAD_FILE",
    "AutoHead",
    "BlendHead",
    "ForestHead",
    "Head",
    "IdentityHead",
    "KNNHead",
    "KernelHead",
    "Labels",
    "LightGBMHead",
    "LinearHead",
    "MLPHead",
    "RowSource",
    "Vectors",
    "ZeroShotHead",
    "create_head",
    "load_head",
]


def __getattr__(name: str) -> Any:
    for place in HEADS.values():
        if place.endswith(f":{name}"):
            return import_class(place)
    raise AttributeError(f"module 'eno.models' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
