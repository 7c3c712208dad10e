"""The encoder of imported vectors, which can compute no others."""

from __future__ import annotations

import numpy as np

from eno.errors import ConfigError
from eno.spec import IMPORTED, EncoderSpec


class ImportedEncoder:
    """Stands for the program that computed the vectors of `eno.embeddings.store.importing.import_vectors`."""

    def __init__(self, spec: EncoderSpec) -> None:
        self.spec = spec

    def encode(self, windows: np.ndarray) -> np.ndarray:
        """Raise a ConfigError."""
        raise ConfigError(_explained(self.spec.name))


def is_imported(name: str) -> bool:
    """Return whether a name is that of imported vectors."""
    return name.startswith(IMPORTED)


def refuse_imported(name: str) -> None:
    """Raise a ConfigError if a name is that of imported vectors."""
    if is_imported(name):
        raise ConfigError(_explained(name))


def _explained(name: str) -> str:
    return (
        f"The vectors of {name.removeprefix(IMPORTED)} were imported, and eno cannot compute others like them. Name a "
        "store with vectors of the tracks: --store STORE"
    )
