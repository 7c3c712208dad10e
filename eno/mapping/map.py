"""The map of a collection: one HTML file in which every track is a point, and neighbours sound alike."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from eno.data.labels.hierarchy import Hierarchy
from eno.errors import SimilarityError
from eno.files import replace_file
from eno.mapping.map_content import TagStrengths, map_content
from eno.mapping.projection import UMAP_NEIGHBOURS, Method, project
from eno.reporting.page import audio_address, render
from eno.similarity.index.space import CENTRE, Space
from eno.similarity.index.vector_file import nearest_others

NEIGHBOURS = 8
"""How many neighbours of a track the map shows."""

MAP_SCRIPTS = ("map_tracks.js", "map_paint.js", "map_input.js", "map.js", "map_view.js")
"""The scripts of the map, in this order; the page of the service uses them too."""

_SCRIPTS = (*MAP_SCRIPTS, "map_page.js")
_AXES = {
    "umap": "Tracks that stand close sound alike; how far groups are from each other says little.",
    "pca": "Along the first two principal components, with {:.0%} of the variance; neighbours may stand apart.",
}


@dataclass(frozen=True)
class MapReport:
    """What was drawn.

    Attributes
    ----------
    tracks : int
    method : str
        ``"pca"`` or ``"umap"``.
    size : int
        Bytes of the file.
    """

    tracks: int
    method: str
    size: int


def write_map(
    path: Path,
    ids: list[str],
    vectors: np.ndarray,
    *,
    space: Space | None = None,
    method: Method = "auto",
    seed: int = 0,
    facts: pa.Table | None = None,
    tags: TagStrengths | None = None,
    hierarchy: Hierarchy | None = None,
    audio_root: Path | None = None,
    heading: str = "Map of the collection",
) -> MapReport:
    """Draw the map.

    Parameters
    ----------
    path : Path
        The HTML file; its folder is made. It holds all that it needs, and the same input gives the same bytes.
    ids : list of str
        Tracks.
    vectors : np.ndarray [shape=(n, dim) or (n, layers, dim)]
        Raw vectors of the tracks, as `eno.embeddings.store.embedding_store.EmbeddingStore.matrix` gives them.
    space : Space, optional
        Where neighbours are found, for instance that of an index; by default one that is fitted on the vectors.
    method, seed
        See `eno.mapping.projection.project`.
    facts, tags, hierarchy
        What is known of the tracks, see `eno.mapping.map_content.map_content`.
    audio_root : Path, optional
        Folder that the ids are relative to. With it tracks can be listened to, as long as both places stay where they
        are to each other.
    heading : str
        Title of the page.

    Raises
    ------
    SimilarityError
        There are no tracks, or too few for UMAP.
    MissingExtra
        UMAP is asked for and not installed.
    ValueError
        `ids` and `vectors` are not of the same length.
    """
    content = draw_map(ids, vectors, space=space, method=method, seed=seed, facts=facts, tags=tags, hierarchy=hierarchy)
    path.parent.mkdir(parents=True, exist_ok=True)
    if audio_root is not None:
        content["audio"] = _audio(audio_root, ids, path.parent)
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
    facts: pa.Table | None = None,
    tags: TagStrengths | None = None,
    hierarchy: Hierarchy | None = None,
) -> dict[str, Any]:
    """Lay the tracks out, as `write_map` does; give what a page shows with ``createMap``.

    Raises
    ------
    SimilarityError
        There are no tracks, or too few for UMAP.
    MissingExtra
        UMAP is asked for and not installed.
    ValueError
        `ids` and `vectors` are not of the same length.
    """
    if len(ids) != len(vectors):
        raise ValueError(f"{len(ids)} ids for {len(vectors)} vectors.")
    if not ids:
        raise SimilarityError("There are no tracks to draw a map of.")
    cosines, rows = nearest_others((space or Space.fit(vectors, seed=seed)).apply(vectors), UMAP_NEIGHBOURS)
    plain = Space.fit(vectors, method=CENTRE, seed=seed).apply(vectors)
    projection = project(plain, (rows, cosines), method=method, seed=seed)
    shown = rows[:, :NEIGHBOURS], cosines[:, :NEIGHBOURS]
    return map_content(ids, projection, shown, facts=facts, tags=tags, hierarchy=hierarchy)


def _page(content: dict[str, Any], heading: str, about: str) -> bytes:
    folder = importlib.resources.files("eno.mapping")
    scripts = [folder.joinpath(name).read_text("utf-8") for name in _SCRIPTS]
    # Only these scripts may run, and only audio may be loaded: whatever a name holds, it stays text.
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


def _audio(audio_root: Path, ids: list[str], folder: Path) -> dict[str, Any]:
    # A page puts addresses together from ids, but cannot know how odd bytes of a name are spelled on disk.
    odd = {row: audio_address(audio_root, name, folder) for row, name in enumerate(ids) if "\\x" in name}
    return {"root": audio_address(audio_root, "", folder), "odd": odd}
