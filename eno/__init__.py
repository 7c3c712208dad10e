"""eno: tag your music with your own words.

``import eno`` loads no heavy library; a name below brings what it needs when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eno.data.audio import decode, probe, read_windows
    from eno.data.labels import LabelEncoder
    from eno.data.windows import WindowPolicy
    from eno.embeddings.job import embed_folder
    from eno.embeddings.store import EmbeddingStore
    from eno.encoders import load_encoder
    from eno.errors import EnoError
    from eno.inference.predictor import EnoPredictor
    from eno.models import create_head, load_head
    from eno.spec import EncoderSpec

__version__ = "0.1.0"

_HOME = {
    "EmbeddingStore": "eno.embeddings.store",
    "EncoderSpec": "eno.spec",
    "EnoError": "eno.errors",
    "EnoPredictor": "eno.inference.predictor",
    "LabelEncoder": "eno.data.labels",
    "WindowPolicy": "eno.data.windows",
    "create_head": "eno.models",
    "decode": "eno.data.audio",
    "embed_folder": "eno.embeddings.job",
    "load_encoder": "eno.encoders",
    "load_head": "eno.models",
    "probe": "eno.data.audio",
    "read_windows": "eno.data.audio",
}

__all__ = [
    "EmbeddingStore",
    "EncoderSpec",
    "EnoError",
    "EnoPredictor",
    "LabelEncoder",
    "WindowPolicy",
    "create_head",
    "decode",
    "embed_folder",
    "load_encoder",
    "load_head",
    "probe",
    "read_windows",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'eno' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
