"""eno: tag your music with your own words.

``import eno`` loads no heavy library; a name below brings what it needs when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from eno.version import __version__ as __version__

if TYPE_CHECKING:
    from eno.audio.reading import decode, probe, read_windows
    from eno.audio.windows import WindowPolicy
    from eno.data.labels.encoder import LabelEncoder
    from eno.embeddings.job.embed import embed_folder
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.encoders import load_encoder
    from eno.errors import EnoError
    from eno.inference.predictor import EnoPredictor
    from eno.library import Library
    from eno.models import create_head, load_head
    from eno.spec import EncoderSpec

_HOME = {
    "EmbeddingStore": "eno.embeddings.store.embedding_store",
    "EncoderSpec": "eno.spec",
    "EnoError": "eno.errors",
    "EnoPredictor": "eno.inference.predictor",
    "LabelEncoder": "eno.data.labels.encoder",
    "Library": "eno.library",
    "WindowPolicy": "eno.audio.windows",
    "create_head": "eno.models",
    "decode": "eno.audio.reading",
    "embed_folder": "eno.embeddings.job.embed",
    "load_encoder": "eno.encoders",
    "load_head": "eno.models",
    "probe": "eno.audio.reading",
    "read_windows": "eno.audio.reading",
}

__all__ = [
    "EmbeddingStore",
    "EncoderSpec",
    "EnoError",
    "EnoPredictor",
    "LabelEncoder",
    "Library",
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
