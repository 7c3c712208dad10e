"""Playlists: a random walk between similar tracks, and M3U files."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

from eno.files import AudioRoots, replace_file
from eno.similarity.groups import Groups
from eno.similarity.reranking import GroupLimit
from eno.similarity.search_result import Neighbour

BREADTH = 8
"""The next track is drawn from this many nearest neighbours: fewer go round in circles, more lose the thread."""
ARTIST_GAP = 3
"""Minimum number of tracks between two by the same artist, if there are any others."""

Nearest = Callable[[int, int, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""``nearest(row, n, allowed)``: scores and rows of up to `n` nearest neighbours of a row."""


def random_walk(
    nearest: Nearest,
    start: int,
    *,
    length_s: float,
    durations_s: np.ndarray,
    artists: Groups,
    allowed: np.ndarray,
    limits: Iterable[GroupLimit] = (),
    seed: int = 0,
) -> list[tuple[int, float]]:
    """Walk at random from each track to one of its nearest neighbours.

    Parameters
    ----------
    start : int
        The first row.
    length_s : float
        Wanted total duration. The last track is the one that comes closest to it.
    durations_s : np.ndarray [shape=(rows,)]
        Rows without a duration (NaN) are skipped.
    artists : Groups
        Rows by artist; see `ARTIST_GAP`.
    allowed : np.ndarray [shape=(rows,), dtype=bool]
        Rows that may be played, each once.

    Returns
    -------
    list of tuple
        Rows, and each one's cosine to the previous row (1 for the first). Ends early if nothing is left to play.
    """
    rng = np.random.default_rng(seed)
    limits = tuple(limits)
    remaining = allowed & np.isfinite(durations_s)
    played, total = [(start, 1.0)], float(np.nan_to_num(durations_s[start]))
    _exclude(remaining, played, limits)
    while True:
        row = played[-1][0]
        recent = np.array([one for one, _ in played[-ARTIST_GAP:]])
        others = remaining & ~artists.members(artists.of(recent)[0])
        scores, rows = nearest(row, BREADTH, others if others.any() else remaining)
        if len(rows) == 0:
            return played
        missing, durations = length_s - total, durations_s[rows]
        if missing <= durations.max():
            place = int(np.argmin(np.abs(missing - durations)))
            if abs(missing - durations[place]) >= abs(missing):
                return played
        else:
            place = int(rng.integers(len(rows)))
        played.append((int(rows[place]), float(scores[place])))
        total += float(durations[place])
        _exclude(remaining, played, limits)


def _exclude(remaining: np.ndarray, played: list[tuple[int, float]], limits: tuple[GroupLimit, ...]) -> None:
    """Remove the last row and all full groups from the remaining rows."""
    rows = np.array([row for row, _ in played])
    remaining[rows[-1]] = False
    for limit in limits:
        codes, counts = np.unique(limit.groups.of(rows)[0], return_counts=True)
        if (counts >= limit.most).any():
            remaining &= ~limit.groups.members(codes[counts >= limit.most])


def write_m3u(
    path: Path,
    tracks: Iterable[Neighbour],
    audio_roots: AudioRoots | Path | str | Sequence[Path | str],
    *,
    absolute: bool = False,
) -> list[str]:
    """Write an extended M3U playlist in UTF-8 (M3U8), and return the tracks whose file does not exist.

    Paths are relative to the playlist unless `absolute`. A file name that cannot be written as one line of UTF-8 always
    becomes a ``file://`` URL. Options of VLC, which others ignore, name the start and end of a section of a file.
    """
    lines, missing = ["#EXTM3U"], []
    folder, roots = path.absolute().parent, AudioRoots.of(audio_roots)
    for one in tracks:
        file = roots.file(one.track_id).absolute()
        if not file.exists():
            missing.append(one.track_id)
        shown = " - ".join(part for part in (one.artist, one.title) if part) or file.stem
        seconds = -1 if one.duration_s is None else round(one.duration_s)
        lines.append(f"#EXTINF:{seconds},{' '.join(shown.split())}")
        if section := roots.section(one.track_id):
            limits = zip(("start", "stop"), section, strict=True)
            lines += [f"#EXTVLCOPT:{name}-time={time_s:.3f}" for name, time_s in limits]
        lines.append(_address(file, folder, absolute))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        temporary.write_bytes(("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
    return missing


def _address(file: Path, folder: Path, absolute: bool) -> str:
    name = os.path.normpath(file)
    # Cs is a byte that is not UTF-8 (surrogateescape); the others may break the line.
    if any(unicodedata.category(letter) in ("Cs", "Cc", "Zl", "Zp") for letter in name):
        return "file://" + quote(os.fsencode(name))
    if absolute:
        return name
    relative = Path(os.path.relpath(name, folder)).as_posix()
    return f"./{relative}" if relative.startswith("#") or ":" in relative.split("/")[0] else relative
