"""Matching of audio files to the albums of the catalogue."""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.matching.candidates import AlbumIndex, Candidate
from eno.data.matching.evidence import CONTRADICTED
from eno.data.matching.grouping import LocalGroup, group_tracks
from eno.data.matching.ids import IdLookup
from eno.data.matching.review import Review
from eno.data.tables import read_table, write_table
from eno.files import printable

logger = logging.getLogger(__name__)

MATCH_SCHEMA = pa.schema([
    ("track_id", pa.string()), ("file_name", pa.string()), ("decision", pa.string()), ("method", pa.string()),
    ("score", pa.float32()), ("reason", pa.string()),
])  # fmt: skip
"""Columns of ``matches.parquet``; DATA.md describes them."""

DECISIONS = ("matched", "ambiguous", "unmatched")
_ACCEPTED = 0.9  # minimum probability of a match: a wrong one is taken to be nine times as bad as a question
_ASKED = 0.1  # minimum probability of a candidate for review
_AT_A_TIME = 20_000  # local albums


@dataclass(frozen=True)
class MatchReport:
    """Counts of a match. ``tracks == matched + ambiguous + unmatched``."""

    tracks: int
    matched: int
    ambiguous: int
    unmatched: int
    albums: int  # with matched tracks
    by_method: dict[str, int]  # matched tracks
    to_review: int  # ambiguous local albums


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


def match(
    tracks: pa.Table,
    albums: pa.Table,
    destination: Path,
    review_path: Path,
    *,
    album_of_mbid: Mapping[str, str] | None = None,
    imported: Mapping[str, str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> MatchReport:
    """Find the album of every track, and write the matches and the review file.

    An album that the user rejected for these files is never chosen. Evidence is used in this order: the user's
    decisions in the review file; MusicBrainz and Spotify ids; a folder named like the ``file_name`` of an album;
    artist, title and tracks, weighed as `eno.data.matching.evidence` describes. Since a wrong match means training on
    wrong labels, the best candidate must very probably be right.

    Parameters
    ----------
    tracks : pyarrow.Table
        From `eno.data.library.scanning.read_tracks`; unreadable files are skipped.
    destination : Path
        The table of matches to write.
    review_path : Path
        Its decisions are followed and kept, and ambiguous albums are added; see `eno.data.matching.review.Review`.
    album_of_mbid : mapping, optional
        From ids of MusicBrainz releases and release groups to the ``file_name`` of albums; see
        `eno.data.matching.ids.read_mbids`.
    imported : mapping of str to str, optional
        From track ids to the ``file_name`` of albums that were imported with the files. These albums are for tracks
        that nothing else decides about.
    on_progress : callable, optional
        Receives the number of tracks done and of all tracks.
    """
    report_progress = on_progress or (lambda done, total: None)
    tracks = readable(tracks)
    groups = group_tracks(tracks)
    imported = imported or {}
    albums = without_imported(albums, imported)
    folders = known_names(albums)
    review = Review.read(review_path, known=folders)
    review.locate(groups)
    _warn_of_lost_decisions(review_path, review.without_files(groups))
    decided: list[tuple[np.ndarray, Decision]] = []
    done = 0
    with _without_garbage_collection():
        for one in decisions(tracks, albums, groups, review, folders, album_of_mbid or {}):
            decided.append((one.rows, one.decision))
            if one.decision.decision == "ambiguous":
                review.ask(one.group, [found for found in one.candidates if _is_askable(found)][:5], albums)
            done += len(one.rows)
            report_progress(done, len(tracks))
    table = _table(tracks, _with_imported(tracks, decided, imported))
    write_table(destination, table)
    review.add_answers(Review.read(review_path, known=folders))
    review.write(review_path)
    counts = Counter(table["decision"].to_pylist())
    return MatchReport(
        tracks=len(table),
        **{name: counts[name] for name in DECISIONS},
        albums=len(table["file_name"].unique().drop_null()),
        by_method=dict(Counter(one for one in table["method"].to_pylist() if one is not None).most_common()),
        to_review=review.asked,
    )


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Save the searches for cycles among millions of small objects that have none: a quarter of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def without_imported(albums: pa.Table, imported: Mapping[str, str]) -> pa.Table:
    """Return the albums without those that were imported with their files, which need not be searched for."""
    those = pa.array(sorted(set(imported.values())), pa.string())
    return albums.filter(pc.invert(pc.is_in(albums["file_name"], value_set=those)))


def _with_imported(
    tracks: pa.Table, decided: list[tuple[np.ndarray, Decision]], imported: Mapping[str, str]
) -> list[tuple[np.ndarray, Decision]]:
    """Give tracks without a match the album that was imported with their files."""
    if not imported:
        return decided
    ids, result = tracks["track_id"].to_pylist(), []
    for rows, decision in decided:
        by_album: dict[str | None, list[int]] = {}
        for row in rows.tolist():
            album = None if decision.decision == "matched" else imported.get(ids[row])
            by_album.setdefault(album, []).append(row)
        for album, own in by_album.items():
            found = Decision("matched", album, "import", 1.0, "its labels were imported with the file")
            result.append((np.array(own), decision if album is None else found))
    return result


def readable(tracks: pa.Table) -> pa.Table:
    """Return the tracks whose files could be read."""
    return tracks.filter(pc.is_null(tracks["problem"]))


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


def read_matches(path: Path) -> pa.Table:
    """Read the table of matches, with the columns of `MATCH_SCHEMA`."""
    needed = ("track_id", "file_name", "decision")
    return read_table(path, schema=MATCH_SCHEMA, needed=needed, origin="Create it with: eno match")


def albums_with_tracks(albums: pa.Table, matches: pa.Table) -> pa.Table:
    """Return the albums that have matched tracks."""
    matched = matches.filter(pc.equal(matches["decision"], "matched"))["file_name"]
    return albums.filter(pc.is_in(albums["file_name"], value_set=matched.combine_chunks()))


def decide(candidates: list[Candidate], file_names: list[str]) -> Decision:
    """Choose among candidates, best first."""
    if not candidates:
        return Decision("unmatched", reason="no album with this artist, title or tracks")
    best = candidates[0]
    if best.score >= _ACCEPTED and not _is_contradicted(best):
        return Decision("matched", file_names[best.row], "names", best.score, best.reason)
    askable = [one for one in candidates if _is_askable(one)]
    if not askable:
        reason = f"the most similar album is {file_names[best.row]}: {best.reason}"
        return Decision("unmatched", score=best.score, reason=reason)
    if len(askable) > 1 and askable[1].score > askable[0].score / 2:
        rivals = ", ".join(file_names[one.row] for one in askable[:3])
        return Decision("ambiguous", None, "names", best.score, f"several albums match equally well: {rivals}")
    return Decision("ambiguous", None, "names", best.score, askable[0].reason)


def _is_askable(one: Candidate) -> bool:
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


def _warn_of_lost_decisions(path: Path, lost: list[tuple[str, str]]) -> None:
    if lost:
        logger.warning(
            "%s: %d of the albums that you decided about have no files here, for example album %r in the folder %r. "
            "Were they removed, or did a spreadsheet change the names?",
            printable(path), len(lost), lost[0][1], lost[0][0],
        )  # fmt: skip


def known_names(albums: pa.Table) -> dict[str, str]:
    """Map the ``file_name`` of every album and of its duplicates to the album."""
    file_names = albums["file_name"].to_pylist()
    copies = zip(file_names, albums["duplicates"].to_pylist(), strict=True)
    return {copy: name for name, those in copies for copy in those or ()} | {name: name for name in file_names}


def _table(tracks: pa.Table, decided: list[tuple[np.ndarray, Decision]]) -> pa.Table:
    rows = np.concatenate([np.zeros(0, np.int64), *(rows for rows, _ in decided)])
    owner = pa.array(np.repeat(np.arange(len(decided)), [len(rows) for rows, _ in decided]).astype(np.int64))
    columns = [
        pa.array([getattr(one, kind.name) for _, one in decided], kind.type).take(owner)
        for kind in list(MATCH_SCHEMA)[1:]
    ]
    ids = tracks["track_id"].combine_chunks().take(pa.array(rows))
    return pa.Table.from_arrays([ids, *columns], schema=MATCH_SCHEMA).sort_by("track_id")
