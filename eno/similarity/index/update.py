"""Keeping an index up to date with its store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.folder import Folder
from eno.embeddings.store.lock import WriterLock
from eno.embeddings.store.pooled import state_key
from eno.similarity.index.build import build_locked
from eno.similarity.index.engine import EXACT_ROWS
from eno.similarity.index.index import ROW_SCHEMA, SimilarityIndex, index_folder
from eno.similarity.index.writer import IndexWriter, Progress, rows_of

_DRIFT_ROWS = 0.3  # share of rows that changed since it was built, from which the space and lists are learned anew
_DRIFT_MEAN = 0.1  # how far the mean of unit vectors may move before the space is no longer that of the collection
_SAMPLED = 20_000  # rows by which that is told


@dataclass(frozen=True)
class Update:
    """What bringing an index up to date changed.

    Attributes
    ----------
    added, removed, changed : int
        Tracks.
    rebuilt : str, optional
        Why it was built anew, if it was.
    """

    added: int
    removed: int
    changed: int
    rebuilt: str | None = None


def update_index(
    store: EmbeddingStore, folder: Path | str | None = None, *, on_progress: Progress | None = None
) -> Update:
    """Bring the index of a store's tracks up to date: new tracks are added, vanished ones are no longer found.

    Where so much has changed that the space and the lists are no longer those of the collection, it is built anew.

    Parameters
    ----------
    store : EmbeddingStore
        Vectors.
    folder : Path or str, optional
        The index; `eno.similarity.index.index.index_folder` if not given.
    on_progress : callable, optional
        Called with rows done and to do.

    Raises
    ------
    FingerprintMismatch
        It is the index of another encoder.
    SimilarityError
        There is no index, or it is damaged.
    """
    folder = index_folder(store) if folder is None else Path(folder)
    with WriterLock(Folder(folder)):
        index = SimilarityIndex.open(folder, writable=True)
        index.require(store.spec)
        state, tracks = state_key(store), store.tracks()
        stale, fresh, changed = _compare(index, tracks)
        live = index.live & ~stale
        update = Update(len(fresh) - changed, _tracks_of(index, stale) - changed, changed)
        if not stale.any() and len(fresh) == 0:
            replace(index.manifest, state=state).write(folder)
            return update
        rows = index.table.set_column(ROW_SCHEMA.get_field_index("live"), "live", pa.array(live))
        manifest = replace(index.manifest, state=state, generation=index.manifest.generation + 1, measured={})
        reason = _outgrown(index, live, rows_of(fresh, index.level))
        if reason is None:
            writer = IndexWriter(folder, manifest, index.space, index.engine.finder, rows)
            writer.add(store, fresh, on_progress)
            reason = _moved(writer.finish())
        if reason is not None:
            build_locked(store, folder, index.level, index.manifest.asked, None, (1, 1), on_progress)
        return replace(update, rebuilt=reason)


def _compare(index: SimilarityIndex, tracks: pa.Table) -> tuple[np.ndarray, pa.Table, int]:
    """Tell which rows are out of date, which tracks have to be added, and how many of these were there before."""
    rows = index.table
    places = pc.index_in(tracks["track_id"], value_set=_names(rows).filter(pa.array(index.live)))
    known = pc.is_valid(places)
    live = np.flatnonzero(index.live)
    numbers = live[pc.fill_null(places, 0).to_numpy()] if len(live) else np.zeros(len(tracks), np.int64)
    if len(live):
        kept = rows.select(["part", "audio_hash"]).take(pa.array(numbers))
        same_audio = pc.equal(kept["audio_hash"], tracks["audio_hash"])
        same = pc.and_(known, pc.coalesce(same_audio, pc.equal(kept["part"], tracks["part"])))
    else:
        same = known
    fresh = tracks.filter(pc.invert(same))
    unchanged = tracks["track_id"].filter(same).combine_chunks()
    stale = index.live & ~pc.is_in(_names(rows), value_set=unchanged).to_numpy(zero_copy_only=False)
    changed = int(pc.sum(pc.and_(known, pc.invert(same))).as_py() or 0)
    return stale, fresh, changed


def _outgrown(index: SimilarityIndex, live: np.ndarray, added: int) -> str | None:
    """Say why an index should be learned anew before rows are added, if it should."""
    manifest = index.manifest
    gone = len(live) - int(live.sum())
    new = len(live) - manifest.built_rows + added
    share = (gone + new) / max(manifest.built_rows, 1)
    if share > _DRIFT_ROWS:
        return f"{share:.0%} of its rows have changed since it was built"
    if manifest.kind == "exact" and manifest.asked["kind"] == "auto" and len(live) + added > EXACT_ROWS:
        return f"it has grown beyond {EXACT_ROWS:,} rows, of which not all can be compared quickly"
    return None


def _moved(index: SimilarityIndex) -> str | None:
    """Say that the collection has moved away from where it was when the space was fitted, if it has."""
    rng = np.random.default_rng(0)
    built = np.arange(index.manifest.built_rows)
    means = []
    for rows in (built, np.flatnonzero(index.live)):
        some = rng.choice(rows, min(len(rows), _SAMPLED), replace=False)
        means.append(index.vectors(np.sort(some)).mean(axis=0) if len(some) else np.zeros(index.space.dim))
    moved = float(np.linalg.norm(means[1] - means[0]))
    return f"the mean of its vectors has moved by {moved:.2f} since it was built" if moved > _DRIFT_MEAN else None


def _names(rows: pa.Table) -> pa.Array:
    return rows["track_id"].cast(pa.string()).combine_chunks()


def _tracks_of(index: SimilarityIndex, mask: np.ndarray) -> int:
    return int(pc.count_distinct(_names(index.table).filter(pa.array(mask))).as_py())
