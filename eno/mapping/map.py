"""The map of a collection as one HTML file."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from eno.data.labels.hierarchy import Hierarchy
from eno.files import AudioRoots, printed_file, replace_file
from eno.mapping.map_content import TagStrengths, map_content, pack
from eno.mapping.projection import UMAP_NEIGHBOURS, Method, Projection, choose_method, project
from eno.reporting.page import audio_address, render
from eno.similarity.index.space import CENTRE, Space
from eno.similarity.index.vector_file import nearest_others

NEIGHBOURS = 8
"""Number of neighbours that the map shows for a track."""

MAP_SCRIPTS = ("map_tracks.js", "map_paint.js", "map_input.js", "map.js", "map_view.js")
"""The scripts of the map, in the order in which they are loaded; the page of the service also uses them."""

_SCRIPTS = (*MAP_SCRIPTS, "map_page.js")
_AXES = {
    "umap": "Neighbouring tracks sound alike; distances between groups mean little.",
    "pca": "The first two principal components, with {:.0%} of the variance; similar tracks may be far apart.",
}

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class MapReport:
    """A map that was written."""

    tracks: int
    method: str  # "pca" or "umap"
    size: int  # bytes


def write_map(
    path: Path,
    ids: list[str],
    vectors: np.ndarray,
    *,
    audio_roots: AudioRoots | Path | Sequence[Path] | None = None,
    heading: str = "Map of the collection",
    **options: Any,
) -> MapReport:
    """Write the map as one HTML file that loads nothing else but audio. The same input yields the same bytes.

    See `draw_map` for the other parameters and the exceptions.

    Parameters
    ----------
    path : Path
        The HTML file; its folder is created.
    audio_roots : AudioRoots, Path or sequence of Path, optional
        Folders of the tracks. If they are passed, the page plays audio, by links relative to the page.
    """
    content = draw_map(ids, vectors, **options)
    path.parent.mkdir(parents=True, exist_ok=True)
    if audio_roots is not None:
        content["audio"] = _audio(AudioRoots.of(audio_roots), ids, path.parent)
    page = _page(content, heading, _AXES[content["method"]].format(sum(content["explained"])))
    with replace_file(path) as temporary:
        temporary.write_bytes(page)
    return MapReport(len(ids), content["method"], len(page))


def draw_map(
    ids: list[str],
    vectors: np.ndarray,
    *,
    space: Space | None = None,
    method: Method = "auto",
    seed: int = 0,
    metadata: pa.Table | None = None,
    tags: TagStrengths | None = None,
    hierarchy: Hierarchy | None = None,
    on_progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Compute the input of ``createMap`` in ``map.js``.

    See `eno.mapping.projection.project` for `method`, `seed` and the exceptions, and
    `eno.mapping.map_content.map_content` for `metadata`, `tags` and `hierarchy`.

    Parameters
    ----------
    ids : list of str
        Track ids.
    vectors : np.ndarray [shape=(n, dim) or (n, layers, dim)]
        Raw vectors of the tracks, from `eno.embeddings.store.embedding_store.EmbeddingStore.matrix`.
    space : Space, optional
        The space in which neighbours are found, for instance that of an index; by default fitted on `vectors`.
    on_progress : callable
        Called with the work done and the total work.
    """
    if len(ids) != len(vectors):
        raise ValueError(f"{len(ids)} ids for {len(vectors)} vectors.")
    places = place_tracks(vectors, space=space, method=method, seed=seed, on_progress=on_progress)
    return places.content(ids, metadata=metadata, tags=tags, hierarchy=hierarchy)


@dataclass(frozen=True, eq=False)
class Places:
    """Where tracks are on a map: their projection, and the rows and cosines of the neighbours that it shows."""

    projection: Projection
    neighbours: tuple[np.ndarray, np.ndarray]

    def content(self, ids: list[str], **options: Any) -> dict[str, Any]:
        """Return the input of ``createMap``; see `eno.mapping.map_content.map_content` for the options."""
        return map_content(ids, self.projection, self.neighbours, **options)


def place_tracks(
    vectors: np.ndarray,
    *,
    space: Space | None = None,
    method: Method = "auto",
    seed: int = 0,
    on_progress: Progress = lambda done, total: None,
) -> Places:
    """Compute the part of a map that depends on vectors only, which takes most of the time; see `draw_map`.

    It stops if `on_progress` raises an exception.
    """
    method = choose_method(method, len(vectors))
    work = len(vectors) * (2 if method == "umap" else 1)  # UMAP's layout takes about as long as finding the neighbours
    cosines, rows = nearest_others(
        (space or Space.fit(vectors, seed=seed)).apply(vectors),
        UMAP_NEIGHBOURS,
        on_progress=lambda done, _total: on_progress(done, work),
    )
    projection = project(
        Space.fit(vectors, method=CENTRE, seed=seed).apply(vectors),
        (rows, cosines),
        method=method,
        seed=seed,
        on_progress=lambda done, total: on_progress(len(vectors) + len(vectors) * done // total, work),
    )
    return Places(projection, (rows[:, :NEIGHBOURS], cosines[:, :NEIGHBOURS]))


def _page(content: dict[str, Any], heading: str, about: str) -> bytes:
    folder = importlib.resources.files("eno.mapping")
    scripts = [folder.joinpath(name).read_text("utf-8") for name in _SCRIPTS]
    # Only these scripts may run, and only audio may be loaded, even if the escaping of names failed.
    allowed = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    page = render(
        "mapping/map.html",
        policy=f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "media-src 'self' file:",
        heading=heading,
        about=about,
        content=content,
        scripts=scripts,
    )
    return page.encode("utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode()


def _audio(roots: AudioRoots, ids: list[str], folder: Path) -> dict[str, Any]:
    root_of = None
    if len(roots.folders) > 1:
        exists = ([printed_file(root, name).exists() for root in roots.folders] for name in ids)
        root_of = pack(np.array([found.index(True) if any(found) else 0 for found in exists], np.int64))
    # The page derives links from ids, except for names with bytes that are not UTF-8.
    odd = {row: audio_address(roots, name, folder) for row, name in enumerate(ids) if "\\x" in name}
    return {"roots": [audio_address(root, "", folder) for root in roots.folders], "root_of": root_of, "odd": odd}
