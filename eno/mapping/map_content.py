"""The data of a map, packed so that one page can show hundreds of thousands of tracks."""

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

from eno.data.families import by_family
from eno.data.labels.hierarchy import Hierarchy
from eno.data.lute.albums import FAMILY_LABELS
from eno.files import printable
from eno.mapping.projection import Projection

FORMAT = 1
"""Version of the content, increased if older scripts cannot show it."""

_STEPS = 65_535  # coordinates have two bytes, which is finer than a screen
_FULL, _WORTH_SHOWING = 255, 0.05
_AT_ONCE = 10_000  # tracks whose probabilities are compared
_FAMILIES = {"genres": "genre", "descriptors": "descriptor"}


@dataclass(frozen=True)
class TagStrengths:
    """Predicted tags of tracks: probabilities [shape=(n, labels)], and thresholds [shape=(labels,)]."""

    labels: Sequence[str]
    families: Sequence[str]  # of each label
    probabilities: np.ndarray
    thresholds: np.ndarray


def halved(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Round probabilities [shape=(n, labels)] to half precision, none of them across its threshold."""
    rounded = probabilities.astype(np.float16)
    above = probabilities > thresholds
    towards = np.where(above, np.float16(np.inf), np.float16(-np.inf))
    moved: np.ndarray = np.where((rounded > thresholds) == above, rounded, np.nextafter(rounded, towards))
    return moved


def map_content(
    ids: Sequence[str],
    projection: Projection,
    neighbours: tuple[np.ndarray, np.ndarray],
    *,
    metadata: pa.Table | None = None,
    tags: TagStrengths | None = None,
    hierarchy: Hierarchy | None = None,
) -> dict[str, Any]:
    """Collect the content of the page, ready for JSON.

    Parameters
    ----------
    neighbours : tuple of np.ndarray [shape=(n, k)]
        Rows and cosine similarities of the nearest tracks.
    metadata : pyarrow.Table, optional
        ``track_id`` and any of ``title``, ``artist``, ``album``, ``year``, ``genres``, ``descriptors`` and
        ``family_labels``; unordered.
    tags : TagStrengths, optional
        Predicted tags in the order of `ids`, shown instead of those in `metadata`.
    hierarchy : Hierarchy, optional
        Genres are coloured by their top-level parents.

    Returns
    -------
    dict
        Arrays are packed by `pack`. ``columns`` have one code per track, 0 for none. The ``tags`` of track i are at
        ``starts[i]`` to ``starts[i + 1]``, with strengths from 0 to 255.
    """
    known = _Metadata(ids, metadata)
    folders, files = zip(*(name.rpartition("/")[::2] for name in map(printable, ids)), strict=True)
    labelled = _Tags.from_metadata(known) if tags is None else _Tags.from_predictor(tags)
    genres = [_top(names[0], hierarchy) if names else None for names in known.lists("genres")]
    if tags is not None and not any(genres):
        genres = _most_probable_genre(tags, hierarchy)
    albums = known.texts("album")
    columns = {"genre": genres, "artist": known.texts("artist")}
    columns |= {"album": albums if any(albums) else [folder.rpartition("/")[2] or None for folder in folders]}
    rows, cosines = neighbours
    return {
        "format": FORMAT,
        "count": len(ids),
        "method": projection.method,
        "explained": [round(share, 4) for share in projection.explained],
        **dict(zip("xy", map(pack, quantised(projection.coordinates).T), strict=True)),
        "neighbours": {
            "k": rows.shape[1],
            "rows": pack(rows.ravel()),
            "percent": pack(np.clip(np.rint(cosines * 100), 0, 100).astype(np.int64).ravel()),
        },
        "folder": _column(folders),
        "files": files,
        # The page falls back to the file's name.
        "titles": [
            "" if title == PurePosixPath(file).stem else title or ""
            for title, file in zip(known.texts("title"), files, strict=True)
        ],
        "years": pack(np.array([min(max(year or 0, 0), 9999) for year in known.values("year")])),
        "columns": {name: _column(values) for name, values in columns.items() if any(values)},
        "tags": labelled.packed(),
    }


class _Metadata:
    """Metadata in the order of the tracks; null where it is missing."""

    def __init__(self, ids: Sequence[str], metadata: pa.Table | None) -> None:
        self._count = len(ids)
        self._table = None
        if metadata is not None:
            known = metadata["track_id"].cast(pa.string()).combine_chunks()
            self._table = metadata.take(pc.index_in(pa.array(ids, pa.string()), value_set=known))

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
    """The tags of all tracks, as concatenated lists."""

    names: list[str]
    families: list[str]
    thresholds: list[int]
    counts: np.ndarray
    codes: np.ndarray
    strengths: np.ndarray | None

    @classmethod
    def from_metadata(cls, known: _Metadata) -> _Tags:
        names: dict[tuple[str, str], int] = {}
        codes, counts = [], np.zeros(known._count, np.int64)
        columns = {family: known.lists(column) for column, family in _FAMILIES.items()}
        others = [
            {printable(family): list(map(printable, labels)) for family, labels in by_family(entries).items()}
            for entries in known.values(FAMILY_LABELS.name)
        ]
        for i in range(known._count):
            named = {family: lists[i] for family, lists in columns.items()} | others[i]
            own = dict.fromkeys((family, one) for family, labels in named.items() for one in labels)
            counts[i] = len(own)
            codes += [names.setdefault(key, len(names)) for key in own]
        families = [family for family, _ in names]
        return cls([name for _, name in names], families, [0] * len(names), counts, np.array(codes, np.int64), None)

    @classmethod
    def from_predictor(cls, tags: TagStrengths) -> _Tags:
        # Rounding must not move a probability across its threshold.
        thresholds = np.minimum(np.floor(tags.thresholds * _FULL), _FULL - 1).astype(np.int64)
        counts, codes, strengths = [], [], []
        for first in range(0, len(tags.probabilities), _AT_ONCE):
            own = tags.probabilities[first : first + _AT_ONCE].astype(np.float32)
            named = own > tags.thresholds
            rows, labels = np.nonzero(named | (own >= _WORTH_SHOWING))
            rounded = np.rint(own[rows, labels] * _FULL).astype(np.int64)
            above, limits = named[rows, labels], thresholds[labels]
            rounded = np.where(above, np.maximum(rounded, limits + 1), np.minimum(rounded, limits))
            order = np.lexsort((-rounded, rows))  # the most probable first
            counts.append(np.bincount(rows, minlength=len(own)))
            codes.append(labels[order].astype(np.int32))
            strengths.append(rounded[order].astype(np.uint8))
        return cls(
            [printable(label) for label in tags.labels],
            list(tags.families),
            thresholds.tolist(),
            np.concatenate(counts),
            np.concatenate(codes),
            np.concatenate(strengths),
        )

    def packed(self) -> dict[str, Any]:
        return {
            "names": self.names,
            "families": self.families,
            "thresholds": self.thresholds,
            "starts": pack(np.concatenate([[0], np.cumsum(self.counts)])),
            "codes": pack(self.codes),
            "strengths": None if self.strengths is None else pack(self.strengths),
        }


def _most_probable_genre(tags: TagStrengths, hierarchy: Hierarchy | None) -> list[str | None]:
    genres = np.flatnonzero(np.asarray(tags.families) == "genre")
    if len(genres) == 0:
        return [None] * len(tags.probabilities)
    blocks = range(0, len(tags.probabilities), _AT_ONCE)
    best = np.concatenate([tags.probabilities[at : at + _AT_ONCE, genres].argmax(axis=1) for at in blocks])
    best = genres[best]
    return [_top(printable(tags.labels[label]), hierarchy) for label in best]


def _top(genre: str, hierarchy: Hierarchy | None) -> str:
    """Follow the first parents up to the top."""
    while hierarchy is not None and (parents := hierarchy.parents(genre)):
        genre = parents[0]
    return genre


def _column(values: Sequence[str | None]) -> dict[str, Any]:
    """Return distinct values, the most frequent first, and the code of each track: 1 for the first one, 0 for None."""
    counts = Counter(value for value in values if value is not None)
    names = sorted(counts, key=lambda name: (-counts[name], name))
    code_of = {None: 0} | {name: code for code, name in enumerate(names, 1)}
    return {"names": names, "codes": pack(np.array([code_of[value] for value in values], np.int64))}


def quantised(coordinates: np.ndarray) -> np.ndarray:
    """Return coordinates as integers from 0 to 65535, the centre of the map in their middle [same shape]."""
    low, high = coordinates.min(axis=0).astype(np.float64), coordinates.max(axis=0).astype(np.float64)
    extent = float((high - low).max()) or 1.0
    return np.asarray(np.rint(((coordinates - (low + high) / 2) / extent + 0.5) * _STEPS), np.int64)


def pack(values: np.ndarray) -> dict[str, str]:
    """Pack non-negative integers as base64, little-endian, in the smallest type that can represent the largest."""
    bits = next(bits for bits in (8, 16, 32) if values.max(initial=0) < 2**bits)
    return {"type": f"u{bits}", "data": base64.b64encode(values.astype(f"<u{bits // 8}").tobytes()).decode()}
