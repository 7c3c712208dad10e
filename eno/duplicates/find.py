"""Find files of the same recording.

Similar embeddings only make two tracks candidates, since tracks of one album can be as similar as copies. Candidates
are decoded and compared by `eno.duplicates.recordings`. In a group of confirmed pairs every file was compared with the
one to keep: if A matches B and B matches C, A need not match C.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.cores import usable_cores
from eno.duplicates.audio_reader import AudioReader
from eno.duplicates.copies import Member, OnStage, Pair, confirm, make_groups, why_kept
from eno.files import AudioRoots
from eno.similarity.index.index import SimilarityIndex

NEIGHBOURS, MIN_COSINE = 20, 0.7
"""Number of nearest neighbours of a track that are candidates, and the cosine they must reach."""

NEAREST = 5
"""Number of neighbours that are candidates at any cosine: the embedding of a quieter or padded copy may be far away."""

_QUERIES = 1024


@dataclass(frozen=True)
class Duplicates:
    """Result of `find_duplicates`.

    Attributes
    ----------
    tracks : int
        Number of tracks examined.
    groups : list of list of Member
        Files of one recording, the one to keep first; the largest group first.
    pairs : list of Pair
        All candidates.
    problems : dict of str to str
        Unreadable tracks, and why.
    """

    tracks: int
    groups: list[list[Member]] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)

    def count(self, decision: str) -> int:
        """Count the pairs with a decision."""
        return sum(pair.decision == decision for pair in self.pairs)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per pair, for tables. ``group`` counts from 1; None for a pair outside any group."""
        group_of = {member.track_id: number for number, group in enumerate(self.groups, 1) for member in group}
        keepers = {group[0].track_id for group in self.groups}
        rows = []
        for pair in self.pairs:
            group = group_of.get(pair.first)
            together = pair.likeness.same is True and group is not None and group == group_of.get(pair.second)
            keep = [one for one in (pair.first, pair.second) if together and one in keepers]
            compared = {name: _rounded(value) for name, value in asdict(pair.likeness).items() if name != "same"}
            rows.append(
                {"group": group if together else None, "first": pair.first, "second": pair.second}
                | {"decision": pair.decision, "keep": keep[0] if keep else None}
                | {"cosine": _rounded(pair.cosine), "score": _rounded(pair.likeness.score)}
                | compared
            )
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        groups = []
        for group in self.groups:
            files = [
                {"track_id": member.track_id, "behind": member.behind}
                | ({} if member.pair is None else {"offset_s": _rounded(_offset_from(group[0], member.pair))})
                | {name: _rounded(value) for name, value in asdict(member.quality).items()}
                for member in group
            ]
            groups.append({"keep": group[0].track_id, "reason": why_kept(group), "files": files})
        return {"tracks": self.tracks, "groups": groups, "pairs": self.rows(), "problems": self.problems}


def _offset_from(keeper: Member, pair: Pair) -> float | None:
    offset_s = pair.likeness.offset_s
    return offset_s if offset_s is None or pair.first == keeper.track_id else -offset_s


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def find_duplicates(
    index: SimilarityIndex,
    *,
    audio_roots: AudioRoots | Path | str | Sequence[Path | str] | None = None,
    tracks: pa.Table | None = None,
    neighbours: int = NEIGHBOURS,
    min_cosine: float = MIN_COSINE,
    nearest: int = NEAREST,
    workers: int | None = None,
    on_progress: OnStage | None = None,
) -> Duplicates:
    """Find files of the same recording. Nothing is changed or deleted.

    Parameters
    ----------
    index : SimilarityIndex
        An index of tracks.
    audio_roots : AudioRoots, Path, str or a sequence of these, optional
        Without audio, and for unreadable files, candidates remain unconfirmed.
    tracks : pa.Table, optional
        Rows of ``tracks.parquet``, to avoid reading durations and tags from files.
    neighbours, min_cosine
        That many nearest neighbours of each track are candidates if they reach this cosine.
    nearest : int
        That many are candidates at any cosine. With 0, fewer files are decoded and fewer copies found.
    """
    report = on_progress or (lambda stage, done, total: None)
    roots = None if audio_roots is None else AudioRoots.of(audio_roots)
    rows, cosines = likely_pairs(
        index, neighbours=neighbours, min_cosine=min_cosine, nearest=nearest, on_progress=report
    )
    with ThreadPoolExecutor(workers or usable_cores(), thread_name_prefix="duplicates") as pool:
        try:
            names = index.ids[rows]
            reader = AudioReader(roots, pool, known=_known(np.unique(names.ravel()), tracks))
            pairs = confirm(names, cosines, reader, report)
            groups, later = make_groups(pairs, reader, _cosine_of(index), report)
        finally:
            pool.shutdown(cancel_futures=True)  # so that an error or Ctrl-C does not wait for pending work
    problems = dict(sorted(reader.problems.items()))
    return Duplicates(int(np.count_nonzero(index.live)), groups, pairs + later, problems)


def likely_pairs(
    index: SimilarityIndex,
    *,
    neighbours: int = NEIGHBOURS,
    min_cosine: float = MIN_COSINE,
    nearest: int = NEAREST,
    on_progress: OnStage | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return distinct pairs of rows with similar embeddings, and their cosines; parameters as in `find_duplicates`.

    Rows have [shape=(m, 2)], the smaller one first.
    """
    report = on_progress or (lambda stage, done, total: None)
    queries = np.flatnonzero(index.live)
    found_rows, found_cosines = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.float32)]
    for begin in range(0, len(queries), _QUERIES):
        batch = queries[begin : begin + _QUERIES]
        cosines, rows = index.search(index.vectors(batch), max(neighbours, nearest) + 1)  # and the track itself
        others = (rows >= 0) & (rows != batch[:, None])
        rank = np.cumsum(others, axis=1)
        near = others & ((cosines >= min_cosine) & (rank <= neighbours) | (rank <= nearest))
        pairs = np.column_stack([np.repeat(batch, near.sum(axis=1)), rows[near]])
        found_rows.append(np.sort(pairs, axis=1))
        found_cosines.append(cosines[near])
        report("searching", min(begin + _QUERIES, len(queries)), len(queries))
    pairs = np.concatenate(found_rows)
    _, first = np.unique(pairs[:, 0] * len(index.live) + pairs[:, 1], return_index=True)
    return pairs[first], np.concatenate(found_cosines)[first]


def _known(ids: np.ndarray, tracks: pa.Table | None) -> dict[str, dict[str, Any]]:
    """Return the rows of these tracks by id, without unreadable ones."""
    if tracks is None:
        return {}
    wanted = pc.is_in(tracks["track_id"], pa.array(ids, pa.string()))
    return {row["track_id"]: row for row in tracks.filter(wanted).to_pylist() if not row["problem"]}


def _cosine_of(index: SimilarityIndex) -> Callable[[str, str], float]:
    def cosine(first: str, second: str) -> float:
        vectors = index.vectors(np.concatenate([index.rows_of(first), index.rows_of(second)]))
        return float(vectors[0] @ vectors[1])

    return cosine
