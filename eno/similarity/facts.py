"""What is known of tracks besides their sound: who plays, on which album, which tags, how long.

It is joined from what a collection has of ``tracks.parquet``, ``matches.parquet`` and ``albums.parquet``. Genres and
descriptors are those of the album that a track was matched to. Where there is no catalogue, a folder is taken for an
album, and nothing is said of artists: what a folder above an album is called, a person knows, but not a program.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.layout import DataRoot
from eno.data.library.scanning import TRACK_SCHEMA, read_tracks
from eno.data.lute.albums import ALBUM_SCHEMA, read_albums, release_years
from eno.data.matching.artists import is_various, main_artist
from eno.data.matching.grouping import album_folder
from eno.data.matching.matcher import MATCH_SCHEMA, read_matches
from eno.data.names import name_key
from eno.errors import SimilarityError
from eno.similarity.groups import Groups

_DATABASE: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,
    "python_enable_replacements": False,
    "threads": 2,
    "memory_limit": "2GB",
    "max_temp_directory_size": "0B",
    "lock_configuration": True,
}
_FOLDER_TRACKS = 100  # a folder with more of them, and no word of an album, is a heap rather than an album
_CLOSE = 5
_FROM_TRACKS = ("duration_s", "track_number", "disc_number", "sample_rate", "channels", "container", "codec", "size")
_MADE = _GENRES, _CREDITED, _RELEASED = "all_genres", "credited_artists", "released"
_FROM_ALBUMS = ("primary_genres", "secondary_genres", "descriptors", "languages", "release_date", "rating")


class Facts:
    """What is known of tracks, one row a track. Use `read`.

    Attributes
    ----------
    table : pa.Table
        ``track_id``, ``path`` (the same), ``folder``, ``title``, ``artist`` (as shown), ``artists`` (each of them),
        ``album``, ``album_id``, ``year``, ``genres``, ``descriptors``, ``duration_s``, ``codec`` and the other columns
        of the tables, null where not known. "Various Artists" is nobody: there the artist of the track counts.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self._row_of: pa.Array = table["track_id"].combine_chunks()

    @classmethod
    def read(cls, track_ids: Sequence[str] | np.ndarray | pa.Array, root: DataRoot | None = None) -> Facts:
        """Join what the tables of a collection say of some tracks.

        Parameters
        ----------
        track_ids : sequence of str
            The tracks, each once.
        root : DataRoot, optional
            Where the tables are; those that are missing are done without.

        Raises
        ------
        CatalogueError
            A table is damaged.
        """
        ids = pa.array(track_ids, pa.string()) if not isinstance(track_ids, pa.Array) else track_ids
        tracks, matches, albums = _tables(root)
        of_track = _looked_up(ids, tracks, "track_id")
        of_match = _looked_up(ids, matches.filter(pc.equal(matches["decision"], "matched")), "track_id")
        used = pc.is_in(albums["file_name"], of_match["file_name"].combine_chunks())
        of_album = _looked_up(of_match["file_name"].combine_chunks(), _summed_up(albums.filter(used)), "file_name")
        return cls(_joined(ids, of_track, of_album))

    def __len__(self) -> int:
        return len(self.table)

    def rows_of(self, track_ids: Sequence[str] | np.ndarray | pa.Array) -> np.ndarray:
        """Rows of tracks [shape=(n,), dtype=int64]; -1 for one that is not there."""
        ids = track_ids if isinstance(track_ids, pa.Array) else pa.array(track_ids, pa.string())
        rows: np.ndarray = pc.fill_null(pc.index_in(ids, value_set=self._row_of), -1).to_numpy().astype(np.int64)
        return rows

    def row(self, row: int) -> dict[str, Any]:
        """All that is known of one track."""
        values: dict[str, Any] = self.table.slice(row, 1).to_pylist()[0]
        return values

    def tags(self, row: int) -> list[str]:
        """Genres and descriptors of a track's album."""
        return [*(self.table["genres"][row].as_py() or ()), *(self.table["descriptors"][row].as_py() or ())]

    @cached_property
    def artists(self) -> Groups:
        """Which tracks are by the same artist, however the name is spelled; a track may be by several."""
        return Groups.of_lists(_keyed(self.table["artists"], name_key))

    @cached_property
    def albums(self) -> Groups:
        """Which tracks are of the same album."""
        return Groups.of_values(self.table["album_id"])

    @cached_property
    def database(self) -> duckdb.DuckDBPyConnection:
        """A database in memory that may read no files; each question takes a cursor of its own."""
        return duckdb.connect(config=_DATABASE)

    def spellings(self, column: str, name: str) -> list[str]:
        """Give the values of a column that are a name, whatever their case and accents.

        Parameters
        ----------
        column : str
            A column of text, or of lists of it.
        name : str
            What a user calls it.

        Raises
        ------
        SimilarityError
            No track has it; the message has names that are close.
        """
        known = self._names[column]
        if found := known.get(name_key(name)):
            return found
        kind = column.replace("_", " ").removesuffix(" id").removesuffix("s")
        if not known:
            raise SimilarityError(
                f"No {kind} is known of any track. 'eno import', 'eno scan' and 'eno match' make the tables that say "
                "so; --data-root names the folder where they are."
            )
        close = difflib.get_close_matches(name_key(name), known, n=_CLOSE, cutoff=0.5)
        hint = f" Close to it: {', '.join(known[one][0] for one in close)}." if close else ""
        raise SimilarityError(f"No track has the {kind} {name!r}.{hint}")

    @cached_property
    def _names(self) -> _Spellings:
        return _Spellings(self.table)


class _Spellings(dict[str, dict[str, list[str]]]):
    """Of each column: key of a name → its spellings; made when it is asked for."""

    def __init__(self, table: pa.Table) -> None:
        super().__init__()
        self._table = table

    def __missing__(self, column: str) -> dict[str, list[str]]:
        values = self._table[column]
        if pa.types.is_list(values.type):
            values = pc.list_flatten(values)
        found: dict[str, list[str]] = {}
        for value in pc.unique(values).to_pylist():
            if value:
                found.setdefault(name_key(value), []).append(value)
        self[column] = found
        return found


def _tables(root: DataRoot | None) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Tracks, matches and albums; empty where there are none."""
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


def _summed_up(albums: pa.Table) -> pa.Table:
    """Albums with what follows from several of their columns."""
    genres = [
        [*(primary or ()), *(secondary or ())]
        for primary, secondary in zip(
            albums["primary_genres"].to_pylist(), albums["secondary_genres"].to_pylist(), strict=True
        )
    ]
    credited = [_names(several) for several in albums["artists"].to_pylist()]
    texts = pa.list_(pa.string())
    made = (pa.array(genres, texts), pa.array(credited, texts), pa.array(release_years(albums), pa.int32()))
    for name, column in zip(_MADE, made, strict=True):
        albums = albums.append_column(name, column)
    return albums


def _looked_up(keys: pa.Array, table: pa.Table, column: str) -> pa.Table:
    """Rows of a table by key, null where it has none."""
    return table.take(pc.index_in(keys, value_set=table[column].combine_chunks()))


def _names(artists: list[dict[str, str | None] | None] | None) -> list[str] | None:
    """Names of an album's artists; None for a compilation."""
    names = [one["name"] or (one["file_name"] or "").rpartition("/")[2] for one in artists or () if one]
    names = [name for name in names if name]
    return names if names and not any(is_various(name_key(name)) for name in names) else None


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
        own = [name for name in table.column_names if name not in (*schema.names, *_MADE)]
        columns |= {name: table[name] for name in (*names, *own) if name not in columns}
    return pa.table(columns)


def _album_ids(folder: pa.Array, tagged: pa.Array, of_track: pa.Table) -> tuple[pa.Array, pa.Array]:
    """Tell albums apart where no catalogue does, by folder and tag; and how they are called by their folder."""
    artist = pc.coalesce(of_track["album_artist"], of_track["artist"], "")
    place = pc.if_else(pc.equal(folder, ""), _flat(artist), folder)
    by_tag = pc.binary_join_element_wise(place, tagged, "/")  # null where there is no tag
    untagged = pc.if_else(pc.is_null(tagged), folder, pa.nulls(len(folder), pa.string()))
    counts = Counter({one["values"]: one["counts"] for one in pc.value_counts(untagged).to_pylist()})
    by_folder = _mapped(untagged, lambda text: text if text and counts[text] <= _FOLDER_TRACKS else None)
    return pc.coalesce(by_tag, by_folder), _mapped(by_folder, lambda text: PurePosixPath(text).name)


def _single(text: str) -> str | None:
    name = main_artist(text).strip()
    return None if not name or is_various(name_key(name)) else name


def _mapped(values: pa.Array | pa.ChunkedArray, change: Callable[[str], str | None]) -> pa.Array:
    """Change texts, each distinct one once; null stays null."""
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
    """Lists of the one value, null for null."""
    valid = values.is_valid()
    offsets = np.concatenate([[0], np.cumsum(valid.to_numpy(zero_copy_only=False))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values.drop_null(), mask=pc.invert(valid))


def _flat(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
