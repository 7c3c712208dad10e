"""Confirm candidates as copies of each other, and group the files of a recording."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, reverse_cuthill_mckee

from eno.duplicates.audio_reader import AudioReader
from eno.duplicates.quality import Quality, by_quality
from eno.duplicates.recordings import MIN_OVERLAP, Likeness, Recording, compare

SAME, DIFFERENT, UNCONFIRMED = "same", "different", "unconfirmed"
"""Decisions about a pair."""

OnStage = Callable[[str, int, int], None]
"""Progress callback: called with the stage, the number done, and the total."""

_PAIRS_AT_ONCE, _TRACKS_AT_ONCE = 256, 32


@dataclass(frozen=True)
class Pair:
    """Two tracks that are candidates: the cosine of their embeddings, and the result of comparing their audio."""

    first: str
    second: str
    cosine: float
    likeness: Likeness

    @property
    def decision(self) -> str:
        """`SAME`, `DIFFERENT`, or `UNCONFIRMED`."""
        return {True: SAME, False: DIFFERENT, None: UNCONFIRMED}[self.likeness.same]


@dataclass(frozen=True)
class Member:
    """One file of a group.

    Attributes
    ----------
    behind : str
        In what respect it is worse than the file to keep; empty for that file.
    pair : Pair or None
        Its comparison with the file to keep.
    """

    track_id: str
    quality: Quality
    behind: str
    pair: Pair | None


def why_kept(group: Sequence[Member]) -> str:
    """Explain why the first file of a group is the one to keep."""
    behind = group[1].behind
    return f"the next best: {behind}" if behind else "all are equally good"


def confirm(names: np.ndarray, cosines: np.ndarray, reader: AudioReader, report: OnStage) -> list[Pair]:
    """Compare the audio of candidates, unless their durations already differ too much.

    `names` holds pairs of track ids [shape=(m, 2)], and `cosines` their similarity. Pairs are returned sorted by id.
    """
    durations = reader.durations(np.unique(names.ravel()).tolist(), report)
    pairs: list[tuple[str, str]] = [(first, second) for first, second in np.sort(names, axis=1).tolist()]
    cosine_of = dict(zip(pairs, cosines.tolist(), strict=True))
    decided = {pair: early for pair in pairs if (early := _by_duration(pair, durations, reader)) is not None}
    open_pairs = _neighbours_together([pair for pair in pairs if pair not in decided])
    for done, (pair, likeness) in enumerate(_compared(open_pairs, reader), 1):
        decided[pair] = likeness
        report("comparing", done, len(open_pairs))
    return [Pair(*pair, cosine_of[pair], decided[pair]) for pair in sorted(pairs)]


def _by_duration(pair: tuple[str, str], durations: dict[str, float | None], reader: AudioReader) -> Likeness | None:
    """Return what can be decided without comparing the audio."""
    lengths = [durations.get(track_id) for track_id in pair]
    known = [length for length in lengths if length is not None]
    if len(known) == 2 and min(known) < MIN_OVERLAP * max(known):
        return Likeness(False, f"durations of {known[0]:.0f} and {known[1]:.0f} s")
    if reader.audio_roots is None:
        return Likeness(None, "audio not compared: no audio folder was specified")
    return None


def _compared(pairs: Sequence[tuple[str, str]], reader: AudioReader) -> Iterator[tuple[tuple[str, str], Likeness]]:
    for batch in _batches(pairs):
        recordings = reader.recordings(sorted({track_id for pair in batch for track_id in pair}))

        def compare_pair(pair: tuple[str, str], recordings: dict[str, Recording] = recordings) -> Likeness:
            missing = [track_id for track_id in pair if track_id not in recordings]
            if missing:
                return Likeness(None, f"{missing[0]}: {reader.problems[missing[0]]}")
            return compare(recordings[pair[0]], recordings[pair[1]])

        yield from zip(batch, reader.pool.map(compare_pair, batch), strict=True)


def _batches(pairs: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Split pairs into runs that need only a few files at a time."""
    batch: list[tuple[str, str]] = []
    tracks: set[str] = set()
    for pair in pairs:
        if batch and (len(tracks.union(pair)) > _TRACKS_AT_ONCE or len(batch) == _PAIRS_AT_ONCE):
            yield batch
            batch, tracks = [], set()
        batch.append(pair)
        tracks.update(pair)
    if batch:
        yield batch


def _neighbours_together(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Order pairs so that those with the same tracks are adjacent and files are rarely decoded twice."""
    if not pairs:
        return []
    ids, graph = _graph(pairs)
    place_of = dict(
        zip(ids[reverse_cuthill_mckee(graph.tocsr(), symmetric_mode=True)].tolist(), range(len(ids)), strict=True)
    )
    return sorted(pairs, key=lambda pair: sorted(place_of[track_id] for track_id in pair))


def _components(pairs: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Return the connected components of tracks, each sorted by id; the largest first."""
    if not pairs:
        return []
    ids, graph = _graph(pairs)
    _, numbers = connected_components(graph, directed=False)
    order = np.argsort(numbers, kind="stable")
    parts = np.split(ids[order], np.flatnonzero(np.diff(numbers[order])) + 1)
    return sorted((part.tolist() for part in parts), key=lambda part: (-len(part), part))


def _graph(pairs: Sequence[tuple[str, str]]) -> tuple[np.ndarray, coo_array]:
    """Return the sorted track ids, and the symmetric adjacency matrix of the pairs."""
    ids, places = np.unique(np.array(pairs, object).ravel(), return_inverse=True)
    first, second = places.reshape(-1, 2).T
    ends = np.concatenate([first, second]), np.concatenate([second, first])
    return ids, coo_array((np.ones(2 * len(pairs), np.int8), ends), shape=(len(ids), len(ids)))


def make_groups(
    pairs: Sequence[Pair], reader: AudioReader, cosine: Callable[[str, str], float], report: OnStage
) -> tuple[list[list[Member]], list[Pair]]:
    """Group confirmed pairs so that every file is the same recording as the file to keep.

    `cosine` returns the cosine of the embeddings of two tracks.

    Returns
    -------
    groups : list of list of Member
        The file to keep comes first; the largest group first.
    later : list of Pair
        Pairs that were not candidates, but were compared for grouping.
    """
    pair_of = {(pair.first, pair.second): pair for pair in pairs}
    known = set(pair_of)
    waiting = _components([key for key, pair in pair_of.items() if pair.likeness.same])
    total, groups = sum(map(len, waiting)), []
    while waiting:
        tracks = waiting.pop()
        qualities = reader.qualities(tracks)
        behind = by_quality(qualities) if qualities else {}
        order = list(behind)
        keys = [(min(order[0], other), max(order[0], other)) for other in order[1:]]
        for key, likeness in _compared([key for key in keys if key not in pair_of], reader):
            pair_of[key] = Pair(*key, cosine(*key), likeness)
        links = {other: pair_of[key] for other, key in zip(order[1:], keys, strict=True)}
        same = [other for other, pair in links.items() if pair.likeness.same]
        if same:
            members = [Member(one, qualities[one], behind[one], links.get(one)) for one in (order[0], *same)]
            groups.append(members)
        rest = set(order[1:]).difference(same)  # connected only through others: they may form a group of their own
        waiting += _components([key for key, pair in pair_of.items() if pair.likeness.same and rest.issuperset(key)])
        report("grouping", total - sum(map(len, waiting)), total)
    later = [pair for key, pair in sorted(pair_of.items()) if key not in known]
    return sorted(groups, key=lambda group: (-len(group), group[0].track_id)), later
