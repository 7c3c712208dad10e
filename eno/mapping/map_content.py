"""What a map knows of its tracks, packed so that a page can hold tens of thousands of them."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.labels.hierarchy import Hierarchy
from eno.files import printable
from eno.mapping.projection import Projection

FORMAT = 1
"""Goes up when a page of the old kind could not show the new content."""

_STEPS = 65_535  # a coordinate takes two bytes; a screen has fewer points
_FULL, _WORTH_SHOWING = 255, 0.05
_FAMILIES = {"genres": "genre", "descriptors": "descriptor"}


@dataclass(frozen=True)
class TagStrengths:
    """Tags that a predictor names.

    Attributes
    ----------
    labels : sequence of str
        The tags.
    families : sequence of str
        ``"genre"`` or ``"descriptor"`` of each.
    probabilities : np.ndarray [shape=(n, labels)]
        Of each track.
    thresholds : np.ndarray [shape=(labels,)]
        Above which a tag is a track's.
    """

    labels: Sequence[str]
    families: Sequence[str]
    probabilities: np.ndarray
    thresholds: np.ndarray


def map_content(
    ids: Sequence[str],
    projection: Projection,
    neighbours: tuple[np.ndarray, np.ndarray],
    *,
    facts: pa.Table | None = None,
    tags: TagStrengths | None = None,
    hierarchy: Hierarchy | None = None,
) -> dict[str, Any]:
    """Gather what the page shows, as JSON takes it.

    Parameters
    ----------
    ids : sequence of str [shape=(n,)]
        Tracks.
    projection : Projection
        Where they stand.
    neighbours : tuple of np.ndarray [shape=(n, k)]
        Rows and similarities, as `eno.mapping.projection.nearest` gives them.
    facts : pyarrow.Table, optional
        What is known of tracks, by ``track_id``: any of ``title``, ``artist``, ``album``, ``year``, ``genres`` and
        ``descriptors``.
    tags : TagStrengths, optional
        What a predictor says of them, in the order of the ids.
    hierarchy : Hierarchy, optional
        Colours go by its top genres.

    Returns
    -------
    dict
        Arrays are ``{"type", "data"}``: little-endian integers in base64. ``columns`` hold one value a track, 0 for
        none; ``tags`` those of track i from ``starts[i]`` to ``starts[i + 1]``, with strengths of 255 if certain.
    """
    known = _Facts(ids, facts)
    folders, files = zip(*(name.rpartition("/")[::2] for name in map(printable, ids)), strict=True)
    labelled = _Tags.of_facts(known) if tags is None else _Tags.of_predictor(tags)
    genres = [_top(names[0], hierarchy) if names else None for names in known.lists("genres")]
    if tags is not None and not any(genres):
        genres = _likeliest(tags, hierarchy)
    albums = known.texts("album")
    columns = {"genre": genres, "artist": known.texts("artist")}
    columns |= {"album": albums if any(albums) else [folder.rpartition("/")[2] or None for folder in folders]}
    rows, cosines = neighbours
    return {
        "format": FORMAT,
        "count": len(ids),
        "method": projection.method,
        "explained": [round(share, 4) for share in projection.explained],
        **dict(zip("xy", map(_packed, _quantised(projection.coordinates).T), strict=True)),
        "neighbours": {
            "k": rows.shape[1],
            "rows": _packed(rows.ravel()),
            "percent": _packed(np.clip(np.rint(cosines * 100), 0, 100).astype(np.int64).ravel()),
        },
        "folder": _column(folders),
        "files": files,
        # A page takes the file's name where there is no title.
        "titles": [
            "" if title == PurePosixPath(file).stem else title or ""
            for title, file in zip(known.texts("title"), files, strict=True)
        ],
        "years": _packed(np.array([min(max(year or 0, 0), 9999) for year in known.values("year")])),
        "columns": {name: _column(values) for name, values in columns.items() if any(values)},
        "tags": labelled.packed(),
    }


class _Facts:
    """Rows of facts in the order of the tracks, null where there are none."""

    def __init__(self, ids: Sequence[str], facts: pa.Table | None) -> None:
        self._count = len(ids)
        self._table = None
        if facts is not None:
            self._table = facts.take(pc.index_in(pa.array(ids, pa.string()), value_set=_chunk(facts["track_id"])))

    def values(self, name: str) -> list[Any]:
        if self._table is None or name not in self._table.column_names:
            return [None] * self._count
        values: list[Any] = self._table[name].to_pylist()
        return values

    def texts(self, name: str) -> list[str | None]:
        return [printable(value) if value else None for value in self.values(name)]

    def lists(self, name: str) -> list[list[str]]:
        return [[printable(one) for one in value or () if one] for value in self.values(name)]


@dataclass(frozen=True)
class _Tags:
    """Which tags tracks have: lists one behind the other."""

    names: list[str]
    families: list[str]
    thresholds: list[int]
    counts: np.ndarray
    codes: np.ndarray
    strengths: np.ndarray | None

    @classmethod
    def of_facts(cls, known: _Facts) -> _Tags:
        names: dict[tuple[str, str], int] = {}
        codes, counts = [], np.zeros(known._count, np.int64)
        columns = {family: known.lists(column) for column, family in _FAMILIES.items()}
        for i in range(known._count):
            own = dict.fromkeys((family, one) for family, lists in columns.items() for one in lists[i])
            counts[i] = len(own)
            codes += [names.setdefault(key, len(names)) for key in own]
        families = [family for family, _ in names]
        return cls([name for _, name in names], families, [0] * len(names), counts, np.array(codes, np.int64), None)

    @classmethod
    def of_predictor(cls, tags: TagStrengths) -> _Tags:
        named = tags.probabilities > tags.thresholds
        shown = named | (tags.probabilities >= _WORTH_SHOWING)
        rows, codes = np.nonzero(shown)
        # What is above the threshold stays above it when both are rounded.
        thresholds = np.minimum(np.floor(tags.thresholds * _FULL), _FULL - 1).astype(np.int64)
        strengths = np.rint(tags.probabilities[rows, codes] * _FULL).astype(np.int64)
        above = named[rows, codes]
        strengths = np.where(
            above, np.maximum(strengths, thresholds[codes] + 1), np.minimum(strengths, thresholds[codes])
        )
        order = np.lexsort((-strengths, rows))  # the likeliest first
        return cls(
            [printable(label) for label in tags.labels],
            list(tags.families),
            thresholds.tolist(),
            np.bincount(rows, minlength=len(shown)),
            codes[order],
            strengths[order],
        )

    def packed(self) -> dict[str, Any]:
        return {
            "names": self.names,
            "families": self.families,
            "thresholds": self.thresholds,
            "starts": _packed(np.concatenate([[0], np.cumsum(self.counts)])),
            "codes": _packed(self.codes),
            "strengths": None if self.strengths is None else _packed(self.strengths),
        }


def _likeliest(tags: TagStrengths, hierarchy: Hierarchy | None) -> list[str | None]:
    genres = np.flatnonzero(np.asarray(tags.families) == "genre")
    if len(genres) == 0:
        return [None] * len(tags.probabilities)
    best = genres[tags.probabilities[:, genres].argmax(axis=1)]
    return [_top(printable(tags.labels[label]), hierarchy) for label in best]


def _top(genre: str, hierarchy: Hierarchy | None) -> str:
    """Climb from parent to parent, by the first of several."""
    while hierarchy is not None and (parents := hierarchy.parents(genre)):
        genre = parents[0]
    return genre


def _column(values: Sequence[str | None]) -> dict[str, Any]:
    """Name each value once, the most frequent first; a track's code is its place from 1 on, 0 stands for none."""
    counts = Counter(value for value in values if value is not None)
    names = sorted(counts, key=lambda name: (-counts[name], name))
    places = {name: place for place, name in enumerate(names, 1)}
    codes = np.array([0 if value is None else places[value] for value in values], np.int64)
    return {"names": names, "codes": _packed(codes)}


def _quantised(coordinates: np.ndarray) -> np.ndarray:
    low, high = coordinates.min(axis=0).astype(np.float64), coordinates.max(axis=0).astype(np.float64)
    extent = float((high - low).max()) or 1.0
    centred = (coordinates - (low + high) / 2) / extent + 0.5
    quantised: np.ndarray = np.rint(centred * _STEPS).astype(np.int64)
    return quantised


def _packed(values: np.ndarray) -> dict[str, str]:
    """Keep whole numbers from 0 on in as few bytes as hold the largest."""
    bits = next(bits for bits in (8, 16, 32) if values.max(initial=0) < 2**bits)
    return {"type": f"u{bits}", "data": base64.b64encode(values.astype(f"<u{bits // 8}").tobytes()).decode()}


def _chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.cast(pa.string()).combine_chunks()
