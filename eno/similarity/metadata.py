"""Metadata of tracks: artist, album, title, tags, duration.

Joins the tables ``tracks.parquet``, ``matches.parquet`` and ``albums.parquet`` of a collection. Genres and descriptors
are those of the album that a track was matched to. Without a catalogue, a folder counts as an album and artists are
unknown: a program cannot tell what the name of the folder above an album means.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.layout import DataRoot
from eno.data.library.scanning import TRACK_SCHEMA, read_tracks
from eno.data.lute.albums import ALBUM_SCHEMA, read_albums, release_years
from eno.data.matching.artists import is_nobody, main_artist
from eno.data.matching.file_names import album_folder
from eno.data.matching.matcher import MATCH_SCHEMA, read_matches
from eno.data.names import name_key
from eno.errors import SimilarityError
from eno.similarity.groups import Groups

_FOLDER_TRACKS = 100  # an untagged folder with more tracks is a pile of files, not an album
_SUGGESTIONS = 5
_FROM_TRACKS = ("duration_s", "track_number", "disc_number", "sample_rate", "channels", "container", "codec", "size")
_DERIVED = _GENRES, _CREDITED, _RELEASED = "all_genres", "credited_artists", "released"
_FROM_ALBUMS = ("primary_genres", "secondary_genres", "descriptors", "languages", "release_date", "rating")


class TrackMetadata:
    """Metadata of tracks, one row per track. Use `read`.

    Attributes
    ----------
    table : pa.Table
        ``track_id``, ``path`` (the same), ``folder``, ``title``, ``artist`` (as shown), ``artists`` (each of them),
        ``album``, ``album_id``, ``year``, ``genres``, ``descriptors``, ``duration_s``, ``codec`` and the other columns
        of the tables; null if unknown. "Various Artists" is not an artist: the track's own artist is used instead.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self._ids: pa.Array = table["track_id"].combine_chunks()
        self._by_key: dict[str, dict[str, list[str]]] = {}

    @classmethod
    def read(cls, track_ids: Sequence[str] | np.ndarray | pa.Array, root: DataRoot | None = None) -> TrackMetadata:
        """Join what a collection's tables hold about some (distinct) tracks. Missing tables are skipped."""
        ids = pa.array(track_ids, pa.string()) if not isinstance(track_ids, pa.Array) else track_ids
        tracks, matches, albums = _tables(root)
        of_track = _look_up(ids, tracks, "track_id")
        of_match = _look_up(ids, matches.filter(pc.equal(matches["decision"], "matched")), "track_id")
        used = pc.is_in(albums["file_name"], of_match["file_name"].combine_chunks())
        of_album = _look_up(of_match["file_name"].combine_chunks(), _with_derived(albums.filter(used)), "file_name")
        return cls(_joined(ids, of_track, of_album))

    def __len__(self) -> int:
        return len(self.table)

    def rows_of(self, track_ids: Sequence[str] | np.ndarray | pa.Array) -> np.ndarray:
        """Return the rows of tracks, -1 for unknown ones [shape=(n,), dtype=int64]."""
        ids = track_ids if isinstance(track_ids, pa.Array) else pa.array(track_ids, pa.string())
        rows: np.ndarray = pc.fill_null(pc.index_in(ids, value_set=self._ids), -1).to_numpy().astype(np.int64)
        return rows

    def row(self, row: int) -> dict[str, Any]:
        """Return one row of the table; nothing for row -1."""
        values: dict[str, Any] = self.table.slice(row, 1).to_pylist()[0] if row >= 0 else {}
        return values

    def tags(self, row: int) -> list[str]:
        """Return the genres and descriptors of a row."""
        return [*(self.table["genres"][row].as_py() or ()), *(self.table["descriptors"][row].as_py() or ())]

    @cached_property
    def artists(self) -> Groups:
        """Tracks grouped by artist, regardless of spelling. A track may have several artists."""
        return Groups.of_lists(_keyed(self.table["artists"], name_key))

    @cached_property
    def albums(self) -> Groups:
        """Tracks grouped by album."""
        return Groups.of_values(self.table["album_id"])

    def spellings(self, column: str, name: str) -> list[str]:
        """Return the values of a column (of strings or lists) that equal a name, ignoring case and accents.

        Raises a SimilarityError with similar names if there are none.
        """
        if column not in self._by_key:
            self._by_key[column] = _spellings(self.table[column])
        known = self._by_key[column]
        if found := known.get(name_key(name)):
            return found
        kind = column.replace("_", " ").removesuffix(" id").removesuffix("s")
        if not known:
            raise SimilarityError(
                f"The {kind} of the tracks is unknown. Run 'eno import', 'eno scan' and 'eno match' to create the "
                "catalogue, or specify its folder with --data-root."
            )
        close = difflib.get_close_matches(name_key(name), known, n=_SUGGESTIONS, cutoff=0.5)
        hint = f" Similar names: {', '.join(known[one][0] for one in close)}." if close else ""
        raise SimilarityError(f"No track has the {kind} {name!r}.{hint}")


def _spellings(values: pa.ChunkedArray) -> dict[str, list[str]]:
    """Map the key of each name to its spellings in a column."""
    if pa.types.is_list(values.type):
        values = pc.list_flatten(values)
    found: dict[str, list[str]] = {}
    for value in pc.unique(values).to_pylist():
        if value:
            found.setdefault(name_key(value), []).append(value)
    return found


def _tables(root: DataRoot | None) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Read tracks, matches and albums; an empty table for each missing file."""
    reading: tuple[tuple[Callable[[Any], pa.Table], str, pa.Schema], ...] = (
        (read_tracks, "tracks", TRACK_SCHEMA),
        (read_matches, "matches", MATCH_SCHEMA),
        (read_albums, "albums", ALBUM_SCHEMA),
    )
    tracks, matches, albums = (
        read(path) if root and (path := getattr(root, name)).is_file() else schema.empty_table()
        for read, name, schema in reading
    )
    return tracks, matches, albums


def _with_derived(albums: pa.Table) -> pa.Table:
    """Add columns that are derived from several others."""
    genres = [
        [*(primary or ()), *(secondary or ())]
        for primary, secondary in zip(
            albums["primary_genres"].to_pylist(), albums["secondary_genres"].to_pylist(), strict=True
        )
    ]
    credited = [_names(several) for several in albums["artists"].to_pylist()]
    texts = pa.list_(pa.string())
    made = (pa.array(genres, texts), pa.array(credited, texts), pa.array(release_years(albums), pa.int32()))
    for name, column in zip(_DERIVED, made, strict=True):
        albums = albums.append_column(name, column)
    return albums


def _look_up(keys: pa.Array, table: pa.Table, column: str) -> pa.Table:
    """Return the rows of a table by key; null for unknown keys."""
    return table.take(pc.index_in(keys, value_set=table[column].combine_chunks()))


def _names(artists: list[dict[str, str | None] | None] | None) -> list[str] | None:
    """Return the names of an album's artists; None for a compilation."""
    names = [one["name"] or (one["file_name"] or "").rpartition("/")[2] for one in artists or () if one]
    names = [name for name in names if name]
    return names if names and not any(is_nobody(name_key(name)) for name in names) else None


def _joined(ids: pa.Array, of_track: pa.Table, of_album: pa.Table) -> pa.Table:
    parts = pc.extract_regex(ids, r"^(?s)(?:(?P<folder>.*)/)?(?P<name>[^/]*)$")
    folder = _mapped(pc.struct_field(parts, "folder"), lambda text: "" if not text else album_folder(text))
    stem = pc.replace_substring_regex(pc.struct_field(parts, "name"), r"(.)\.[^.]*$", r"\1")
    tagged = _mapped(pc.coalesce(of_track["artist"], of_track["album_artist"]), _single)
    artists = pc.coalesce(_flat(of_album[_CREDITED]), _one_each(tagged))
    album_id, folder_name = _album_ids(folder, _flat(of_track["album"]), of_track)
    columns: dict[str, Any] = {
        "track_id": ids,
        "path": ids,
        "folder": folder,
        "title": pc.coalesce(_flat(of_track["title"]), stem),
        "artist": pc.coalesce(pc.binary_join(_flat(of_album[_CREDITED]), ", "), tagged),
        "artists": artists,
        "album": pc.coalesce(_flat(of_album["name"]), _flat(of_track["album"]), folder_name),
        "album_id": pc.coalesce(_flat(of_album["file_name"]), album_id),
        "year": pc.coalesce(_flat(of_album[_RELEASED]), _flat(of_track["year"])),
        "genres": pc.coalesce(_flat(of_album[_GENRES]), _flat(of_track["genres"])),
    }
    for table, names, schema in (
        (of_track, _FROM_TRACKS, TRACK_SCHEMA),
        (of_album, _FROM_ALBUMS, ALBUM_SCHEMA),
    ):
        own = [name for name in table.column_names if name not in (*schema.names, *_DERIVED)]
        columns |= {name: table[name] for name in (*names, *own) if name not in columns}
    return pa.table(columns)


def _album_ids(folder: pa.Array, tagged: pa.Array, of_track: pa.Table) -> tuple[pa.Array, pa.Array]:
    """Return album ids from folders and tags, for tracks without a catalogue; and album titles from folders."""
    artist = pc.coalesce(of_track["album_artist"], of_track["artist"], "")
    place = pc.if_else(pc.equal(folder, ""), _flat(artist), folder)
    by_tag = pc.binary_join_element_wise(place, tagged, "/")  # null without a tag
    untagged = pc.if_else(pc.is_null(tagged), folder, pa.nulls(len(folder), pa.string()))
    counts = Counter({one["values"]: one["counts"] for one in pc.value_counts(untagged).to_pylist()})
    by_folder = _mapped(untagged, lambda text: text if text and counts[text] <= _FOLDER_TRACKS else None)
    return pc.coalesce(by_tag, by_folder), _mapped(by_folder, lambda text: PurePosixPath(text).name)


def _single(text: str) -> str | None:
    name = main_artist(text).strip()
    return None if not name or is_nobody(name_key(name)) else name


def _mapped(values: pa.Array | pa.ChunkedArray, change: Callable[[str], str | None]) -> pa.Array:
    """Apply a function to each distinct string; null stays null."""
    encoded = _flat(values).dictionary_encode()
    distinct = [None if text is None else change(text) for text in encoded.dictionary.to_pylist()]
    return pa.array(distinct, pa.string()).take(encoded.indices)


def _keyed(lists: pa.ChunkedArray, key: Callable[[str], str]) -> pa.ListArray:
    lists = _flat(lists)
    return pa.ListArray.from_arrays(_offsets(lists), _mapped(lists.flatten(), key))


def _offsets(lists: pa.ListArray) -> pa.Array:
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))


def _one_each(values: pa.Array) -> pa.ListArray:
    """Wrap each value in a list; null stays null."""
    valid = values.is_valid()
    offsets = np.concatenate([[0], np.cumsum(valid.to_numpy(zero_copy_only=False))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values.drop_null(), mask=pc.invert(valid))


def _flat(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
