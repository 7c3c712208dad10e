"""Decisions about local albums: by the user, by ids, by folders, or by the evidence for the best candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.matching.candidates import AlbumIndex, Candidate
from eno.data.matching.evidence import CONTRADICTED
from eno.data.matching.grouping import LocalGroup
from eno.data.matching.ids import IdLookup
from eno.data.matching.review import Review

_ACCEPTED = 0.9  # minimum probability of a match: a wrong one is taken to be nine times as bad as a question
_ASKED = 0.1  # minimum probability of a candidate for review
_AT_A_TIME = 20_000  # local albums


@dataclass(frozen=True)
class Decision:
    """What was decided about tracks; see `MATCH_SCHEMA`."""

    decision: str
    file_name: str | None = None
    method: str | None = None
    score: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class GroupDecision:
    """A decision about rows of a local album, with the candidates if names had to decide."""

    group: LocalGroup
    rows: np.ndarray
    decision: Decision
    candidates: list[Candidate] = field(default_factory=list)


def decisions(
    tracks: pa.Table,
    albums: pa.Table,
    groups: list[LocalGroup],
    review: Review,
    folders: Mapping[str, str],
    album_of_mbid: Mapping[str, str],
) -> Iterator[GroupDecision]:
    """Yield the decisions about local albums; those in several albums' folders have one for each.

    `folders` are the `known_names` of the albums.
    """
    file_names = albums["file_name"].to_pylist()
    ids = IdLookup(albums, tracks, {mbid: folders[name] for mbid, name in album_of_mbid.items() if name in folders})
    within = _album_folders(tracks, folders)
    undecided: list[tuple[LocalGroup, np.ndarray, set[str]]] = []
    for group in groups:
        accepted = folders.get(review.accepted(group) or "")
        rejected = review.rejected(group, folders)
        if decision := _decided_by_user(accepted) if accepted else _by_id(ids, group, rejected):
            yield GroupDecision(group, group.rows, decision)
            continue
        if not within:
            undecided.append((group, group.rows, rejected))
            continue
        by_folder: dict[str | None, list[int]] = {}
        for row in group.rows.tolist():
            folder = next((one for one in within.get(row, ()) if folders[one] not in rejected), None)
            by_folder.setdefault(folder, []).append(row)
        for folder, inside in by_folder.items():
            if folder is None:
                undecided.append((group, np.array(inside), rejected))
            else:
                decision = Decision("matched", folders[folder], "layout", 1.0, f"is in the folder {folder}")
                yield GroupDecision(group, np.array(inside), decision)
    row_of = {name: row for row, name in enumerate(file_names)}
    index = AlbumIndex(albums) if undecided else None
    for begin in range(0, len(undecided), _AT_A_TIME):
        assert index is not None
        part = undecided[begin : begin + _AT_A_TIME]
        without = [{row_of[name] for name in rejected} for _, _, rejected in part]
        found = index.candidates_of([group.local for group, _, _ in part], without)
        for (group, rows, rejected), candidates in zip(part, found, strict=True):
            decision = decide(candidates, file_names)
            if rejected and decision.decision == "unmatched":
                decision = replace(decision, reason="you rejected the albums that it could be")
            yield GroupDecision(group, rows, decision, candidates)


def _album_folders(tracks: pa.Table, folders: Mapping[str, str]) -> dict[int, list[str]]:
    """Return the folders around each track that are named like an album, innermost first; leave out other tracks.

    In the guide's layout, folders are named after the ``file_name`` of their album, as ``release/album/low/hey_what``.
    """
    names = pc.replace_substring_regex(tracks["track_id"].combine_chunks(), r"(?s)/[^/]*$", "").dictionary_encode()
    around = {
        code: found
        for code, name in enumerate(names.dictionary.to_pylist())
        if (
            found := [
                one for path in (PurePosixPath(name), *PurePosixPath(name).parents) if (one := str(path)) in folders
            ]
        )
    }
    if not around:
        return {}
    return {row: around[code] for row, code in enumerate(names.indices.to_pylist()) if code in around}


def decide(candidates: list[Candidate], file_names: list[str]) -> Decision:
    """Choose among candidates, best first."""
    if not candidates:
        return Decision("unmatched", reason="no album with this artist, title or tracks")
    best = candidates[0]
    if best.score >= _ACCEPTED and not _is_contradicted(best):
        return Decision("matched", file_names[best.row], "names", best.score, best.reason)
    askable = [one for one in candidates if is_askable(one)]
    if not askable:
        reason = f"the most similar album is {file_names[best.row]}: {best.reason}"
        return Decision("unmatched", score=best.score, reason=reason)
    if len(askable) > 1 and askable[1].score > askable[0].score / 2:
        rivals = ", ".join(file_names[one.row] for one in askable[:3])
        return Decision("ambiguous", None, "names", best.score, f"several albums match equally well: {rivals}")
    return Decision("ambiguous", None, "names", best.score, askable[0].reason)


def is_askable(one: Candidate) -> bool:
    """Whether a candidate is likely enough to ask the user about it."""
    return one.score >= _ASKED and not _is_contradicted(one)


def _is_contradicted(one: Candidate) -> bool:
    """Whether the lengths of the tracks are those of another recording, however well names agree."""
    return one.evidence.get("lengths") in CONTRADICTED


def _by_id(ids: IdLookup, group: LocalGroup, rejected: set[str]) -> Decision | None:
    if (found := ids.find(group.rows, rejected)) is None:
        return None
    name, method, reason = found
    return Decision("matched", name, method, 1.0, reason)


def _decided_by_user(album: str) -> Decision:
    return Decision("matched", album, "review", 1.0, "decided by the user")


def known_names(albums: pa.Table) -> dict[str, str]:
    """Map the ``file_name`` of every album and of its duplicates to the album."""
    file_names = albums["file_name"].to_pylist()
    copies = zip(file_names, albums["duplicates"].to_pylist(), strict=True)
    return {copy: name for name, those in copies for copy in those or ()} | {name: name for name in file_names}
