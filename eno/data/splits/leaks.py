"""Leakage between splits: artists, albums, songs, recordings and audio in more than one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.matching.artists import is_various, main_artist
from eno.data.matching.candidates import duration_agreement
from eno.data.names import name_key
from eno.data.splits.artist_split import LEFT_OUT, artists_of_albums
from eno.data.splits.stratify import SPLITS
from eno.errors import CatalogueError

_SHOWN = 10
_NEARLY_ALL = 0.8
_ENOUGH_TRACKS = 3


@dataclass(frozen=True)
class Leak:
    """An ``"artist"``, ``"album"``, ``"song"``, ``"recording"`` or ``"audio"`` in more than one split."""

    kind: str
    name: str
    splits: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind} {self.name} is in {' and '.join(self.splits)}"


def find_leaks(tracks: pa.Table, splits: np.ndarray, albums: pa.Table, tags: pa.Table | None = None) -> list[Leak]:
    """Find artists, albums, songs, recordings and audio in more than one split [shape=(n,), dtype=str].

    Artists are compared by name, so namesakes count as one. Recordings are albums with the same title and track
    lengths, whoever they are credited to. With the tracks table as `tags`, songs with the same artist and title in any
    spelling are found too, and files with the same packet hash. `tracks` is from
    `eno.data.splits.artist_split.label_tracks`.
    """
    leaks = []
    for kind, name, rows in _repeats(tracks, albums, tags):
        found = sorted({str(split) for split in splits[rows]} - {LEFT_OUT})
        if len(found) > 1:
            leaks.append(Leak(kind, name, tuple(found)))
    return leaks


def leave_out_repeats(
    tracks: pa.Table, splits: np.ndarray, albums: pa.Table, tags: pa.Table | None = None
) -> np.ndarray:
    """Keep songs, recordings and audio in only one split, test or else validation, and mark the rest `LEFT_OUT`.

    Artist-disjoint splits cannot separate them, since a song may also be on a soundtrack or in another artist's mix.
    See `find_leaks` for the parameters.
    """
    splits = splits.copy()
    for kind, _, rows in _repeats(tracks, albums, tags):
        if kind in ("song", "recording", "audio"):
            found = splits[rows]
            kept = next((split for split in reversed(SPLITS) if (found == split).any()), LEFT_OUT)
            splits[np.array(rows)[found != kept]] = LEFT_OUT
    return splits


def check_leaks(tracks: pa.Table, splits: np.ndarray, albums: pa.Table, tags: pa.Table | None = None) -> None:
    """Raise a `CatalogueError` that names the first leaks, if there are any; see `find_leaks`."""
    leaks = find_leaks(tracks, splits, albums, tags)
    if leaks:
        shown = "\n  ".join(str(leak) for leak in leaks[:_SHOWN])
        more = f"\n  … and {len(leaks) - _SHOWN} more" if len(leaks) > _SHOWN else ""
        raise CatalogueError(f"The splits overlap, so held-out scores would be too optimistic:\n  {shown}{more}")


def _repeats(tracks: pa.Table, albums: pa.Table, tags: pa.Table | None) -> Iterator[tuple[str, str, list[int]]]:
    """Yield kind, name and track rows of everything that should be in a single split."""
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(tracks["file_name"].to_pylist()):
        rows_of[name].append(row)
    albums_of: dict[str, list[str]] = defaultdict(list)
    for name, artists in artists_of_albums(albums, list(rows_of)).items():
        for artist in artists:
            albums_of[artist].append(name)
    for artist, names in albums_of.items():
        yield "artist", artist, [row for name in names for row in rows_of[name]]
    for name, rows in rows_of.items():
        yield "album", name, rows
    for name, other in _same_recordings(albums, list(rows_of)):
        yield "recording", f"{name} = {other}", rows_of[name] + rows_of[other]
    if tags is not None:
        yield from _same_tags(tracks, tags)


def _same_recordings(albums: pa.Table, names: list[str]) -> Iterator[tuple[str, str]]:
    """Find albums with the same title and track lengths."""
    rows = albums.take(pc.index_in(pa.array(names, pa.string()), value_set=albums["file_name"].combine_chunks()))
    by_title = defaultdict(list)
    for name, title, listed in zip(names, rows["name"].to_pylist(), rows["tracks"].to_pylist(), strict=True):
        lengths = [track["duration_seconds"] or 0 for track in listed or () if track]
        if title and sum(length > 0 for length in lengths) >= _ENOUGH_TRACKS:
            by_title[name_key(title)].append((name, lengths))
    for same in by_title.values():
        for i, (name, lengths) in enumerate(same):
            for other, other_lengths in same[i + 1 :]:
                # Albums of different sizes may share most of the shorter one by chance.
                alike = _NEARLY_ALL <= len(lengths) / len(other_lengths) <= 1 / _NEARLY_ALL
                if alike and (duration_agreement(lengths, other_lengths) or 0) >= _NEARLY_ALL:
                    yield name, other


def _same_tags(tracks: pa.Table, tags: pa.Table) -> Iterator[tuple[str, str, list[int]]]:
    found = tags.select(["artist", "title", "packet_hash"]).take(
        pc.index_in(tracks["track_id"], value_set=tags["track_id"].combine_chunks())
    )
    songs, hashes = defaultdict(list), defaultdict(list)
    for row, (artist, title, audio) in enumerate(zip(*(column.to_pylist() for column in found.columns), strict=True)):
        key = name_key(main_artist(artist or ""))
        if key and title and not is_various(key):
            songs[f"{key}: {name_key(title)}"].append(row)
        if audio:
            hashes[audio].append(row)
    for kind, groups in (("song", songs), ("audio", hashes)):
        for name, rows in groups.items():
            if len(rows) > 1:
                yield kind, name, rows
