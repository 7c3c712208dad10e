"""The ``manifest.json`` of an index."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eno.errors import SimilarityError
from eno.files import write_json

MANIFEST = "manifest.json"
_FORMAT = 1
_SUFFIXES = (".safetensors", ".i16", ".parquet", ".faiss")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an index contains, and the names of its files.

    Attributes
    ----------
    state : str
        The state of the store that was indexed.
    asked : dict
        Options of `build_index` for rebuilding: ``kind``, ``memory_mb``, ``space``, ``seed``.
    rows, built_rows : int
        Number of vectors, including removed ones; and the number when the index was built.
    generation : int
        Incremented with every change.
    space, vectors, rows_file, finder : str
        Names of the files; `finder` is FAISS's.
    probes : int
        Inverted lists searched per query.
    measured : dict
        Results of ``eno index verify``.
    """

    encoder: str
    fingerprint: str
    store: str
    state: str
    level: str
    kind: str
    asked: dict[str, Any]
    rows: int
    built_rows: int
    generation: int
    space: str
    vectors: str
    rows_file: str
    finder: str
    probes: int = 1
    measured: dict[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> set[str]:
        """Names of all current files."""
        return {MANIFEST, self.space, self.vectors, self.rows_file, self.finder}

    def write(self, folder: Path) -> None:
        """Write the manifest, and delete the files of earlier generations."""
        write_json(folder / MANIFEST, {"format": _FORMAT, **asdict(self)})
        for old in folder.iterdir():
            if old.is_file() and old.name not in self.files and old.suffix in _SUFFIXES:
                old.unlink(missing_ok=True)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of an index."""
        path = folder / MANIFEST
        if not path.is_file():
            raise SimilarityError(f"{folder}: there is no index here. Build one: eno index build.")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            version = content.pop("format")
            if version != _FORMAT:
                raise SimilarityError(
                    f"{folder}: the index has format {version}, expected {_FORMAT}. Rebuild it: eno index build."
                )
            return cls(**content)
        except (ValueError, KeyError, TypeError) as error:
            raise SimilarityError(f"{path}: is damaged ({error!r}). Rebuild the index: eno index build.") from error
