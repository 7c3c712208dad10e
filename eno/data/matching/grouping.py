"""Grouping of files into local albums by folder and album tag."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.matching.artists import VARIOUS_ARTISTS, credit_of_tag, is_nobody, main_artist
from eno.data.matching.candidates import LocalAlbum
from eno.data.matching.file_names import (
    Names,
    album_folder,
    disc_of_folder,
    read_file_names,
    read_folder_name,
    repaired,
    without_disc,
)
from eno.data.names import name_key

_COLUMNS = ("artist", "album_artist", "album", "title", "track_number", "disc_number", "year", "duration_s")
_MAJORITY = 0.5
_FEW_ARTISTS = 3  # tracks by fewer artists are no compilation
_PERFORMERS = 6
_AT_A_TIME = 10_000  # groups


@dataclass(frozen=True)
class LocalGroup:
    """Tracks in one album folder with the same album tag, except for the number of a disc."""

    folder: str
    local: LocalAlbum
    rows: np.ndarray  # of the tracks table, in order
    keys: tuple[tuple[str, str], ...]  # folder and title, which identify the group in the review file
    fingerprint: str  # of the lengths of the files, which remains when folders and tags change; empty if unknown


def group_tracks(tracks: pa.Table) -> list[LocalGroup]:
    """Group tracks with the same album tag in one folder, including its subfolders of single discs."""
    names = pc.extract_regex(tracks["track_id"].combine_chunks(), r"(?s)^(?P<folder>(?:.*/)?)(?P<file>[^/]*)$")
    folders = pc.struct_field(names, "folder").dictionary_encode()
    paths = [str(PurePosixPath(folder)) for folder in folders.dictionary.to_pylist()]
    albums = tracks["album"].combine_chunks().dictionary_encode(null_encoding="encode")
    tags = albums.dictionary.to_pylist()
    places = _codes([without_disc(album_folder(path)) for path in paths])[folders.indices.to_numpy()]
    titles = _codes([None if tag is None else without_disc(tag) for tag in tags])[albums.indices.to_numpy()]
    discs = np.array([disc_of_folder(path) for path in paths])[folders.indices.to_numpy()]
    order = np.lexsort((
        pc.rank(tracks["track_id"].combine_chunks()).to_numpy(), _numbers(tracks, "track_number"),
        np.maximum(_numbers(tracks, "disc_number"), discs), titles, places,
    ))  # fmt: skip
    begins = np.flatnonzero(np.diff(places[order], prepend=-1) | np.diff(titles[order], prepend=-1))
    columns = {name: tracks[name].combine_chunks() for name in _COLUMNS} | {"file": pc.struct_field(names, "file")}
    folder_of = folders.indices.to_numpy()
    groups = []
    for some in np.split(begins, range(_AT_A_TIME, len(begins), _AT_A_TIME)):
        first, last = some[0] if len(some) else 0, begins[begins > some[-1]].min(initial=len(order)) if len(some) else 0
        taken = pa.array(order[first:last])
        values: dict[str, list[Any]] = {name: _shared(column.take(taken)) for name, column in columns.items()}
        values["folder_disc"] = discs[order[first:last]].tolist()
        for begin, end in pairwise([*some.tolist(), last]):
            rows = order[begin:end]
            part = {name: column[begin - first : end - first] for name, column in values.items()}
            groups.append(_group(album_folder(paths[folder_of[rows[0]]]), rows, part))
    return groups


def _shared(column: pa.Array) -> list[Any]:
    """Return the values, with one object for equal texts."""
    if not pa.types.is_string(column.type):
        return column.to_pylist()  # type: ignore[no-any-return]
    encoded = column.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    return [None if i is None else texts[i] for i in encoded.indices.to_pylist()]


def _codes(values: list[str | None]) -> np.ndarray:
    codes: np.ndarray = pa.array(values, pa.string()).dictionary_encode(null_encoding="encode").indices.to_numpy()
    return codes


def _numbers(tracks: pa.Table, name: str) -> np.ndarray:
    numbers: np.ndarray = tracks[name].combine_chunks().fill_null(0).to_numpy(zero_copy_only=False)
    return numbers


def _group(folder: str, rows: np.ndarray, values: dict[str, list[Any]]) -> LocalGroup:
    local = _describe(PurePosixPath(folder), values)
    tags = [tag for tag in dict.fromkeys(values["album"]) if tag] or [local.title]
    lengths = [round(length * 1000) for length in values["duration_s"] if length]
    known = len(lengths) == len(rows)
    fingerprint = hashlib.sha1(repr(sorted(lengths)).encode()).hexdigest()[:16] if known else ""
    return LocalGroup(folder, local, rows, tuple((folder, tag) for tag in tags), fingerprint)


def _describe(folder: PurePosixPath, values: dict[str, list[Any]]) -> LocalAlbum:
    count = len(values["file"])
    named = read_folder_name(folder.name, folder.parent.name)
    artist, title = _artist(values), next(filter(None, values["album"]), None)
    untagged = artist is None and title is None
    of_files = Names() if all(values["title"]) and not untagged else read_file_names(values["file"])
    if untagged and of_files.title:
        named = of_files
    elif artist is None and title is not None:
        of_title = read_folder_name(title, "")
        named = of_title if of_title.artist else named
        title = named.title if of_title.artist else title
    if title is not None:
        title = repaired(without_disc(title))
    year = next(filter(None, values["year"]), None) or named.year
    artist = repaired(artist) if artist else named.artist
    lengths = tuple(length or 0.0 for length in values["duration_s"])
    titles = tuple(tag or name for tag, name in zip_longest(values["title"], of_files.tracks))
    names = _main_artists(values["artist"])
    performers = tuple((repaired(name), number / count) for name, number in names.most_common(_PERFORMERS))
    discs = len({disc or other for disc, other in zip(values["disc_number"], values["folder_disc"], strict=True)} - {0})
    return LocalAlbum(
        artist, title or named.title, year, lengths, count, _is_compilation(artist, names), titles, performers, discs
    )


def _artist(values: dict[str, list[Any]]) -> str | None:
    """Return the album artist, or else artist, of most tracks; "Various Artists" if there is no majority."""
    for tag in ("album_artist", "artist"):
        if names := _main_artists(values[tag]):
            (name, count), *_ = names.most_common(1)
            return name if count > _MAJORITY * names.total() else VARIOUS_ARTISTS
    return None


def _main_artists(credits: Iterable[str | None]) -> Counter[str]:
    """Count the artists without their guests."""
    names: Counter[str] = Counter()
    for credit, count in Counter(credits).items():
        if credit:
            names[main_artist(credit)] += count
    return names


def _is_compilation(artist: str, names: Counter[str]) -> bool:
    """Whether the tracks are by different artists, none of whom is the artist of the album."""
    if is_nobody(name_key(artist)) and len(names) >= _FEW_ARTISTS:
        return True
    if len(names) < _FEW_ARTISTS or max(names.values()) > _MAJORITY * names.total():
        return False
    parts = credit_of_tag(artist).parts
    return parts.isdisjoint(part for name in names for part in credit_of_tag(name).parts)
