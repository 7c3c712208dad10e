"""What an index says of itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eno.errors import SimilarityError
from eno.files import write_json

MANIFEST = "manifest.json"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Content of an index's ``manifest.json``.

    Attributes
    ----------
    encoder, fingerprint : str
        Label and fingerprint of the encoder.
    store, state : str
        The store, and the state of it that is in the index.
    level, kind : str
        See `eno.similarity.index.index.LEVELS` and `eno.similarity.index.engine.KINDS`.
    asked : dict
        What the user asked for, to build it again alike: ``kind``, ``memory_mb``, ``space``, ``seed``.
    rows, built_rows : int
        Vectors in all, also those that no longer count; and how many there were when it was built.
    generation : int
        Grows with every change.
    space, vectors, rows_file, finder : str
        Names of its files.
    probes : int
        Inverted lists that are searched for a query.
    measured : dict
        What ``eno index verify`` found.
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
        """Names of the files that count."""
        return {MANIFEST, self.space, self.vectors, self.rows_file, self.finder}

    def write(self, folder: Path) -> None:
        """Write it, which makes the files that it names the index; then remove those of the one before."""
        write_json(folder / MANIFEST, {"format": _FORMAT, **asdict(self)})
        for old in folder.iterdir():
            if (
                old.is_file()
                and old.name not in self.files
                and old.suffix in (".safetensors", ".i16", ".parquet", ".faiss")
            ):
                old.unlink(missing_ok=True)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read what `write` wrote.

        Raises
        ------
        SimilarityError
            There is none, or it is damaged.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise SimilarityError(f"{folder}: holds no index. Build it with: eno index build STORE.")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.pop("format") != _FORMAT:
                raise SimilarityError(f"{folder}: is an index of another format. Build it again: eno index build.")
            return cls(**content)
        except (ValueError, KeyError, TypeError) as error:
            raise SimilarityError(f"{path}: is damaged ({error!r}). Build the index again: eno index build.") from error
