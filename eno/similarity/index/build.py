"""Build, update and open the index of a store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.errors import ConfigError, SimilarityError
from eno.similarity.index.ann import EXACT_ROWS, KINDS, choose_kind, sample_size, train_faiss
from eno.similarity.index.index import LEVELS, ROW_SCHEMA, SimilarityIndex, index_folder
from eno.similarity.index.manifest import MANIFEST, Manifest, next_generation, writing
from eno.similarity.index.measure import tune_probes
from eno.similarity.index.space import DEFAULT_METHOD, METHODS, Space
from eno.similarity.index.vector_file import ROWS_AT_ONCE
from eno.similarity.index.writer import IndexWriter, OnRows, count_rows, sample_vectors

_SPACE_ROWS = 100_000  # vectors to fit the space on
# An index is rebuilt if this fraction of its rows has changed, or the mean of its unit vectors has moved this far.
_DRIFT_ROWS, _DRIFT_MEAN = 0.3, 0.1
_DRIFT_SAMPLE = 20_000


@dataclass(frozen=True)
class Update:
    """Numbers of tracks that an update added, removed and replaced; and the reason if the index was rebuilt."""

    added: int
    removed: int
    changed: int
    rebuilt: str | None = None


def open_or_build(
    store: EmbeddingStore,
    folder: Path | str | None = None,
    *,
    level: str = "tracks",
    current: bool = False,
    on_progress: OnRows | None = None,
    **options: Any,
) -> SimilarityIndex:
    """Open the index of a store. The store's own index is built with `options` first if it does not exist.

    Parameters
    ----------
    folder : Path or str, optional
        An existing index in another place.
    current : bool
        Update the store's own index if the store has changed since.
    """
    if folder is None:
        own = index_folder(store, level)
        if not (own / MANIFEST).exists():
            return build_index(store, level=level, on_progress=on_progress, **options)
        if current and SimilarityIndex.open(own).is_older_than(store):
            update_index(store, own, on_progress=on_progress)
        folder = own
    index = SimilarityIndex.open(folder)
    index.require(store.spec)
    if index.level != level:
        raise ConfigError(
            f"{index.folder}: this is an index of {index.level}, expected one of {level}. "
            "Use --windows with an index of windows, and only then."
        )
    return index


def build_index(
    store: EmbeddingStore,
    folder: Path | str | None = None,
    *,
    level: str = "tracks",
    kind: str = "auto",
    memory_mb: float | None = None,
    space: str = DEFAULT_METHOD,
    seed: int = 0,
    on_progress: OnRows | None = None,
) -> SimilarityIndex:
    """Build the index of a store. An existing index stays in use until the new one is complete.

    Parameters
    ----------
    folder : Path or str, optional
        By default `eno.similarity.index.index.index_folder`.
    level : {"tracks", "windows"}
        Index the mean vectors of tracks, or the vectors of single windows (to find passages).
    kind : {"auto", "exact", "ivf", "ivfpq"}
        See `eno.similarity.index.ann`; ``auto`` chooses by size and memory limit.
    memory_mb : float, optional
        Memory limit in 10⁶ bytes, for ``auto``.
    space : str
        One of `eno.similarity.index.space.METHODS`.
    seed : int
        Seed for drawing the training vectors.
    """
    if kind not in (*KINDS, "auto"):
        raise ConfigError(f"kind {kind!r}: choose from auto, {', '.join(KINDS)}.")
    if level not in LEVELS:
        raise ConfigError(f"level {level!r}: choose from {', '.join(LEVELS)}.")
    folder = index_folder(store, level) if folder is None else Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    asked = {"kind": kind, "memory_mb": memory_mb, "space": space, "seed": seed}
    with writing(folder) as lock:
        index = _build(store, folder, level, asked, on_progress)
        lock.check()
        index.manifest.write(folder)
    return index


def _build(
    store: EmbeddingStore, folder: Path, level: str, asked: dict[str, Any], on_progress: OnRows | None
) -> SimilarityIndex:
    """Write a new index except its manifest."""
    state, tracks = store.state(), store.tracks()
    total = count_rows(tracks, level)
    if total == 0:
        raise SimilarityError(f"{store.folder}: this store has no tracks yet. Embed some first: eno embed.")
    generation = next_generation(folder)
    dim = store.spec.dim * len(store.spec.layers)
    kind = choose_kind(total, dim, asked["memory_mb"]) if asked["kind"] == "auto" else asked["kind"]
    space, faiss_index = _train(store, tracks, level, kind, total, asked)
    manifest = Manifest(
        encoder=store.spec.label,
        fingerprint=store.spec.fingerprint,
        store=str(store.path),
        state=state,
        level=level,
        kind=kind,
        asked=asked,
        rows=0,
        built_rows=0,
        generation=generation,
        space=f"space-{generation}.safetensors",
        vectors=f"vectors-{generation}.i16",
        rows_file="",
        finder="",
    )
    space.save(folder / manifest.space)
    writer = IndexWriter(folder, manifest, space, faiss_index)
    writer.add(store, tracks, on_progress)
    index = writer.finish(built=True)
    if index.ann.lists:
        index.manifest = tune_probes(index)
    return index


def _train(
    store: EmbeddingStore, tracks: pa.Table, level: str, kind: str, total: int, asked: dict[str, Any]
) -> tuple[Space, Any]:
    """Fit the space, and train the FAISS index in it."""
    wanted = min(total, _SPACE_ROWS) if kind == "exact" else max(sample_size(total), min(total, _SPACE_ROWS))
    sample = sample_vectors(store, tracks, level, total, wanted, asked["seed"])
    space = Space.fit(sample, method=asked["space"], seed=asked["seed"])
    blocks = [space.apply(sample[first : first + ROWS_AT_ONCE]) for first in range(0, len(sample), ROWS_AT_ONCE)]
    del sample
    return space, train_faiss(kind, np.concatenate(blocks), total, asked["seed"])


def update_index(
    store: EmbeddingStore, folder: Path | str | None = None, *, on_progress: OnRows | None = None
) -> Update:
    """Update the index of a store: add new tracks, replace changed ones, and remove those that are gone.

    After large changes, which the space and the inverted lists no longer fit, the index is rebuilt.
    """
    folder = index_folder(store) if folder is None else Path(folder)
    Manifest.read(folder)  # raises if there is no index
    with writing(folder) as lock:
        index = SimilarityIndex.open(folder, writable=True)
        index.require(store.spec)
        state, tracks = store.state(), store.tracks()
        stale, fresh, changed = _compare(index, tracks)
        live = index.live & ~stale
        update = Update(len(fresh) - changed, len(np.unique(index.codes[stale])) - changed, changed)
        if not stale.any() and len(fresh) == 0:
            replace(index.manifest, state=state).write(folder)
            return update
        rows = index.table.set_column(ROW_SCHEMA.get_field_index("live"), "live", pa.array(live))
        manifest = replace(index.manifest, state=state, generation=next_generation(folder), measured={})
        reason = _outgrown(index, live, count_rows(fresh, index.level))
        if reason is None:
            writer = IndexWriter(folder, manifest, index.space, index.ann.faiss_index, rows)
            writer.add(store, fresh, on_progress)
            updated = writer.finish()
            reason = _moved(updated)
        if reason is not None:
            asked = index.manifest.asked
            if asked["space"] not in METHODS:  # a space of an earlier version
                asked = {**asked, "space": DEFAULT_METHOD}
            updated = _build(store, folder, index.level, asked, on_progress)
        elif updated.ann.lists and not updated.manifest.deeper:  # built by an earlier version
            updated.manifest = tune_probes(updated)
        lock.check()
        updated.manifest.write(folder)
        return replace(update, rebuilt=reason)


def _compare(index: SimilarityIndex, tracks: pa.Table) -> tuple[np.ndarray, pa.Table, int]:
    """Return a mask of outdated rows, the tracks to add, and how many of these replace an indexed track."""
    ids = index.table["track_id"].cast(pa.string()).combine_chunks()
    places = pc.index_in(tracks["track_id"], value_set=ids.filter(pa.array(index.live)))
    known = pc.is_valid(places)
    live = np.flatnonzero(index.live)
    if len(live):
        kept = index.table.select(["part", "samples_hash"]).take(pa.array(live[pc.fill_null(places, 0).to_numpy()]))
        same_audio = pc.equal(kept["samples_hash"], tracks["samples_hash"])
        same = pc.and_(known, pc.coalesce(same_audio, pc.equal(kept["part"], tracks["part"])))
    else:
        same = known
    fresh = tracks.filter(pc.invert(same))
    unchanged = tracks["track_id"].filter(same).combine_chunks()
    stale = index.live & ~pc.is_in(ids, value_set=unchanged).to_numpy(zero_copy_only=False)
    changed = int(pc.sum(pc.and_(known, pc.invert(same))).as_py() or 0)
    return stale, fresh, changed


def _outgrown(index: SimilarityIndex, live: np.ndarray, added: int) -> str | None:
    """Return why an index should be rebuilt instead of adding rows; None if it should not."""
    manifest = index.manifest
    removed = len(live) - int(live.sum())
    new = len(live) - manifest.built_rows + added
    fraction = (removed + new) / max(manifest.built_rows, 1)
    if fraction > _DRIFT_ROWS:
        return f"{fraction:.0%} of its rows have changed since it was built"
    if manifest.kind == "exact" and manifest.asked["kind"] == "auto" and len(live) + added > EXACT_ROWS:
        return f"it has grown beyond {EXACT_ROWS:,} rows, the limit for exhaustive search"
    return None


def _moved(index: SimilarityIndex) -> str | None:
    """Return why an index should be rebuilt, if its vectors have moved away from the fitted space."""
    rng = np.random.default_rng(0)
    built = np.arange(index.manifest.built_rows)
    means = []
    for rows in (built, np.flatnonzero(index.live)):
        sample = rng.choice(rows, min(len(rows), _DRIFT_SAMPLE), replace=False)
        means.append(index.vectors(np.sort(sample)).mean(axis=0) if len(sample) else np.zeros(index.space.dim))
    moved = float(np.linalg.norm(means[1] - means[0]))
    return f"the mean of its vectors has moved by {moved:.2f} since it was built" if moved > _DRIFT_MEAN else None
