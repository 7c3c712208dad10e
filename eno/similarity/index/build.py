"""Making an index from a store, and keeping it up to date."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa

from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.folder import Folder
from eno.embeddings.store.lock import WriterLock
from eno.embeddings.store.pooled import state_key
from eno.errors import ConfigError, FingerprintMismatch, SimilarityError
from eno.similarity.index.engine import check_kind, choose_kind, sample_size, train_finder
from eno.similarity.index.index import LEVELS, SimilarityIndex, index_folder
from eno.similarity.index.manifest import MANIFEST, Manifest
from eno.similarity.index.measure import tune_probes
from eno.similarity.index.space import DEFAULT_METHOD, Space
from eno.similarity.index.vector_file import ROWS_AT_ONCE
from eno.similarity.index.writer import IndexWriter, Progress, rows_of, sample_vectors

_SPACE_ROWS = 100_000  # that a space is fitted on


def build_index(
    store: EmbeddingStore,
    folder: Path | str | None = None,
    *,
    level: str = "tracks",
    kind: str = "auto",
    memory_mb: float | None = None,
    space: str = DEFAULT_METHOD,
    seed: int = 0,
    like: Path | str | None = None,
    share: tuple[int, int] = (1, 1),
    on_progress: Progress | None = None,
) -> SimilarityIndex:
    """Build the index of a store; the one that is there stays until the new one is whole.

    Parameters
    ----------
    store : EmbeddingStore
        Vectors.
    folder : Path or str, optional
        Where it will lie; `eno.similarity.index.index.index_folder` if not given.
    level : {"tracks", "windows"}
        Find tracks by their means, or passages by single windows.
    kind : {"auto", "exact", "ivf", "ivfpq"}
        See `eno.similarity.index.engine`; ``auto`` chooses by size and memory.
    memory_mb : float, optional
        Memory that it may hold, in 10⁶ bytes, for the choice.
    space : str
        One of `eno.similarity.index.space.METHODS`.
    seed : int
        Decides what is learned from.
    like : Path or str, optional
        An index whose space and lists are taken instead of learning them, so that the two can be merged. `level`,
        `kind`, `space` and `seed` are its own then.
    share : tuple of int
        Which part of the tracks: ``(2, 4)`` is the second quarter.
    on_progress : callable, optional
        Called with rows done and to do.

    Raises
    ------
    ConfigError
        An option has a wrong value.
    SimilarityError
        The store is empty.
    FingerprintMismatch
        `like` is an index of another encoder.
    """
    check_kind(kind)
    if level not in LEVELS:
        raise ConfigError(f"level {level!r}: choose from {', '.join(LEVELS)}.")
    number, of = share
    if not 1 <= number <= of:
        raise ConfigError(f"share {number}/{of}: name one of the shares 1/{of} … {of}/{of}.")
    template = None if like is None else SimilarityIndex.open(like, writable=True)
    if template is not None:
        template.require(store.spec)
        level, asked = template.level, template.manifest.asked
    else:
        asked = {"kind": kind, "memory_mb": memory_mb, "space": space, "seed": seed}
    folder = index_folder(store, level) if folder is None else Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with WriterLock(Folder(folder)):
        return build_locked(store, folder, level, asked, template, share, on_progress)


def build_locked(
    store: EmbeddingStore,
    folder: Path,
    level: str,
    asked: dict[str, Any],
    template: SimilarityIndex | None,
    share: tuple[int, int],
    on_progress: Progress | None,
) -> SimilarityIndex:
    """Build an index in a folder that is locked already; see `build_index`."""
    state, tracks = state_key(store), store.tracks()
    total = rows_of(tracks, level)
    if total == 0:
        raise SimilarityError(f"{store.folder}: holds no tracks yet. Embed some first: eno embed.")
    generation = Manifest.read(folder).generation + 1 if (folder / MANIFEST).exists() else 1
    if template is None:
        kind = choose_kind(total, _dim(store), asked["memory_mb"]) if asked["kind"] == "auto" else asked["kind"]
        fitted, finder = _learn(store, tracks, level, kind, total, asked)
    else:
        kind, fitted = template.manifest.kind, template.space
        finder = _emptied(template.engine.finder)
    number, of = share
    tracks = tracks.slice(*_part(len(tracks), number, of))
    fitted.save(folder / f"space-{generation}.safetensors")
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
        probes=1 if template is None else template.manifest.probes,
    )
    writer = IndexWriter(folder, manifest, fitted, finder)
    writer.add(store, tracks, on_progress)
    written = writer.finish(built=True)
    return _tuned(written) if template is None else written


def _learn(
    store: EmbeddingStore, tracks: pa.Table, level: str, kind: str, total: int, asked: dict[str, Any]
) -> tuple[Space, Any]:
    """Fit the space, and what finds candidates in it."""
    wanted = min(total, _SPACE_ROWS) if kind == "exact" else max(sample_size(total), min(total, _SPACE_ROWS))
    sample = sample_vectors(store, tracks, level, total, wanted, asked["seed"])
    fitted = Space.fit(sample, method=asked["space"], seed=asked["seed"])
    learned = np.concatenate(
        [fitted.apply(sample[first : first + ROWS_AT_ONCE]) for first in range(0, len(sample), ROWS_AT_ONCE)]
    )
    del sample
    return fitted, train_finder(kind, learned, total, asked["seed"])


def merge_indexes(folder: Path | str, shards: Sequence[Path | str]) -> SimilarityIndex:
    """Make one index of several that were built ``like`` the same one.

    Parameters
    ----------
    folder : Path or str
        Receives the index.
    shards : sequence of Path or str
        Indexes; they stay.

    Raises
    ------
    SimilarityError
        They do not belong together, or share a track.
    """
    opened = [SimilarityIndex.open(shard, writable=True) for shard in shards]
    if not opened:
        raise ConfigError("Name the indexes that are to be merged.")
    first = opened[0]
    for other in opened[1:]:
        if other.manifest.fingerprint != first.manifest.fingerprint:
            raise FingerprintMismatch(other.manifest.encoder, first.manifest.encoder, "Merge indexes of one encoder.")
        ours, theirs = (
            (one.level, one.manifest.kind, (one.folder / one.manifest.space).read_bytes()) for one in (first, other)
        )
        if ours != theirs:
            raise SimilarityError(
                f"{other.folder} and {first.folder}: were not built like the same index. Build all of them with --like."
            )
    names = np.concatenate([index.track_ids() for index in opened])
    unique, counts = np.unique(names, return_counts=True)
    if (counts > 1).any():
        raise SimilarityError(f"{unique[counts > 1][0]!r} is in several of the indexes; give each its own --share.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with WriterLock(Folder(folder)):
        finder = _emptied(first.engine.finder)
        generation = Manifest.read(folder).generation + 1 if (folder / MANIFEST).exists() else 1
        names_of: dict[str, Any] = {"space": f"space-{generation}.safetensors", "vectors": f"vectors-{generation}.i16"}
        first.space.save(folder / names_of["space"])
        manifest = replace(first.manifest, rows=0, generation=generation, measured={}, **names_of)
        writer = IndexWriter(folder, manifest, first.space, finder)
        for shard in opened:
            writer.take(shard)
        return _tuned(writer.finish(built=True))


def _tuned(index: SimilarityIndex) -> SimilarityIndex:
    """Set how many lists are searched by what it takes to find nearly all neighbours."""
    if not index.engine.lists:
        return index
    index.manifest = replace(index.manifest, probes=tune_probes(index))
    index.manifest.write(index.folder)
    return index


def _emptied(finder: Any) -> Any:
    empty = faiss.clone_index(finder)
    empty.reset()
    return empty


def _dim(store: EmbeddingStore) -> int:
    return store.spec.dim * len(store.spec.layers)


def _part(count: int, number: int, of: int) -> tuple[int, int]:
    """First row and number of rows of a share."""
    first, end = (math.floor(count * n / of) for n in (number - 1, number))
    return first, end - first
