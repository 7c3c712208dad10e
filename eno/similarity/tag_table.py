"""What a predictor says of every track of a store: computed once, and kept beside the index."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eno.data.labels.encoder import LabelEncoder
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.pooled import state_key
from eno.errors import UnknownName
from eno.files import replace_file
from eno.models import Head, Vectors
from eno.models.bags import Bags
from eno.models.calibration.calibrate import Calibration
from eno.spec import EncoderSpec

_ROWS_AT_ONCE = 8192
_LEAST = 1e-6  # half precision rounds smaller probabilities away


class Predictor(Protocol):
    """What a table is made with: an `eno.inference.predictor.EnoPredictor`, or the parts of a saved one."""

    @property
    def head(self) -> Head | None:
        """Turns vectors into probabilities; None where they are probabilities already."""

    @property
    def labels(self) -> LabelEncoder:
        """Names the probabilities."""

    @property
    def calibration(self) -> Calibration | None:
        """What probabilities mean, and from which on a tag is named."""


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


def make_tag_table(folder: Path, key: str, store: EmbeddingStore, predictor: Predictor) -> TagTable:
    """Predict the tags of every track of a store, and keep them in a folder.

    Parameters
    ----------
    folder : Path
        Receives the table, for instance ``tags`` in the index's folder. Those of other states of the store go.
    key : str
        See `table_key`.
    store : EmbeddingStore
        Vectors of the predictor's encoder.
    predictor : Predictor
        Predicts.
    """
    tracks = store.tracks()
    ids = tracks["track_id"].combine_chunks()
    names = tuple(predictor.labels.all_labels)
    folder.mkdir(parents=True, exist_ok=True)
    values_file, names_file = _files(folder, key)
    with replace_file(values_file) as temporary:
        shape = (len(names), len(ids))
        values = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
        for rows, probabilities in _predicted(store, tracks, predictor):
            values[:, rows] = probabilities.T
        values.flush()
        del values
    calibration = predictor.calibration
    thresholds = [0.5] * len(names) if calibration is None else calibration.thresholds.tolist()
    about = json.dumps({"names": names, "thresholds": thresholds})
    with replace_file(names_file) as temporary:
        pq.write_table(pa.table({"track_id": ids}).replace_schema_metadata({"tags": about}), temporary)
    for old in folder.iterdir():
        if not old.name.startswith(key.partition("-")[0]):
            old.unlink(missing_ok=True)
    made = read_tag_table(folder, key)
    assert made is not None
    return made


def with_predictor(table: TagTable, predictor: Predictor, spec: EncoderSpec) -> TagTable:
    """Make a table able to tag files as well, by the vectors of their windows."""

    def predict(windows: np.ndarray) -> np.ndarray:
        one: Vectors
        if _takes_windows(predictor):
            one = Bags(windows[:, 0] if windows.shape[1] == 1 else windows, np.array([len(windows)]))
        else:
            mean = spec.to_length(windows.mean(axis=0))
            one = mean if len(mean) == 1 else mean[np.newaxis]
        probabilities: np.ndarray = _predict(predictor, one)[0]
        return probabilities

    return replace(table, predict=predict)


def _predicted(
    store: EmbeddingStore, tracks: pa.Table, predictor: Predictor
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of tracks, and their probabilities [shape=(rows, tags)]."""
    if not _takes_windows(predictor):
        means = store.view(tracks["track_id"].to_pylist())
        for first in range(0, len(tracks), _ROWS_AT_ONCE):
            rows = np.arange(first, min(first + _ROWS_AT_ONCE, len(tracks)))
            yield rows, _predict(predictor, means[rows])
        return
    layers, dim = len(store.spec.layers), store.spec.dim
    for owners, starts, vectors in store.live_windows(tracks):
        order = np.lexsort((starts, owners))
        rows, counts = np.unique(owners, return_counts=True)
        windows = vectors[order].astype(np.float32).reshape(-1, *((dim,) if layers == 1 else (layers, dim)))
        yield rows, _predict(predictor, Bags(windows, counts))


def _predict(predictor: Predictor, vectors: Vectors) -> np.ndarray:
    raw = np.asarray(vectors, np.float32) if predictor.head is None else predictor.head.predict_proba(vectors)
    return raw if predictor.calibration is None else predictor.calibration.apply(raw)


def _takes_windows(predictor: Predictor) -> bool:
    return predictor.head is not None and predictor.head.takes_windows


def _files(folder: Path, key: str) -> tuple[Path, Path]:
    return folder / f"{key}.npy", folder / f"{key}.parquet"
