"""Grouping of files into local albums by folder and album tag."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from eno.data.matching.artists import VARIOUS_ARTISTS, credit_of_tag, main_artist
from eno.data.matching.candidates import LocalAlbum

_DISC_FOLDER = re.compile(r"^(?:cd|dis[ck]|disque)[\s_.-]*\d+\b.*$", re.IGNORECASE)
# "1993 - Souvlaki", "Slowdive - Souvlaki (1993)", "Slowdive - 1993 - Souvlaki"
_FOLDER_NAME = re.compile(
    r"^(?:(?P<artist>(?!\d{4} - ).+?) - )?(?:[(\[]?(?P<year>(?:19|20)\d\d)[)\]]? - )?(?P<title>.+)$"
)
_YEAR_IN_BRACKETS = re.compile(r"[(\[](?P<year>(?:19|20)\d\d)[)\]]")
_MAJORITY = 0.5
_FEW_ARTISTS = 3  # tracks by fewer artists are no compilation


@dataclass(frozen=True)
class LocalGroup:
    """Tracks in one album folder with the same album tag."""

    folder: str
    local: LocalAlbum
    rows: list[dict[str, Any]]

    @property
    def key(self) -> tuple[str, str]:
        """Folder and title, which identify the group."""
        return self.folder, self.local.title


def album_folder(folder: str) -> str:
    """Return the parent of a folder that contains a single disc; return other folders unchanged.

    Examples
    --------
    >>> album_folder("Low/Double Negative/CD 2")
    'Low/Double Negative'
    """
    path = PurePosixPath(folder)
    return str(path.parent if _DISC_FOLDER.match(path.name) else path)


def group_tracks(tracks: pa.Table) -> list[LocalGroup]:
    """Group tracks with the same album tag in one folder, including its subfolders of single discs."""
    grouped = defaultdict(list)
    for row in tracks.to_pylist():
        grouped[album_folder(str(PurePosixPath(row["track_id"]).parent)), row["album"]].append(row)
    groups = []
    for (place, album), rows in grouped.items():
        rows.sort(key=lambda row: (row["disc_number"] or 0, row["track_number"] or 0, row["track_id"]))
        groups.append(LocalGroup(place, _describe(PurePosixPath(place), album, rows), rows))
    return groups


def _describe(folder: PurePosixPath, album: str | None, rows: list[dict[str, Any]]) -> LocalAlbum:
    named = _FOLDER_NAME.match(folder.name)
    parts = named.groupdict() if named else {}
    year = next((row["year"] for row in rows if row["year"]), None)
    if year is None and (found := _YEAR_IN_BRACKETS.search(folder.name) or (parts.get("year") and named)):
        year = int(found["year"])
    artist = _artist(rows) or parts.get("artist") or folder.parent.name
    title = album or parts.get("title") or folder.name
    durations = tuple(row["duration_s"] for row in rows if row["duration_s"])
    known = durations if len(durations) == len(rows) else ()
    return LocalAlbum(artist, title, year, known, len(rows), compilation=_is_compilation(artist, rows))


def _artist(rows: list[dict[str, Any]]) -> str | None:
    """Return the album artist, or else artist, of most tracks; "Various Artists" if there is no majority."""
    for tag in ("album_artist", "artist"):
        names = _counted(tag, rows)
        if names:
            (name, count), *_ = names.most_common(1)
            return name if count > _MAJORITY * names.total() else VARIOUS_ARTISTS
    return None


def _is_compilation(artist: str, rows: list[dict[str, Any]]) -> bool:
    """Whether the tracks are by different artists, none of whom is the artist of the album."""
    names = _counted("artist", rows)
    if len(names) < _FEW_ARTISTS or max(names.values()) > _MAJORITY * names.total():
        return False
    parts = credit_of_tag(artist).parts
    return parts.isdisjoint(part for name in names for part in credit_of_tag(name).parts)


def _counted(tag: str, rows: list[dict[str, Any]]) -> Counter[str]:
    return Counter(main_artist(row[tag]) for row in rows if row[tag])
