"""A drawn map: its points for the page, and what the page asks for about some of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.families import family_entries
from eno.data.lute.albums import FAMILY_LABELS
from eno.mapping.map_content import pack
from eno.mapping.map_points import map_points
from eno.mapping.places import Places
from eno.serving.cacheable import Cacheable
from eno.serving.snapshot import Snapshot

_FULL = 255
_COLUMNS = {"genre": "genres", "descriptor": "descriptors"}


class DrawnMap:
    """The map of a snapshot.

    Parameters
    ----------
    rows : np.ndarray [shape=(n,), dtype=int64]
        Row in the index of each point.
    of : int
        Number of tracks that could be shown.

    Attributes
    ----------
    answer : Cacheable
        The points, as JSON.
    version : str
        Changes with the points and their colours, so that nobody asks for the points of another map.
    """

    def __init__(self, snapshot: Snapshot, places: Places, rows: np.ndarray, *, of: int) -> None:
        assert snapshot.sounds is not None and snapshot.catalogue is not None
        self._tracks, self._catalogue, self._predictor = snapshot.sounds.tracks, snapshot.catalogue, snapshot.predictor
        self._rows, self._neighbours = rows, places.neighbours
        self._tags = self._names()
        content = map_points(places.projection, self._columns())
        names, families = [name for _, name in self._tags], [family for family, _ in self._tags]
        content |= {"of": of, "tags": {"names": names, "families": families, "graded": self._graded}}
        table = self._tracks.tags
        digest = hashlib.sha256(json.dumps([content, None if table is None else table.key]).encode())
        digest.update(rows.data)
        self.version = digest.hexdigest()[:16]
        text = json.dumps(content | {"version": self.version}, ensure_ascii=False, separators=(",", ":"))
        self.answer = Cacheable.of(text.encode("utf-8", "backslashreplace"))
        self.strengths = lru_cache(maxsize=32)(self._strengths)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def tags(self) -> int:
        """Number of tags that points can be coloured by."""
        return len(self._tags)

    @property
    def _graded(self) -> bool:
        return self._tracks.tags is not None and self._predictor is not None

    def _names(self) -> list[tuple[str, str]]:
        if self._graded:
            assert self._predictor is not None
            labels = self._predictor.labels
            return list(zip(labels.families, labels.all_labels, strict=True))
        return sorted(self._catalogue.known_tags)

    def _columns(self) -> dict[str, pa.Array]:
        known = self._tracks.metadata_rows[self._rows]
        table = self._tracks.metadata.table
        columns = {name: _taken(table[name], known) for name in ("artist", "album")}
        genres = _first(_taken(table["genres"], known))
        if self._graded and genres.null_count == len(genres):
            genres = self._most_probable_genre()
        empty = {"genre": genres} | columns
        return {name: pc.if_else(pc.equal(values, ""), None, values) for name, values in empty.items()}

    def _most_probable_genre(self) -> pa.Array:
        table, places = self._tracks.tags, self._tracks.tag_rows[self._rows]
        assert table is not None
        best, found = np.zeros(len(places), np.float16), np.full(len(places), -1)
        for code, (family, _) in enumerate(self._tags):
            if family == "genre":
                own = np.asarray(table.probabilities[code])[places]
                better = own > best
                best[better], found[better] = own[better], code
                table.forget()
        found[places < 0] = -1
        return pa.array([name for _, name in self._tags], pa.string()).take(pa.array(found, mask=found < 0))

    def _strengths(self, code: int) -> Cacheable:
        """Return the probability of a tag for every point, from 0 to 255, as JSON."""
        family, name = self._tags[code]
        if self._graded:
            assert self._tracks.tags is not None
            places = self._tracks.tag_rows[self._rows]
            probabilities = np.asarray(self._tracks.tags.probabilities[code])[places].astype(np.float32)
            values = np.where(places < 0, 0, np.rint(probabilities * _FULL))
        else:
            values = np.zeros(len(self))
            values[self._points_with(family, name)] = _FULL
        return Cacheable.of(json.dumps(pack(values.astype(np.int64))).encode())

    def _points_with(self, family: str, name: str) -> np.ndarray:
        """Return the points with a tag of the catalogue."""
        column = _COLUMNS.get(family, FAMILY_LABELS.name)
        lists = _taken(self._tracks.metadata.table[column], self._tracks.metadata_rows[self._rows])
        if family in _COLUMNS:
            points, named = pc.list_parent_indices(lists).to_numpy(), pc.equal(pc.list_flatten(lists), name)
        else:
            points, entries = family_entries(lists)
            named = pc.and_(pc.equal(entries.field("family"), family), pc.equal(entries.field("label"), name))
        found: np.ndarray = points[pc.fill_null(named, False).to_numpy(zero_copy_only=False)]
        return found

    def track(self, row: int) -> dict[str, Any]:
        """Return what the map shows of a point."""
        at = int(self._rows[row])
        rows, cosines = (of_all[row].tolist() for of_all in self._neighbours)
        detail = self._catalogue.detail(at)
        others = [name for labels in detail["others"].values() for name in labels]
        tags = [*detail["genres"], *detail["descriptors"], *others]
        if self._graded:
            tags = [one.tag for one in self._catalogue.predicted(at) if one.probability > one.threshold]
        neighbours = [{"row": other, "score": round(cosine, 2)} for other, cosine in zip(rows, cosines, strict=True)]
        return {"row": row, **self._catalogue.summary(at), "tags": tags, "neighbours": neighbours}

    def rows_of(self, track_ids: Sequence[str]) -> list[int | None]:
        """Return the points of tracks; None for those that the map does not show."""
        index = self._tracks.index
        wanted = pa.array([one.encode("utf-8", "replace").decode() for one in track_ids], pa.string())
        asked = pc.index_in(index.distinct_ids, value_set=pc.unique(wanted)).take(pa.array(index.codes[self._rows]))
        points = np.flatnonzero(asked.is_valid().to_numpy(zero_copy_only=False))
        found = {index.track_id(int(self._rows[point])): point for point in points.tolist()}
        return [found.get(one) for one in wanted.to_pylist()]


def _taken(column: pa.ChunkedArray, rows: np.ndarray) -> pa.Array:
    taken = column.take(pa.array(rows, mask=rows < 0))
    return taken.combine_chunks() if isinstance(taken, pa.ChunkedArray) else taken


def _first(lists: pa.ListArray) -> pa.Array:
    """Return the first value of each list; null for an empty one."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    starts = np.cumsum(lengths) - lengths
    values: pa.Array = pc.list_flatten(lists).take(pa.array(starts, mask=lengths == 0))
    return values
