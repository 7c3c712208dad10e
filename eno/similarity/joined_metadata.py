"""The join of a collection's tables, from which the metadata of tracks comes.

Labels are those of the album that a track was matched to, and of the track itself, as in the splits. Without a
catalogue, a folder counts as an album and artists are unknown: a program cannot tell what the name of the folder above
an album means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.imports.items import read_track_labels
from eno.data.layout import DataRoot
from eno.data.library.scanning import TRACK_SCHEMA, read_tracks
from eno.data.lute.albums import ALBUM_SCHEMA, FAMILY_LABELS, LABEL_COLUMNS, read_albums, release_years
from eno.data.matching.artists import is_nobody, main_artist
from eno.data.matching.file_names import album_folder
from eno.data.matching.matcher import MATCH_SCHEMA, read_matches
from eno.data.names import name_key
from eno.data.splits.artist_split import label_tracks
from eno.data.tables import with_column
from eno.similarity.columns import flat, mapped

_FOLDER_TRACKS = 100  # an untagged folder with more tracks is a pile of files, not an album
_FROM_TRACKS = ("duration_s", "track_number", "disc_number", "sample_rate", "channels", "container", "codec", "size")
_OF_TRACKS = ("track_id", "artist", "album_artist", "title", "album", "year", "genres", *_FROM_TRACKS)
_DERIVED = _GENRES, _CREDITED, _RELEASED = "all_genres", "credited_artists", "released"
_FROM_ALBUMS = (
    "primary_genres", "secondary_genres", "descriptors", "languages", "release_date", "rating", FAMILY_LABELS.name
)  # fmt: skip
_OF_ALBUMS = ("file_name", "name", "artists", *_FROM_ALBUMS)


def join_tables(ids: pa.Array, root: DataRoot | None) -> pa.Table:
    """Join what a collection's tables hold about some (distinct) tracks. Missing tables are skipped."""
    tracks, matches, albums = _tables(root)
    of_match = _look_up(ids, matches.filter(pc.equal(matches["decision"], "matched")), "track_id")
    # Before rows are repeated for every track of an album: its list of tracks is most of the table.
    tracks, albums = _needed(tracks, TRACK_SCHEMA, _OF_TRACKS), _needed(albums, ALBUM_SCHEMA, _OF_ALBUMS)
    of_track = _look_up(ids, tracks, "track_id")
    used = pc.is_in(albums["file_name"], of_match["file_name"].combine_chunks())
    of_album = _look_up(of_match["file_name"].combine_chunks(), _with_derived(albums.filter(used)), "file_name")
    if root is not None and len(own := read_track_labels(root.track_labels)):
        of_album = _with_own_labels(ids, of_album, matches, albums, own)
    return _joined(ids, of_track, of_album)


def _with_own_labels(ids: pa.Array, of_album: pa.Table, matches: pa.Table, albums: pa.Table, own: pa.Table) -> pa.Table:
    """Replace the labels of albums by those of the tracks that have labels of their own."""
    known = pc.is_in(matches["file_name"], value_set=albums["file_name"].combine_chunks())
    labelled = pc.is_in(matches["track_id"], value_set=own["track_id"].combine_chunks())
    matches = matches.filter(pc.and_(known, labelled))
    if not pc.any(pc.equal(matches["decision"], "matched")).as_py():
        return of_album
    of_track = _look_up(ids, _with_genres(label_tracks(matches, albums, own)), "track_id")
    for name in (*LABEL_COLUMNS, FAMILY_LABELS.name, _GENRES):
        column = pc.coalesce(flat(of_track[name]), flat(of_album[name]))
        of_album = of_album.set_column(of_album.column_names.index(name), name, column)
    return of_album


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


def _needed(table: pa.Table, schema: pa.Schema, names: tuple[str, ...]) -> pa.Table:
    """Return some columns of a schema, and those that are not in it."""
    return table.select([name for name in table.column_names if name in names or name not in schema.names])


def _with_derived(albums: pa.Table) -> pa.Table:
    """Add columns that are derived from several others."""
    albums = _with_genres(albums)
    credited = [_names(several) for several in albums["artists"].to_pylist()]
    albums = albums.append_column(_CREDITED, pa.array(credited, pa.list_(pa.string())))
    return with_column(albums.append_column(_RELEASED, pa.array(release_years(albums), pa.int32())), FAMILY_LABELS)


def _with_genres(rows: pa.Table) -> pa.Table:
    both = zip(rows["primary_genres"].to_pylist(), rows["secondary_genres"].to_pylist(), strict=True)
    genres = [[*(primary or ()), *(secondary or ())] for primary, secondary in both]
    return rows.append_column(_GENRES, pa.array(genres, pa.list_(pa.string())))


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
    folder = mapped(pc.struct_field(parts, "folder"), lambda text: "" if not text else album_folder(text))
    stem = pc.replace_substring_regex(pc.struct_field(parts, "name"), r"(.)\.[^.]*$", r"\1")
    tagged = mapped(pc.coalesce(of_track["artist"], of_track["album_artist"]), _single)
    artists = pc.coalesce(flat(of_album[_CREDITED]), _one_each(tagged))
    album_id, folder_name = _album_ids(folder, flat(of_track["album"]), of_track)
    columns: dict[str, Any] = {
        "track_id": ids,
        "path": ids,
        "folder": folder,
        "title": pc.coalesce(flat(of_track["title"]), stem),
        "artist": pc.coalesce(pc.binary_join(flat(of_album[_CREDITED]), ", "), tagged),
        "artists": artists,
        "album": pc.coalesce(flat(of_album["name"]), flat(of_track["album"]), folder_name),
        "album_id": pc.coalesce(flat(of_album["file_name"]), album_id),
        "year": pc.coalesce(flat(of_album[_RELEASED]), flat(of_track["year"])),
        "genres": pc.coalesce(flat(of_album[_GENRES]), flat(of_track["genres"])),
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
    place = pc.if_else(pc.equal(folder, ""), flat(artist), folder)
    by_tag = pc.binary_join_element_wise(place, tagged, "/")  # null without a tag
    untagged = pc.if_else(pc.is_null(tagged), folder, pa.nulls(len(folder), pa.string()))
    counts = Counter({one["values"]: one["counts"] for one in pc.value_counts(untagged).to_pylist()})
    by_folder = mapped(untagged, lambda text: text if text and counts[text] <= _FOLDER_TRACKS else None)
    return pc.coalesce(by_tag, by_folder), mapped(by_folder, lambda text: PurePosixPath(text).name)


def _single(text: str) -> str | None:
    name = main_artist(text).strip()
    return None if not name or is_nobody(name_key(name)) else name


def _one_each(values: pa.Array) -> pa.ListArray:
    """Wrap each value in a list; null stays null."""
    valid = values.is_valid()
    offsets = np.concatenate([[0], np.cumsum(valid.to_numpy(zero_copy_only=False))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values.drop_null(), mask=pc.invert(valid))
