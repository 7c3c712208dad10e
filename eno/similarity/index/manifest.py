"""The ``manifest.json`` of an index."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eno.embeddings.store.folder import Folder
from eno.embeddings.store.lock import WriterLock
from eno.errors import SimilarityError, check_format
from eno.files import write_json

MANIFEST = "manifest.json"
_FORMAT = 2
TUNED = (10, 30, 100, 300, 1000)
"""Numbers of neighbours for which the depth of search is tuned."""

_NUMBER = re.compile(r"^[a-z]+-([0-9]+)\.")
_SUFFIXES = (".safetensors", ".i16", ".arrow", ".parquet", ".faiss")


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
        Inverted lists searched per query for up to 10 neighbours.
    deeper : dict
        The same for larger numbers of neighbours; empty in indexes of earlier versions.
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
    deeper: dict[str, int] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> set[str]:
        """Names of all current files."""
        return {MANIFEST, self.space, self.vectors, self.rows_file, self.finder}

    def probes_for(self, k: int) -> int:
        """Return the number of inverted lists to search for the nearest neighbour itself and `k` others."""
        first, *more = TUNED
        known = {first: self.probes} | {n: self.deeper.get(str(n), self.probes * n // first) for n in more}
        probes = float(np.exp(np.interp(np.log(max(k, 1)), np.log(list(known)), np.log(list(known.values())))))
        return math.ceil(probes * max(1, k / more[-1]) - 1e-6)

    def write(self, folder: Path) -> None:
        """Write the manifest. Files that neither it nor the one before it lists are deleted.

        The files of one earlier generation remain for readers that have just read its manifest. Call this only while
        `writing`.
        """
        kept = set(self.files)
        with contextlib.suppress(SimilarityError):  # there is none yet, or it is damaged
            kept |= Manifest.read(folder).files
        write_json(folder / MANIFEST, {"format": _FORMAT, **asdict(self)})
        for old in folder.iterdir():
            if old.is_file() and old.name not in kept and old.suffix in _SUFFIXES:
                old.unlink(missing_ok=True)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of an index."""
        path = folder / MANIFEST
        if not path.is_file():
            raise SimilarityError(f"{folder}: there is no index here. Build one: eno index build.")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            check_format(path, content.pop("format"), _FORMAT, SimilarityError)
            return cls(**content)
        except (ValueError, KeyError, TypeError) as error:
            raise SimilarityError(f"{path}: is damaged ({error!r}). Rebuild the index: eno index build.") from error


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[WriterLock]:
    """Lock an index for writing, and remove unfinished files of a killed writer."""
    with WriterLock(Folder(folder)) as lock:
        Folder(folder).remove_leftovers()
        yield lock


def next_generation(folder: Path) -> int:
    """Return a number that no file of the folder has in its name, not even files of an interrupted update."""
    return 1 + max((int(number) for path in folder.iterdir() for number in _NUMBER.findall(path.name)), default=0)
