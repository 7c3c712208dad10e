"""Metadata of tracks: artist, album, title, tags, duration. `eno.similarity.joined_metadata` says where it is from."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.families import lists_of
from eno.data.layout import DataRoot
from eno.data.lute.albums import FAMILY_LABELS
from eno.data.names import name_key
from eno.errors import SimilarityError
from eno.similarity.columns import flat, mapped
from eno.similarity.groups import Groups

_SUGGESTIONS = 5


class TrackMetadata:
    """Metadata of tracks, one row per track. Use `read`, or `eno.similarity.kept_metadata.metadata_of` for an index.

    Parameters
    ----------
    artists, albums : Groups, optional
        The groups of `table`, if they are known already.

    Attributes
    ----------
    table : pa.Table
        ``track_id``, ``path`` (the same), ``folder``, ``title``, ``artist`` (as shown), ``artists`` (each of them),
        ``album``, ``album_id``, ``year``, ``genres``, ``descriptors``, ``family_labels`` (see
        `eno.data.lute.albums.FAMILY_LABELS`), ``duration_s``, ``codec`` and the other columns
        of the tables; null if unknown. "Various Artists" is not an artist: the track's own artist is used instead.
    """

    def __init__(self, table: pa.Table, artists: Groups | None = None, albums: Groups | None = None) -> None:
        self.table = table
        self._ids: pa.Array = flat(table["track_id"])
        self._artists, self._albums = artists, albums
        self._by_key: dict[str, dict[str, list[str]]] = {}

    @classmethod
    def read(cls, track_ids: Sequence[str] | np.ndarray | pa.Array, root: DataRoot | None = None) -> TrackMetadata:
        """Join what a collection's tables hold about some (distinct) tracks. Missing tables are skipped."""
        from eno.similarity.joined_metadata import join_tables

        ids = pa.array(track_ids, pa.string()) if not isinstance(track_ids, pa.Array) else track_ids
        return cls(join_tables(ids, root))

    def __len__(self) -> int:
        return len(self.table)

    def rows_of(self, track_ids: Sequence[str] | np.ndarray | pa.Array) -> np.ndarray:
        """Return the rows of tracks, -1 for unknown ones [shape=(n,), dtype=int64]."""
        ids = track_ids if isinstance(track_ids, pa.Array) else pa.array(track_ids, pa.string())
        if ids.equals(self._ids):  # a fraction of the time of looking up each
            return np.arange(len(ids))
        rows: np.ndarray = pc.fill_null(pc.index_in(ids, value_set=self._ids), -1).to_numpy().astype(np.int64)
        return rows

    def row(self, row: int) -> dict[str, Any]:
        """Return one row of the table; nothing for row -1."""
        values: dict[str, Any] = self.table.slice(row, 1).to_pylist()[0] if row >= 0 else {}
        return values

    def tags(self, row: int) -> list[str]:
        """Return the genres, descriptors and labels of other families of a row."""
        others = self.table[FAMILY_LABELS.name][row].as_py() or ()
        return [
            *(self.table["genres"][row].as_py() or ()),
            *(self.table["descriptors"][row].as_py() or ()),
            *(one["label"] for one in others),
        ]

    @property
    def artists(self) -> Groups:
        """Tracks grouped by artist, regardless of spelling. A track may have several artists."""
        if self._artists is None:
            self._artists = Groups.of_lists(_keyed(self.table["artists"], name_key))
        return self._artists

    @property
    def albums(self) -> Groups:
        """Tracks grouped by album."""
        if self._albums is None:
            self._albums = Groups.of_values(self.table["album_id"])
        return self._albums

    def spellings(self, column: str, name: str) -> list[str]:
        """Return the values of a column (of strings or lists) that equal a name, ignoring case and accents.

        Raises a SimilarityError with similar names if there are none.
        """
        if column not in self._by_key:
            self._by_key[column] = _spellings(self.table[column])
        return _spelled(self._by_key[column], column.replace("_", " ").removesuffix(" id").removesuffix("s"), name)

    def label_spellings(self, family: str, name: str) -> list[str]:
        """Do the same as `spellings` for the labels of another family than genres and descriptors."""
        if (key := f"labels of {family}") not in self._by_key:
            self._by_key[key] = _spellings(pa.chunked_array([lists_of(self.table, family)]))
        return _spelled(self._by_key[key], f"{family} label", name)


def _spelled(known: dict[str, list[str]], kind: str, name: str) -> list[str]:
    if not (found := known.get(name_key(name))):
        if not known:
            raise SimilarityError(
                f"The {kind} of the tracks is unknown. Run 'eno import', 'eno scan' and 'eno match' to create the "
                "catalogue, or specify its folder with --data-root."
            )
        close = difflib.get_close_matches(name_key(name), known, n=_SUGGESTIONS, cutoff=0.5)
        hint = f" Similar names: {', '.join(known[one][0] for one in close)}." if close else ""
        raise SimilarityError(f"No track has the {kind} {name!r}.{hint}")
    return found


def _spellings(values: pa.ChunkedArray) -> dict[str, list[str]]:
    """Map the key of each name to its spellings in a column."""
    if pa.types.is_list(values.type):
        values = pc.list_flatten(values)
    found: dict[str, list[str]] = {}
    for value in pc.unique(values).to_pylist():
        if value:
            found.setdefault(name_key(value), []).append(value)
    return found


def _keyed(lists: pa.ChunkedArray, key: Callable[[str], str]) -> pa.ListArray:
    lists = flat(lists)
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, mapped(lists.flatten(), key))
