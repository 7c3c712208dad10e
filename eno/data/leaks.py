"""What is on two sides of a split although it should not be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.album_index import duration_agreement
from eno.data.credited import is_various, main_artist
from eno.data.names import name_key
from eno.data.splits import LEFT_OUT, artists_of_albums
from eno.errors import CatalogueError

_SHOWN = 10
_NEARLY_ALL = 0.8
_ENOUGH_TRACKS = 3


@dataclass(frozen=True)
class Leak:
    """Something that is in more than one part.

    Attributes
    ----------
    kind : str
        ``"artist"``, ``"album"``, ``"song"``, ``"recording"`` or ``"audio"``.
    what : str
        Which one.
    parts : tuple of str
        Where it is.
    """

    kind: str
    what: str
    parts: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind} {self.what} is in {' and '.join(self.parts)}"


def find_leaks(tracks: pa.Table, parts: np.ndarray, albums: pa.Table, tags: pa.Table | None = None) -> list[Leak]:
    """Look for artists, albums, songs and recordings that are in more than one part.

    Parameters
    ----------
    tracks : pyarrow.Table
        As `eno.data.splits.label_tracks` gives them.
    parts : np.ndarray [shape=(n,), dtype=str]
        The part of each track.
    albums : pyarrow.Table
        As `eno.data.albums.read_albums` gives them.
    tags : pyarrow.Table, optional
        The tracks table. With it are also found: songs, by artist and title however they are spelled; and audio, by its
        hash where there is one.

    Returns
    -------
    list of Leak
        Artists are compared by name, so two artists of one name are one. Recordings are albums with the same title and
        track lengths, whoever they are said to be by.
    """
    used = parts != LEFT_OUT
    tracks, parts = tracks.filter(pa.array(used)), parts[used]
    file_names = tracks["file_name"].to_pylist()
    parts_of_album: dict[str, set[str]] = defaultdict(set)
    for name, part in zip(file_names, parts.tolist(), strict=True):
        parts_of_album[name].add(part)
    owners = artists_of_albums(albums, list(parts_of_album))
    leaks = list(_shared("artist", ((a, part) for n, ps in parts_of_album.items() for a in owners[n] for part in ps)))
    leaks += _shared("album", ((name, part) for name, several in parts_of_album.items() for part in several))
    leaks += _recordings(albums, parts_of_album)
    if tags is not None:
        leaks += _by_tags(tracks, parts, tags)
    return leaks


def check_leaks(tracks: pa.Table, parts: np.ndarray, albums: pa.Table, tags: pa.Table | None = None) -> None:
    """Raise if anything is on two sides; see `find_leaks`.

    Raises
    ------
    CatalogueError
        Naming the first ten leaks.
    """
    leaks = find_leaks(tracks, parts, albums, tags)
    if leaks:
        shown = "\n  ".join(str(leak) for leak in leaks[:_SHOWN])
        more = f"\n  … and {len(leaks) - _SHOWN} more" if len(leaks) > _SHOWN else ""
        raise CatalogueError(
            f"The parts are not separate; what is learned in one is known in the other:\n  {shown}{more}"
        )


def _shared(kind: str, placed: Iterable[tuple[str, str]]) -> Iterator[Leak]:
    parts_of = defaultdict(set)
    for what, part in placed:
        parts_of[what].add(part)
    for what, parts in parts_of.items():
        if len(parts) > 1:
            yield Leak(kind, what, tuple(sorted(parts)))


def _recordings(albums: pa.Table, parts_of_album: dict[str, set[str]]) -> Iterator[Leak]:
    """Find albums with the same title and track lengths in different parts."""
    names = list(parts_of_album)
    rows = albums.take(pc.index_in(pa.array(names, pa.string()), value_set=albums["file_name"].combine_chunks()))
    by_title = defaultdict(list)
    for name, title, listed in zip(names, rows["name"].to_pylist(), rows["tracks"].to_pylist(), strict=True):
        lengths = [track["duration_seconds"] or 0 for track in listed or () if track]
        if title and sum(length > 0 for length in lengths) >= _ENOUGH_TRACKS:
            by_title[name_key(title)].append((name, lengths))
    for same in by_title.values():
        for i, (name, lengths) in enumerate(same):
            for other, other_lengths in same[i + 1 :]:
                parts = parts_of_album[name] | parts_of_album[other]
                # Of unlike length they may still share most of the shorter one by chance.
                alike = 0.8 <= len(lengths) / len(other_lengths) <= 1.25
                if len(parts) > 1 and alike and (duration_agreement(lengths, other_lengths) or 0) >= _NEARLY_ALL:
                    yield Leak("recording", f"{name} = {other}", tuple(sorted(parts)))


def _by_tags(tracks: pa.Table, parts: np.ndarray, tags: pa.Table) -> Iterator[Leak]:
    rows = pc.index_in(tracks["track_id"], value_set=tags["track_id"].combine_chunks())
    found = tags.select(["artist", "title", "audio_hash"]).take(rows).to_pylist()
    songs, hashes = [], []
    for row, part in zip(found, parts.tolist(), strict=True):
        if row["artist"] and row["title"]:
            artist = name_key(main_artist(row["artist"]))
            if not is_various(artist):
                songs.append((f"{artist}: {name_key(row['title'])}", part))
        if row["audio_hash"]:
            hashes.append((row["audio_hash"], part))
    yield from _shared("song", songs)
    yield from _shared("audio", hashes)
