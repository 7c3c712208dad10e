"""What a predictor says of every track of a store: computed once, and kept beside the index."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.pooled import state_key
from eno.errors import UnknownName
from eno.files import replace_file
from eno.tagging import VectorTagger

_LEAST = 1e-6  # half precision rounds smaller probabilities away


@dataclass(frozen=True, eq=False)
class TagTable:
    """Probabilities of tags for many tracks.

    Attributes
    ----------
    track_ids : pa.Array
        The tracks.
    names : tuple of str
        The tags.
    probabilities : np.ndarray [shape=(tags, tracks), dtype=float16]
        One row a tag, so that a search by two of a thousand reads two; mapped from its file.
    thresholds : np.ndarray [shape=(tags,)]
        Above which probability a track is said to have the tag.
    predict : callable, optional
        Gives probabilities [shape=(tags,)] for the vectors of a file's windows [shape=(n, layers, dim)].
    """

    track_ids: pa.Array
    names: tuple[str, ...]
    probabilities: np.ndarray
    thresholds: np.ndarray
    predict: Callable[[np.ndarray], np.ndarray] | None = None

    def together(self, tags: list[str]) -> np.ndarray:
        """How surely tracks have all of some tags: the geometric mean of the probabilities [shape=(tracks,)].

        Raises
        ------
        UnknownName
            The predictor knows no such tag.
        """
        rows = np.asarray(self.probabilities[[self.place(tag) for tag in tags]], np.float32)
        mean: np.ndarray = np.exp(np.log(np.maximum(rows, _LEAST)).mean(axis=0))
        return mean

    def place(self, tag: str) -> int:
        """Row of a tag, whatever its case.

        Raises
        ------
        UnknownName
            The predictor knows no such tag.
        """
        by_key = {name.casefold(): place for place, name in enumerate(self.names)}
        if tag.casefold() not in by_key:
            raise UnknownName("tag", tag, self.names)
        return by_key[tag.casefold()]


def table_key(predictor: Path, store: EmbeddingStore) -> str:
    """Name the table of a saved predictor over a store as it is now; it changes when either does."""
    digest = hashlib.sha256()
    for path in sorted(path for path in predictor.rglob("*") if path.is_file()):
        if path.parent == predictor or "head" in path.relative_to(predictor).parts:
            digest.update(f"{path.relative_to(predictor)}\n".encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"{state_key(store)}-{digest.hexdigest()[:16]}"


def read_tag_table(folder: Path, key: str) -> TagTable | None:
    """Open the table that `make_tag_table` kept; None where there is none."""
    values, names = _files(folder, key)
    if not (values.is_file() and names.is_file()):
        return None
    table = pq.read_table(names)
    about = json.loads(table.schema.metadata[b"tags"])
    thresholds = np.array(about["thresholds"])
    return TagTable(
        table["track_id"].combine_chunks(), tuple(about["names"]), np.load(values, mmap_mode="r"), thresholds
    )


def make_tag_table(folder: Path, key: str, store: EmbeddingStore, predictor: VectorTagger) -> TagTable:
    """Predict the tags of every track of a store, and keep them in a folder.

    Parameters
    ----------
    folder : Path
        Receives the table, for instance ``tags`` in the index's folder. Those of other states of the store go.
    key : str
        See `table_key`.
    store : EmbeddingStore
        Vectors of the predictor's encoder.
    predictor : VectorTagger
        Predicts.
    """
    ids = store.track_ids()
    names = tuple(predictor.labels.all_labels)
    folder.mkdir(parents=True, exist_ok=True)
    values_file, names_file = _files(folder, key)
    with replace_file(values_file) as temporary:
        shape = (len(names), len(ids))
        values = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
        for rows, probabilities in predictor.predict_batches(store, ids):
            values[:, rows] = probabilities.T
        values.flush()
        del values
    about = json.dumps({"names": names, "thresholds": predictor.thresholds.tolist()})
    with replace_file(names_file) as temporary:
        schema = pa.schema([("track_id", pa.string())], metadata={"tags": about})
        pq.write_table(pa.table({"track_id": ids}, schema), temporary)
    for old in folder.iterdir():
        if not old.name.startswith(key.partition("-")[0]):
            old.unlink(missing_ok=True)
    made = read_tag_table(folder, key)
    assert made is not None
    return made


def with_predictor(table: TagTable, predictor: VectorTagger) -> TagTable:
    """Make a table able to tag files as well, by the vectors of their windows."""
    return replace(table, predict=lambda windows: predictor.predict_windows([windows])[0])


def _files(folder: Path, key: str) -> tuple[Path, Path]:
    return folder / f"{key}.npy", folder / f"{key}.parquet"
