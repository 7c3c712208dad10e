"""The map of a collection as one HTML file."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eno.files import AudioRoots, printed_file, replace_file
from eno.mapping.map_content import map_content, pack
from eno.mapping.places import Places, Progress, place_tracks
from eno.mapping.projection import Method
from eno.reporting.page import audio_address, render
from eno.similarity.index.space import Space

MAP_SCRIPTS = ("map_tracks.js", "map_paint.js", "map_input.js", "map.js", "map_view.js")
"""The scripts of the map, in the order in which they are loaded; the page of the service also uses them."""

_SCRIPTS = (*MAP_SCRIPTS, "map_page.js")
_AXES = {
    "umap": "Neighbouring tracks sound alike; distances between groups mean little.",
    "pca": "The first two principal components, with {:.0%} of the variance; similar tracks may be far apart.",
}


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
    space: Space | None = None,
    method: Method = "auto",
    seed: int = 0,
    on_progress: Progress = lambda done, total: None,
    **options: Any,
) -> MapReport:
    """Write the map as one HTML file that loads nothing else but audio. The same input yields the same bytes.

    See `eno.mapping.places.place_tracks` for `space`, `method`, `seed`, `on_progress` and the exceptions, and
    `write_places` for the other options.

    Parameters
    ----------
    path : Path
        The HTML file; its folder is created.
    ids : list of str
        Track ids.
    vectors : np.ndarray [shape=(n, dim) or (n, layers, dim)]
        Raw vectors of the tracks, from `eno.embeddings.store.embedding_store.EmbeddingStore.matrix`.
    """
    if len(ids) != len(vectors):
        raise ValueError(f"{len(ids)} ids for {len(vectors)} vectors.")
    places = place_tracks(vectors, space=space, method=method, seed=seed, on_progress=on_progress)
    return write_places(path, ids, places, **options)


def write_places(
    path: Path,
    ids: list[str],
    places: Places,
    *,
    audio_roots: AudioRoots | Path | Sequence[Path] | None = None,
    heading: str = "Map of the collection",
    of: int | None = None,
    **options: Any,
) -> MapReport:
    """Write the map of tracks whose places are known; see `write_map`.

    Parameters
    ----------
    audio_roots : AudioRoots, Path or sequence of Path, optional
        Folders of the tracks. If they are passed, the page plays audio, by links relative to the page.
    of : int, optional
        Number of tracks in the collection, which the page shows if the map has fewer.
    **options
        ``metadata``, ``tags`` and ``hierarchy``, see `eno.mapping.map_content.map_content`.
    """
    content = map_content(ids, places.projection, places.neighbours, **options)
    path.parent.mkdir(parents=True, exist_ok=True)
    if audio_roots is not None:
        content["audio"] = _audio(AudioRoots.of(audio_roots), ids, path.parent)
    page = _page(content, heading, _AXES[content["method"]].format(sum(content["explained"])), of or len(ids))
    with replace_file(path) as temporary:
        temporary.write_bytes(page)
    return MapReport(len(ids), content["method"], len(page))


def _page(content: dict[str, Any], heading: str, about: str, of: int) -> bytes:
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
        of=of,
        scripts=scripts,
    )
    return page.encode("utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode()


def _audio(roots: AudioRoots, ids: list[str], folder: Path) -> dict[str, Any]:
    root_of = None
    if len(roots.folders) > 1:
        exists = ([printed_file(root, roots.file_name(name)).exists() for root in roots.folders] for name in ids)
        root_of = pack(np.array([found.index(True) if any(found) else 0 for found in exists], np.int64))
    # The page derives links from ids, except for names with bytes that are not UTF-8 and sections of files.
    odd = {
        row: audio_address(roots, name, folder)
        for row, name in enumerate(ids)
        if "\\x" in name or name in roots.sections
    }
    return {"roots": [audio_address(root, "", folder) for root in roots.folders], "root_of": root_of, "odd": odd}
