"""Leakage between splits: artists, albums, songs, recordings and audio in more than one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.matching.alignment import DURATION_TOLERANCE_S, duration_agreement
from eno.data.matching.artists import is_nobody, main_artist
from eno.data.names import name_key
from eno.data.splits.artist_split import LEFT_OUT, artists_of_albums
from eno.data.splits.stratify import SPLITS
from eno.errors import CatalogueError

_SHOWN, _NAMED = 10, 3
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
        raise CatalogueError(
            f"The splits overlap, so held-out scores would be too optimistic:\n  {shown}{more}"
            "\n  To compare with published figures all the same, use --official FOLDER --allow-leaks."
        )


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
    for names in _same_recordings(albums, list(rows_of)):
        shown = " = ".join(names[:_NAMED]) + " = …" * (len(names) > _NAMED)
        yield "recording", shown, [row for name in names for row in rows_of[name]]
    if tags is not None:
        yield from _same_tags(tracks, tags)


def _same_recordings(albums: pa.Table, names: list[str]) -> Iterator[list[str]]:
    """Find albums with the same title and track lengths."""
    rows = albums.take(pc.index_in(pa.array(names, pa.string()), value_set=albums["file_name"].combine_chunks()))
    by_title = defaultdict(list)
    for name, title, listed in zip(names, rows["name"].to_pylist(), rows["tracks"].to_pylist(), strict=True):
        lengths = [track["duration_seconds"] or 0 for track in listed or () if track]
        if title and sum(length > 0 for length in lengths) >= _ENOUGH_TRACKS:
            by_title[name_key(title)].append((name, lengths))
    for same in (albums for albums in by_title.values() if len(albums) > 1):
        together = defaultdict(list)
        for (name, _), number in zip(same, _alike([lengths for _, lengths in same]), strict=True):
            together[number].append(name)
        yield from (found for found in together.values() if len(found) > 1)


def _alike(albums: list[list[int]]) -> list[int]:
    """Return the number of a group for each list of track lengths; those that agree are in one group."""
    sizes = np.array([len(lengths) for lengths in albums])
    known = [np.array([length for length in lengths if length > 0]) for lengths in albums]
    counts = np.array([len(lengths) for lengths in known])
    flat, owner = np.concatenate(known), np.repeat(np.arange(len(known)), counts)
    order = np.argsort(flat, kind="stable")
    flat, owner = flat[order], owner[order]
    group = np.arange(len(albums))
    for one, lengths in enumerate(known):
        # How many lengths of this album occur in the others, in any order: few albums remain to be compared in order.
        begins = np.searchsorted(flat, lengths - DURATION_TOLERANCE_S, side="left")
        ends = np.searchsorted(flat, lengths + DURATION_TOLERANCE_S, side="right")
        owners = np.concatenate([owner[begin:end] for begin, end in zip(begins, ends, strict=True)])
        near = np.bincount(owners, minlength=len(known))
        # Albums of different sizes may share most of the shorter one by chance.
        shorter, longer = np.minimum(sizes, sizes[one]), np.maximum(sizes, sizes[one])
        plausible = (near >= _NEARLY_ALL * np.minimum(counts, counts[one])) & (shorter >= _NEARLY_ALL * longer)
        for other in np.flatnonzero(plausible & (group != group[one])).tolist():
            if other > one and (duration_agreement(albums[one], albums[other]) or 0) >= _NEARLY_ALL:
                group[group == group[other]] = group[one]
    return group.tolist()


def _same_tags(tracks: pa.Table, tags: pa.Table) -> Iterator[tuple[str, str, list[int]]]:
    found = tags.select(["artist", "title", "packet_hash"]).take(
        pc.index_in(tracks["track_id"], value_set=tags["track_id"].combine_chunks())
    )
    songs, hashes = defaultdict(list), defaultdict(list)
    for row, (artist, title, audio) in enumerate(zip(*(column.to_pylist() for column in found.columns), strict=True)):
        key = name_key(main_artist(artist or ""))
        if key and title and not is_nobody(key):
            songs[f"{key}: {name_key(title)}"].append(row)
        if audio:
            hashes[audio].append(row)
    for kind, groups in (("song", songs), ("audio", hashes)):
        for name, rows in groups.items():
            if len(rows) > 1:
                yield kind, name, rows
