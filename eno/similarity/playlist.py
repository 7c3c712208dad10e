"""Playlists: a walk from track to track, each near to the one before, and the files that players read."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote

import numpy as np

from eno.files import printed_file, replace_file
from eno.similarity.answers import Neighbour
from eno.similarity.groups import Groups
from eno.similarity.ranking import Limit

BREADTH = 8
"""So many of the nearest are drawn from: fewer walk in circles, more lose the thread."""
ARTIST_GAP = 3
"""So many tracks lie between two by the same artist, unless there are no others."""

Nearest = Callable[[int, int, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""``nearest(row, n, allowed)``: scores and rows of the up to `n` nearest to a row."""


def walk(
    nearest: Nearest,
    start: int,
    *,
    length_s: float,
    durations_s: np.ndarray,
    artists: Groups,
    allowed: np.ndarray,
    limits: Iterable[Limit] = (),
    seed: int = 0,
) -> list[tuple[int, float]]:
    """Walk at random from each track to one of those nearest to it.

    Parameters
    ----------
    nearest : callable
        Finds neighbours.
    start : int
        The first row.
    length_s : float
        How long it shall be. The last track is the one that brings it closest to that.
    durations_s : np.ndarray [shape=(rows,)]
        Lengths; rows without are passed over.
    artists : Groups
        Rows by the same artist, which do not follow each other.
    allowed : np.ndarray [shape=(rows,), dtype=bool]
        Rows that may be played. None is played twice.
    limits : iterable of Limit
        At most so many of a group.
    seed : int
        The same seed gives the same walk.

    Returns
    -------
    list of tuple
        Rows, and the cosine of each to the one before; 1 for the first. It ends early where nothing is left to play.
    """
    chance = np.random.default_rng(seed)
    limits = tuple(limits)
    left = allowed & np.isfinite(durations_s)
    played, total = [(start, 1.0)], float(np.nan_to_num(durations_s[start]))
    _leave_out(left, played, limits)
    while True:
        row = played[-1][0]
        recent = np.array([one for one, _ in played[-ARTIST_GAP:]])
        apart = left & ~artists.members(artists.of(recent)[0])
        scores, rows = nearest(row, BREADTH, apart if apart.any() else left)
        if len(rows) == 0:
            return played
        missing, durations = length_s - total, durations_s[rows]
        if missing <= durations.max():
            place = int(np.argmin(np.abs(missing - durations)))
            if abs(missing - durations[place]) >= abs(missing):
                return played
        else:
            place = int(chance.integers(len(rows)))
        played.append((int(rows[place]), float(scores[place])))
        total += float(durations[place])
        _leave_out(left, played, limits)


def _leave_out(left: np.ndarray, played: list[tuple[int, float]], limits: tuple[Limit, ...]) -> None:
    """Take what was played, and groups that are full, out of what is left."""
    rows = np.array([row for row, _ in played])
    left[rows[-1]] = False
    for limit in limits:
        codes, counts = np.unique(limit.groups.of(rows)[0], return_counts=True)
        if (counts >= limit.most).any():
            left &= ~limit.groups.members(codes[counts >= limit.most])


def write_m3u(path: Path, tracks: Iterable[Neighbour], audio_root: Path, *, absolute: bool = False) -> list[str]:
    """Write tracks as an extended M3U playlist in UTF-8, which players call M3U8.

    Parameters
    ----------
    path : Path
        The playlist; one that is there is replaced.
    tracks : iterable of Neighbour
        In their order.
    audio_root : Path
        The folder that track ids are relative to.
    absolute : bool
        Full paths in place of paths relative to the playlist. A file whose name no line of UTF-8 can hold is always
        given in full, as a ``file://`` address.

    Returns
    -------
    list of str
        Tracks whose file is not there; they are written all the same.
    """
    lines, missing = ["#EXTM3U"], []
    folder = path.absolute().parent
    for one in tracks:
        file = printed_file(audio_root.absolute(), one.track_id)
        if not file.exists():
            missing.append(one.track_id)
        shown = " - ".join(part for part in (one.artist, one.title) if part) or file.stem
        seconds = -1 if one.duration_s is None else round(one.duration_s)
        lines += [f"#EXTINF:{seconds},{_one_line(shown)}", _address(file, folder, absolute)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        temporary.write_bytes(("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
    return missing


def _address(file: Path, folder: Path, absolute: bool) -> str:
    name = os.path.normpath(file)
    # Cs: a byte that is no UTF-8, as Python keeps it; the others break lines.
    if any(unicodedata.category(letter) in ("Cs", "Cc", "Zl", "Zp") for letter in name):
        return "file://" + quote(os.fsencode(name))
    if absolute:
        return name
    relative = Path(os.path.relpath(name, folder)).as_posix()
    return f"./{relative}" if relative.startswith("#") or ":" in relative.split("/")[0] else relative


def _one_line(text: str) -> str:
    return " ".join(text.split())
