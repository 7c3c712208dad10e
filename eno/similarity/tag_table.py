"""Predicted tags of all tracks of a store: computed once per predictor, and cached next to the index."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eno.errors import UnknownName
from eno.files import printable, replace_file
from eno.views import forget

if TYPE_CHECKING:
    from eno.embeddings.store.joined_stores import Stores
    from eno.tagging import VectorTagger

logger = logging.getLogger(__name__)

_KEPT = 3  # tables of different predictors
_STALE_S = 24 * 3600.0  # after which an unfinished file is that of a killed process
_DAMAGED = (OSError, EOFError, ValueError, TypeError, KeyError, pa.ArrowException)
_FAMILIARITY = "familiarity"
_LEAST = 1e-6  # half precision rounds smaller probabilities to 0


@dataclass(frozen=True, eq=False)
class TagTable:
    """Probabilities of tags of many tracks.

    Attributes
    ----------
    names : tuple of str
        The tags.
    probabilities : np.ndarray [shape=(tags, tracks), dtype=float16]
        Memory-mapped. One row per tag, so that a search for two of a thousand tags reads two rows.
    thresholds : np.ndarray [shape=(tags,)]
        Probability above which a track has the tag.
    familiarity : np.ndarray [shape=(tracks,), dtype=float32] or None
        See `eno.models.familiarity.Familiarity.of`; None if the predictor does not know.
    predict : callable, optional
        Returns probabilities [shape=(tags,)] for the windows of a file [shape=(n, layers, dim)]; None if the predictor
        has several encoders.
    key : str
        Changes with the predictor and with the state of the store.
    """

    track_ids: pa.Array
    names: tuple[str, ...]
    probabilities: np.ndarray
    thresholds: np.ndarray
    familiarity: np.ndarray | None = None
    predict: Callable[[np.ndarray], np.ndarray] | None = None
    key: str = ""

    def of_tracks(self, places: np.ndarray) -> np.ndarray:
        """Return the probabilities of all tags of some tracks [shape=(tags, n), dtype=float32], by place."""
        found = np.asarray(self.probabilities[:, places], np.float32)
        self.forget()
        return found

    def together(self, tags: list[str]) -> np.ndarray:
        """Return the geometric mean of the probabilities of some tags [shape=(tracks,)]; see `place`."""
        rows = np.asarray(self.probabilities[[self.place(tag) for tag in tags]], np.float32)
        mean: np.ndarray = np.exp(np.log(np.maximum(rows, _LEAST)).mean(axis=0))
        return mean

    def forget(self) -> None:
        """Take the probabilities that were read so far out of this process's memory; later they are read again."""
        forget(self.probabilities)

    def place(self, tag: str) -> int:
        """Return the row of a tag, regardless of case; raise UnknownName if the predictor does not know it."""
        by_key = {name.casefold(): place for place, name in enumerate(self.names)}
        if tag.casefold() not in by_key:
            raise UnknownName("tag", tag, self.names)
        return by_key[tag.casefold()]


def open_tag_table(
    folder: Path,
    saved: Path,
    store: Stores,
    predictor: VectorTagger,
    *,
    on_predict: Callable[[], None] | None = None,
) -> TagTable:
    """Return a predictor's tags of all tracks of a store, which are predicted if they are not cached yet.

    Parameters
    ----------
    folder : Path
        The cache, for instance ``tags`` in the index's folder.
    saved, predictor
        The folder of the saved predictor, and the same predictor loaded.
    on_predict : callable, optional
        Called before tags are predicted, which may take long.
    """
    table = find_tag_table(folder, saved, store)
    if table is None:
        if on_predict is not None:
            on_predict()
        table = make_tag_table(folder, table_key(saved, store), store, predictor, saved=saved)
    return with_predictor(table, predictor)


def find_tag_table(folder: Path, saved: Path, store: Stores) -> TagTable | None:
    """Open the table of a saved predictor and the present state of a store; None if there is none."""
    digest = _predictor_digest(saved)
    tables = (read_tag_table(folder, f"{state}-{digest}") for state in store.states())
    return next((table for table in tables if table is not None), None)


def table_key(predictor: Path, store: Stores) -> str:
    """Return the key of a saved predictor's table. It changes with the predictor and with the state of the store."""
    return f"{store.state()}-{_predictor_digest(predictor)}"


def _predictor_digest(predictor: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in predictor.rglob("*") if path.is_file()):
        if path.parent == predictor or "head" in path.relative_to(predictor).parts:
            digest.update(f"{path.relative_to(predictor)}\n".encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def read_tag_table(folder: Path, key: str) -> TagTable | None:
    """Open a table that `make_tag_table` wrote; None if there is none, or with a warning if it is damaged."""
    values, names = _files(folder, key)
    try:
        return _table(pq.read_table(names), np.load(values, mmap_mode="r"), key)
    except FileNotFoundError:
        return None
    except _DAMAGED as error:
        logger.warning("%s: is damaged (%s); its tags are predicted again.", printable(names), error)
        return None


def _table(tracks: pa.Table, probabilities: np.ndarray, key: str) -> TagTable:
    about = json.loads(tracks.schema.metadata[b"tags"])
    thresholds = np.array(about["thresholds"])
    if probabilities.shape != (len(about["names"]), len(tracks)):
        raise ValueError(f"probabilities of shape {probabilities.shape}")
    familiarity = tracks[_FAMILIARITY].to_numpy() if _FAMILIARITY in tracks.column_names else None
    ids = tracks["track_id"].combine_chunks()
    return TagTable(ids, tuple(about["names"]), probabilities, thresholds, familiarity, key=key)


def make_tag_table(
    folder: Path, key: str, store: Stores, predictor: VectorTagger, *, saved: Path | None = None
) -> TagTable:
    """Predict the tags of all tracks of a store, and cache them in place of outdated tables.

    Outdated are tables of other states of the store, of predictors (in the folder `saved`) that have been removed or
    trained again, and all but the newest three.
    """
    ids = store.track_ids()
    names = tuple(predictor.labels.all_labels)
    folder.mkdir(parents=True, exist_ok=True)
    familiarity = None if predictor.familiarity is None else np.empty(len(ids), np.float32)
    values_file, names_file = _files(folder, key)
    with replace_file(values_file) as temporary:
        shape = (len(names), len(ids))
        values = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
        for rows, X in predictor.vector_batches(store, ids):
            values[:, rows] = predictor.predict_vectors(X).T
            if familiarity is not None:
                familiarity[rows] = predictor.familiarity_of(X)
            forget(values)
        values.flush()
        del values
        mapped = np.load(temporary, mmap_mode="r")  # before others can remove it
    about = {"names": names, "thresholds": predictor.thresholds.tolist()}
    about |= {} if saved is None else {"predictor": os.fspath(saved.resolve())}
    tracks = pa.table({"track_id": pa.array(ids, pa.string())})
    if familiarity is not None:
        tracks = tracks.append_column(_FAMILIARITY, pa.array(familiarity))
    tracks = tracks.replace_schema_metadata({"tags": json.dumps(about)})
    with replace_file(names_file) as temporary:
        pq.write_table(tracks, temporary)
    _remove_outdated(folder, key, store)
    return _table(tracks, mapped, key)


def _remove_outdated(folder: Path, key: str, store: Stores) -> None:
    kept: list[str] = []
    for tracks in sorted(
        folder.glob("*.parquet"), key=lambda path: (path.stem == key, _modified_s(path)), reverse=True
    ):
        with contextlib.suppress(FileNotFoundError):  # another process does the same
            if len(kept) < _KEPT and (tracks.stem == key or _is_current(tracks, store)):
                kept.append(tracks.stem)
                continue
        for file in _files(folder, tracks.stem):
            file.unlink(missing_ok=True)
    for file in folder.iterdir():
        # What other processes are writing has no table yet.
        if file.stem not in kept and time.time() - _modified_s(file) > _STALE_S:
            file.unlink(missing_ok=True)


def _is_current(tracks: Path, store: Stores) -> bool:
    state, _, digest = tracks.stem.partition("-")
    if state not in store.states():
        return False
    try:
        saved = json.loads(pq.read_schema(tracks).metadata[b"tags"]).get("predictor")  # None in earlier versions
    except _DAMAGED:
        return False
    return saved is None or (Path(saved).is_dir() and _predictor_digest(Path(saved)) == digest)


def _modified_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def with_predictor(table: TagTable, predictor: VectorTagger) -> TagTable:
    """Return a table that can also predict the tags of files, unless the predictor has several encoders."""
    if len(predictor.specs) > 1:
        return table
    return replace(table, predict=lambda windows: predictor.predict_windows([[windows]])[0])


def _files(folder: Path, key: str) -> tuple[Path, Path]:
    return folder / f"{key}.npy", folder / f"{key}.parquet"
