"""Grouping of files into local albums, by their folders and tags."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from eno.data.matching.artists import main_artist
from eno.data.matching.candidates import LocalAlbum

_DISC_FOLDER = re.compile(r"^(?:cd|dis[ck]|disque)[\s_.-]*\d+\b.*$", re.IGNORECASE)
# "1993 - Souvlaki", "Slowdive - Souvlaki (1993)", "Slowdive - 1993 - Souvlaki"
_FOLDER_NAME = re.compile(
    r"^(?:(?P<artist>(?!\d{4} - ).+?) - )?(?:[(\[]?(?P<year>(?:19|20)\d\d)[)\]]? - )?(?P<title>.+)$"
)
_YEAR_IN_BRACKETS = re.compile(r"[(\[](?P<year>(?:19|20)\d\d)[)\]]")
_MOSTLY = 0.5


@dataclass(frozen=True)
class LocalGroup:
    """Tracks in one folder that are tagged as one album. Folders of single discs count as that of their album."""

    folder: str
    local: LocalAlbum
    rows: list[dict[str, Any]]

    @property
    def key(self) -> tuple[str, str]:
        """Folder and title, which identify the group."""
        return self.folder, self.local.title


def album_folder(folder: str) -> str:
    """Return the parent of a folder of a single disc, and other folders as they are.

    Examples
    --------
    >>> album_folder("Low/Double Negative/CD 2")
    'Low/Double Negative'
    """
    path = PurePosixPath(folder)
    return str(path.parent if _DISC_FOLDER.match(path.name) else path)


def group_tracks(tracks: pa.Table) -> list[LocalGroup]:
    """Group tracks that are in one folder, including its folders of single discs, and have the same album tag."""
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
    return LocalAlbum(artist, title, year, durations if len(durations) == len(rows) else (), len(rows))


def _artist(rows: list[dict[str, Any]]) -> str | None:
    """Return the most frequent album artist or else artist, or "Various Artists" if it is on too few tracks."""
    for tag in ("album_artist", "artist"):
        names = Counter(main_artist(row[tag]) for row in rows if row[tag])
        if names:
            (name, count), *_ = names.most_common(1)
            return name if count > _MOSTLY * names.total() else "Various Artists"
    return None
