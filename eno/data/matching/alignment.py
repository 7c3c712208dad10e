"""Alignment of the tracks of local albums and listed ones: lengths in order, and titles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DURATION_TOLERANCE_S = 3.0
_PRESSING_TOLERANCE_S, _PRESSING_TOLERANCE = 10.0, 0.035  # other gaps between tracks, or another speed of a turntable
_SIDE_TOLERANCE = 0.015  # of a file that has a whole album or side
_AT_A_TIME = 1 << 21  # cells of matrices
_MOST_TRACKS = 128  # of an album; the others are left out
_STEPS = (8, 16, 24, 32, 64, _MOST_TRACKS)

# Brackets, guests and remarks after a dash do not belong to the name of a song.
_REMARKS = (
    r"[(\[][^)\]]*[)\]]|\s(?:feat|ft)\.?\s.*$"
    r"|\s[-–]\s[^-–]*\b(?:remaster(?:ed)?|version|mix|edit|live|mono|stereo|demo|bonus track)\b.*$"
)
_NOT_A_TITLE = r"^(?:audio ?track|track|titel|piste|pista|side|seite|disc|cd)?\s*[a-d]?\d*$"


@dataclass(frozen=True)
class TrackLists:
    """Tracks of many albums, one after another."""

    ends: np.ndarray  # shape=(albums + 1,); the tracks of album i are ends[i]:ends[i + 1]
    lengths_s: np.ndarray  # shape=(tracks,), 0 if unknown
    titles: np.ndarray  # shape=(tracks,), hashes of the titles, 0 if unknown
    latin: np.ndarray  # shape=(tracks,), whether the title has Latin letters

    @classmethod
    def build(cls, counts: np.ndarray, lengths_s: np.ndarray, titles: pa.Array) -> TrackLists:
        """Build the lists from the number of tracks of each album and the columns of all tracks."""
        ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        keys = title_keys(titles)
        latin = pc.match_substring_regex(keys, "[a-z]").fill_null(False).to_numpy(zero_copy_only=False)
        hashes = np.fromiter((hash(key) if key else 0 for key in keys.to_pylist()), np.int64, len(keys))
        return cls(ends, np.nan_to_num(lengths_s).astype(np.float32), hashes, latin)

    def lengths(self, album: int) -> np.ndarray:
        """Return the lengths of the tracks of an album."""
        return self.lengths_s[self.ends[album] : self.ends[album + 1]]

    def owners(self) -> np.ndarray:
        """Return the album of each track."""
        return np.repeat(np.arange(len(self.ends) - 1, dtype=np.int32), np.diff(self.ends))


class Alignment(NamedTuple):
    """What the tracks of a local album and a listed one have in common."""

    tracks: int  # of the local album
    listed_tracks: int
    lengths: int  # known ones of the local album
    listed_lengths: int
    agreeing: int  # lengths that agree, in order
    close: int  # lengths that agree or could be those of another pressing, in order
    titles: int  # known ones of the local album
    listed_titles: int
    same_title: int  # local tracks whose title is listed
    sides: bool  # whether each local file is as long as several listed tracks, and all as the album
    one_script: bool  # whether the titles are in the same script


def align(local: TrackLists, listed: TrackLists, pairs: np.ndarray) -> list[Alignment]:
    """Compare the tracks of pairs of albums [shape=(pairs, 2)]: numbers of local and listed albums."""
    sizes = np.stack([np.diff(lists.ends)[side] for lists, side in ((local, pairs[:, 0]), (listed, pairs[:, 1]))], 1)
    padded = np.minimum(np.searchsorted(_STEPS, sizes), len(_STEPS) - 1)
    counts = np.zeros((len(pairs), 7), np.int16)
    flags = np.zeros((len(pairs), 2), bool)
    for shape in np.unique(padded, axis=0):
        chosen = np.flatnonzero((padded == shape).all(axis=1))
        n, m = (_STEPS[step] for step in shape)
        for begin in range(0, len(chosen), step := max(1, _AT_A_TIME // (n * m))):
            part = chosen[begin : begin + step]
            counts[part], flags[part] = _align(local, listed, pairs[part], n, m)
    return list(map(Alignment, *sizes.T.tolist(), *counts.T.tolist(), *flags.T.tolist()))


def _align(local: TrackLists, listed: TrackLists, pairs: np.ndarray, n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    sides = ((local, pairs[:, 0], n), (listed, pairs[:, 1], m))
    a, b = (_padded(lists.ends, lists.lengths_s, albums, width) for lists, albums, width in sides)
    both = (a > 0)[:, :, None] & (b > 0)[:, None, :]
    apart = np.abs(a[:, :, None] - b[:, None, :])
    agreeing = longest_common(both & (apart <= DURATION_TOLERANCE_S))
    tolerance = np.maximum(_PRESSING_TOLERANCE_S, _PRESSING_TOLERANCE * a)[:, :, None]
    close = longest_common(both & (apart <= tolerance))
    s, t = (_padded(lists.ends, lists.titles, albums, width) for lists, albums, width in sides)
    same = ((s[:, :, None] == t[:, None, :]) & (s != 0)[:, :, None]).any(axis=2).sum(axis=1)
    latin = [
        _padded(lists.ends, lists.latin, albums, width).sum(axis=1) * 2 > (titles != 0).sum(axis=1)
        for (lists, albums, width), titles in zip(sides, (s, t), strict=True)
    ]
    tracks = [np.diff(lists.ends)[albums] for lists, albums, _ in sides]
    counts = [(a > 0).sum(1), (b > 0).sum(1), agreeing, close, (s != 0).sum(1), (t != 0).sum(1), same]
    flags = [_are_sides(a, b, *tracks), latin[0] == latin[1]]
    return np.stack(counts, axis=1), np.stack(flags, axis=1)


def _padded(ends: np.ndarray, values: np.ndarray, albums: np.ndarray, width: int) -> np.ndarray:
    """Return the values of the tracks of each album [shape=(albums, width)], then zeros."""
    at = ends[albums][:, None] + np.arange(width)
    there = at < ends[albums + 1][:, None]
    padded: np.ndarray = np.where(there, np.append(values, values.dtype.type(0))[np.minimum(at, len(values))], 0)
    return padded


def _are_sides(a: np.ndarray, b: np.ndarray, tracks: np.ndarray, listed: np.ndarray) -> np.ndarray:
    """Whether the ends of all local files, one after another, are ends of listed tracks."""
    ours, theirs = np.cumsum(a, axis=1, dtype=np.float64), np.cumsum(b, axis=1, dtype=np.float64)
    tracks, listed = np.minimum(tracks, a.shape[1]), np.minimum(listed, b.shape[1])
    whole = ((a > 0).sum(1) == tracks) & ((b > 0).sum(1) == listed) & (tracks * 2 <= listed) & (tracks > 0)
    near = np.abs(ours[:, -1] - theirs[:, -1]) <= 3 + _SIDE_TOLERANCE * theirs[:, -1]
    sides: np.ndarray = whole & near
    for pair in np.flatnonzero(sides & (tracks > 1)):
        apart = np.abs(ours[pair, : tracks[pair], None] - theirs[pair]).min(axis=1)
        sides[pair] = (apart <= 3 + _SIDE_TOLERANCE * theirs[pair, -1]).all()
    return sides


def longest_common(equal: np.ndarray) -> np.ndarray:
    """Return the length of the longest common subsequence of each pair of lists.

    Parameters
    ----------
    equal : numpy.ndarray, shape=(pairs, n, m), dtype=bool
        Which elements of both lists are equal.
    """
    best = np.zeros((len(equal), equal.shape[2] + 1), np.int16)
    for i in range(equal.shape[1]):
        longer = np.maximum(best[:, :-1] + equal[:, i], best[:, 1:])
        np.maximum.accumulate(longer, axis=1, out=best[:, 1:])
    lengths: np.ndarray = best[:, -1]
    return lengths


def duration_agreement(local_s: Sequence[float], listed_s: Sequence[float]) -> float | None:
    """Return the share of the shorter list of track lengths that occurs in the longer one, in order.

    Bonus tracks and missing tracks do not lower it. Lengths are in seconds, in track order, 0 if unknown, and may
    differ by three seconds. The result is None if a list has fewer than three known lengths.

    Examples
    --------
    >>> duration_agreement([100, 200, 300, 400], [101, 199, 50, 300])
    0.75
    """
    local, listed = (np.array([length for length in lengths if length > 0]) for lengths in (local_s, listed_s))
    if min(len(local), len(listed)) < 3:
        return None
    equal = np.abs(local[:, None] - listed) <= DURATION_TOLERANCE_S
    return int(longest_common(equal[None])[0]) / min(len(local), len(listed))


def title_keys(titles: pa.Array) -> pa.Array:
    """Return the titles of tracks as keys that are the same for most spellings; null if it is no title."""
    keys = pc.replace_substring_regex(pc.utf8_lower(titles), _REMARKS, "")
    keys = pc.if_else(pc.match_substring_regex(keys, _NOT_A_TITLE), None, keys)
    keys = pc.replace_substring_regex(pc.utf8_normalize(keys, "NFKD"), r"[^\pL\pN]", "")
    return pc.if_else(pc.equal(keys, ""), None, keys)
