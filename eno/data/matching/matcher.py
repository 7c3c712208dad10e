"""Matching of audio files to the albums of the catalogue."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from eno.data.matching.candidates import AlbumIndex, Candidate
from eno.data.matching.grouping import LocalGroup, group_tracks
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
_ACCEPTED, _REVIEWED = 0.9, 0.7  # minimum scores of a match by name, and of a candidate for review
_MARGIN = 0.025  # minimum lead over the next candidate: the right year suffices, the right number of tracks does not


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
class _Decision:
    decision: str
    file_name: str | None = None
    method: str | None = None
    score: float = 0.0
    reason: str = ""


def match(
    tracks: pa.Table,
    albums: pa.Table,
    destination: Path,
    review_path: Path,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> MatchReport:
    """Find the album of every track, and write the matches and the review file.

    An album that the user rejected for these files is never chosen. Evidence is used in this order: the user's
    decisions in the review file; MusicBrainz and Spotify ids; a folder named like the ``file_name`` of an album;
    artist and title. Since a wrong match means training on wrong labels, artist and title must be the same except for
    spelling, no other album may score nearly as high, and track lengths, years and track counts must not contradict.

    Parameters
    ----------
    tracks : pyarrow.Table
        From `eno.data.library.scanning.read_tracks`; unreadable files are skipped.
    destination : Path
        The table of matches to write.
    review_path : Path
        Its decisions are followed and kept, and ambiguous albums are added; see `eno.data.matching.review.Review`.
    on_progress : callable, optional
        Receives the number of local albums done and of all local albums.
    """
    report_progress = on_progress or (lambda done, total: None)
    file_names = albums["file_name"].to_pylist()
    folders = _folders_of_albums(file_names, albums["duplicates"].to_pylist())
    review = Review.read(review_path, known=folders)
    groups = group_tracks(tracks.filter(pc.is_null(tracks["problem"])))
    _warn_of_lost_decisions(review_path, review.without_files(group.key for group in groups))
    ids = _Ids(albums)
    index: AlbumIndex | None = None
    decided: list[tuple[str, _Decision]] = []
    for done, group in enumerate(groups, 1):
        accepted = folders.get(review.accepted(*group.key) or "")
        rejected = {folders[one] for one in review.rejected(*group.key) if one in folders}
        decision = _decided_by_user(accepted) if accepted else ids.decide(group, rejected)
        track_ids = [] if decision else [row["track_id"] for row in group.rows]
        by_folder = match_by_folder(track_ids, folders, rejected=rejected)
        rest = [row for row in group.rows if row["track_id"] not in by_folder]
        decided += [
            (track_id, _Decision("matched", folders[folder], "layout", 1.0, f"is in the folder {folder}"))
            for track_id, folder in by_folder.items()
        ]
        if rest and decision is None:
            index = index or AlbumIndex(albums)
            candidates = [one for one in index.candidates(group.local) if file_names[one.row] not in rejected]
            decision = decide(candidates, file_names)
            if rejected and decision.decision == "unmatched":
                decision = replace(decision, reason="you rejected the albums that it could be")
            if decision.decision == "ambiguous":
                review.ask(*group.key, group.local, candidates[:5], albums)
        decided += [(row["track_id"], decision) for row in rest if decision is not None]
        report_progress(done, len(groups))
    table = _table(decided)
    write_table(destination, table)
    review.write(review_path)
    counts = Counter(table["decision"].to_pylist())
    return MatchReport(
        tracks=len(table),
        **{name: counts[name] for name in DECISIONS},
        albums=len(table["file_name"].unique().drop_null()),
        by_method=dict(Counter(one for one in table["method"].to_pylist() if one is not None).most_common()),
        to_review=review.asked,
    )


def read_matches(path: Path) -> pa.Table:
    """Read the table of matches, with the columns of `MATCH_SCHEMA`."""
    needed = ("track_id", "file_name", "decision")
    return read_table(path, schema=MATCH_SCHEMA, needed=needed, origin="Create it with: eno match")


def albums_with_tracks(albums: pa.Table, matches: pa.Table) -> pa.Table:
    """Return the albums that have matched tracks."""
    matched = matches.filter(pc.equal(matches["decision"], "matched"))["file_name"]
    return albums.filter(pc.is_in(albums["file_name"], value_set=matched.combine_chunks()))


def match_by_folder(
    track_ids: Iterable[str], folders: Iterable[str], *, rejected: Collection[str] = ()
) -> dict[str, str]:
    """Map each track to the innermost of the given folders that contains it; omit tracks outside all of them.

    If `folders` maps folders to albums, those of `rejected` albums do not count.

    In the guide's layout, folders are named after the ``file_name`` of their album, as ``release/album/low/hey_what``.

    Examples
    --------
    >>> match_by_folder(["a/b/CD1/01.flac", "loose.mp3"], {"a/b", "c"})
    {'a/b/CD1/01.flac': 'a/b'}
    """
    album_of = folders if isinstance(folders, Mapping) else {folder: folder for folder in folders}
    matched = {}
    for track_id in track_ids:
        parents = map(str, PurePosixPath(track_id).parents)
        found = next((one for one in parents if one in album_of and album_of[one] not in rejected), None)
        if found is not None:
            matched[track_id] = found
    return matched


def decide(candidates: list[Candidate], file_names: list[str]) -> _Decision:
    """Choose among candidates, best first."""
    plausible = [one for one in candidates if one.score >= _REVIEWED]
    if not plausible:
        return _Decision("unmatched", reason="no album with this artist and title")
    best = plausible[0]
    if best.score < _ACCEPTED:
        return _Decision("ambiguous", method="names", score=best.score, reason=best.reason)
    if len(plausible) > 1 and best.score - plausible[1].score < _MARGIN:
        rivals = ", ".join(file_names[one.row] for one in plausible[:3])
        reason = f"several albums match equally well: {rivals}"
        return _Decision("ambiguous", method="names", score=best.score, reason=reason)
    return _Decision("matched", file_names[best.row], "names", best.score, best.reason)


class _Ids:
    """Lookup of albums by MusicBrainz and Spotify ids."""

    def __init__(self, albums: pa.Table) -> None:
        self._maps = {}
        for tag, column, method in (
            ("musicbrainz_release_group_id", "musicbrainz_release_group_id", "musicbrainz"),
            ("musicbrainz_release_id", "musicbrainz_release_id", "musicbrainz"),
            ("spotify_album_id", "spotify_id", "spotify"),
        ):
            known = albums.filter(pc.is_valid(albums[column])).select([column, "file_name"]).to_pydict()
            counts = Counter(known[column])
            album_of = {
                id_.removeprefix("spotify:album:"): name
                for id_, name in zip(known[column], known["file_name"], strict=True)
                if counts[id_] == 1  # an id of several albums is ambiguous
            }
            self._maps[tag] = (method, album_of)

    def decide(self, group: LocalGroup, rejected: set[str]) -> _Decision | None:
        for tag, (method, album_of) in self._maps.items():
            named = {album_of.get(row[tag]) for row in group.rows if row[tag]} - rejected
            if len(named) == 1 and (name := named.pop()) is not None:
                return _Decision("matched", name, method, 1.0, f"same {tag.replace('_', ' ')}")
        return None


def _decided_by_user(album: str) -> _Decision:
    return _Decision("matched", album, "review", 1.0, "decided by the user")


def _warn_of_lost_decisions(path: Path, lost: list[tuple[str, str]]) -> None:
    if lost:
        logger.warning(
            "%s: %d of the albums that you decided about have no files here, for example album %r in the folder %r. "
            "Were they renamed or removed, or did a spreadsheet change the names?",
            printable(path), len(lost), lost[0][1], lost[0][0],
        )  # fmt: skip


def _folders_of_albums(file_names: list[str], duplicates: list[list[str] | None]) -> dict[str, str]:
    folders = {copy: name for name, copies in zip(file_names, duplicates, strict=True) for copy in copies or ()}
    return folders | {name: name for name in file_names}


def _table(decided: list[tuple[str, _Decision]]) -> pa.Table:
    columns: dict[str, list[Any]] = {"track_id": [track_id for track_id, _ in decided]}
    for name in MATCH_SCHEMA.names[1:]:
        columns[name] = [getattr(decision, name) for _, decision in decided]
    return pa.Table.from_pydict(columns, schema=MATCH_SCHEMA).sort_by("track_id")
