"""Where the tracks of a collection are on its map: computed once, and kept beside the index."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.files import printable, replace_file
from eno.mapping.projection import UMAP_NEIGHBOURS, Method, Projection, choose_method, project
from eno.processes import give_back_memory
from eno.similarity.index.index import SimilarityIndex
from eno.similarity.index.neighbours import InvertedLists, Vectors, nearest_others
from eno.similarity.index.space import CENTRE, Space
from eno.views import RowView, forget

logger = logging.getLogger(__name__)

_LAYOUT_WORK = 3  # time of UMAP's layout, relative to finding the neighbours

NEIGHBOURS = 8
"""Number of neighbours that the map shows for a track."""

MOST_TRACKS = 300_000
"""Of more tracks, maps show a random sample by default."""

_FORMAT = 1
_KEPT = 3  # maps of other samples and layouts
_DAMAGED = (OSError, SafetensorError, KeyError, TypeError, ValueError)

Progress = Callable[[int, int], None]
TrackIds: TypeAlias = Sequence[str] | pa.Array


@dataclass(frozen=True, eq=False)
class Places:
    """Where tracks are on a map.

    Attributes
    ----------
    projection : Projection
        Their coordinates.
    neighbours : tuple of np.ndarray [shape=(n, k)]
        Rows and cosines of the neighbours that the map shows.
    """

    projection: Projection
    neighbours: tuple[np.ndarray, np.ndarray]


def place_tracks(
    vectors: np.ndarray | RowView,
    *,
    space: Space | None = None,
    indexed: tuple[Vectors, InvertedLists | None] | None = None,
    method: Method = "auto",
    seed: int = 0,
    on_progress: Progress = lambda done, total: None,
) -> Places:
    """Place tracks on a map by their vectors. It stops if `on_progress` raises an exception.

    See `eno.mapping.projection.project` for `method`, `seed` and the exceptions.

    Parameters
    ----------
    vectors : np.ndarray or RowView [shape=(n, dim) or (n, layers, dim)]
        Raw vectors of the tracks. A view is read in blocks.
    space : Space, optional
        The space in which neighbours are found, for instance that of an index; by default fitted on `vectors`.
    indexed : tuple, optional
        The vectors in that space, if they are known, and lists to find neighbours with.
    on_progress : callable
        Called with the work done and the total work.
    """
    method = choose_method(method, len(vectors))
    layout = len(vectors) * _LAYOUT_WORK if method == "umap" else 0
    work = len(vectors) + layout
    if indexed is None:
        indexed = (space or Space.fit(vectors, seed=seed)).view(vectors), None
    similar, lists = indexed
    cosines, rows = nearest_others(
        similar,
        UMAP_NEIGHBOURS if method == "umap" else NEIGHBOURS,
        lists=lists,
        on_progress=lambda done, _total: on_progress(done, work),
    )
    forget(similar)
    give_back_memory()  # of the search for neighbours
    projection = project(
        Space.fit(vectors, method=CENTRE, seed=seed).view(vectors),
        (rows, cosines),
        method=method,
        seed=seed,
        on_progress=lambda done, total: on_progress(len(vectors) + layout * done // total, work),
    )
    return Places(projection, (rows[:, :NEIGHBOURS].copy(), cosines[:, :NEIGHBOURS].copy()))


def place_indexed(
    index: SimilarityIndex,
    store: EmbeddingStore,
    ids: TrackIds,
    *,
    method: Method = "auto",
    seed: int = 0,
    on_progress: Progress = lambda done, total: None,
) -> Places:
    """Place tracks of a store by the vectors of its index, unless they were placed before; see `place_tracks`.

    If the store has changed since it was indexed, its own vectors are used, in the space of the index.

    The places are kept in the folder ``map`` of the index, those of the last three samples and layouts.
    """
    path = _path(index, store, ids, method, seed)
    places = _read(path, len(ids))
    if places is None:
        places = place_tracks(
            store.view(ids),
            space=index.space,
            indexed=_indexed(index, store, ids),
            method=method,
            seed=seed,
            on_progress=on_progress,
        )
        _keep(path, places)
    return places


def _indexed(
    index: SimilarityIndex, store: EmbeddingStore, ids: TrackIds
) -> tuple[Vectors, InvertedLists | None] | None:
    """Return what `place_tracks` needs of an index; None if it does not hold these vectors of the store."""
    rows = index.first_rows(ids)
    if index.level != "tracks" or index.is_older_than(store) or (rows < 0).any():
        return None
    vectors = index.view(rows)
    return vectors, InvertedLists.of_index(index.ann, rows, vectors)


def find_places(
    index: SimilarityIndex, store: EmbeddingStore, ids: TrackIds, *, method: Method = "auto", seed: int = 0
) -> Places | None:
    """Return what `place_indexed` kept; None if it has not placed these tracks yet."""
    return _read(_path(index, store, ids, method, seed), len(ids))


def _path(index: SimilarityIndex, store: EmbeddingStore, ids: TrackIds, method: Method, seed: int) -> Path:
    method = choose_method(method, len(ids))
    deciding = [_FORMAT, store.state(), index.space.digest(), method, seed]
    digest = hashlib.sha256(json.dumps(deciding).encode())
    names = ids.to_pylist() if isinstance(ids, pa.Array) else ids
    digest.update("\n".join(names).encode("utf-8", "surrogatepass"))
    return index.folder / "map" / f"{digest.hexdigest()[:16]}.safetensors"


def drawn_at_random(ids: list[str], most: int, seed: int = 0) -> list[str]:
    """Return at most so many of some ids, drawn at random, in the same order."""
    if len(ids) <= most:
        return ids
    rows = np.sort(np.random.default_rng(seed).choice(len(ids), most, replace=False))
    return [ids[row] for row in rows.tolist()]


def _read(path: Path, count: int) -> Places | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, "np") as file:
            about = json.loads(file.metadata()["map"])
            coordinates, rows, cosines = (file.get_tensor(name) for name in ("coordinates", "rows", "cosines"))
        if (coordinates.shape, len(rows), len(cosines)) != ((count, 2), count, count):
            raise ValueError(f"{len(coordinates)} tracks, expected {count}")
        return Places(Projection(coordinates, about["method"], tuple(about["explained"])), (rows, cosines))
    except _DAMAGED as error:
        logger.warning("%s: is damaged (%s); the map is drawn again.", printable(path), error)
        return None


def _keep(path: Path, places: Places) -> None:
    rows, cosines = places.neighbours
    about = {"method": places.projection.method, "explained": places.projection.explained}
    arrays = {"coordinates": places.projection.coordinates, "rows": rows, "cosines": cosines}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as temporary:
            save_file(
                {name: np.ascontiguousarray(array) for name, array in arrays.items()},
                temporary,
                {"map": json.dumps(about)},
            )
        kept = sorted(path.parent.glob("*.safetensors"), key=lambda one: one.stat().st_mtime_ns, reverse=True)
        for other in kept[_KEPT:]:
            other.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s: cannot be written (%s), so the map will be drawn again.", printable(path), error)
