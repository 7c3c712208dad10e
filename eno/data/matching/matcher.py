"""Tracks ↔ albums: which record of RateYourMusic a file belongs to, how sure that is, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from eno.data.matching.candidates import AlbumIndex, Candidate
from eno.data.matching.grouping import LocalGroup, group_tracks
from eno.data.matching.review import Review
from eno.data.tables import read_table, write_table

MATCH_SCHEMA = pa.schema(
    [
        ("track_id", pa.string()),
        ("file_name", pa.string()),
        ("decision", pa.string()),
        ("method", pa.string()),
        ("score", pa.float32()),
        ("reason", pa.string()),
    ]
)
"""Columns of ``matches.parquet``; DATA.md says what each one means."""

DECISIONS = ("matched", "ambiguous", "unmatched")
ACCEPTED, WORTH_A_LOOK = 0.9, 0.7
"""Scores from which a name decides, and from which it is put before the user."""
_MARGIN = 0.025
"""So much better than the next one a candidate must be: a year that fits is enough, a number of tracks is not."""


@dataclass(frozen=True)
class MatchReport:
    """How a match went. ``tracks == matched + ambiguous + unmatched``.

    Attributes
    ----------
    tracks, matched, ambiguous, unmatched : int
        Readable tracks, and what became of them.
    albums : int
        Albums that have tracks now.
    by_method : dict of str to int
        Matched tracks by what decided.
    to_review : int
        Local albums that wait for the user's decision.
    """

    tracks: int
    matched: int
    ambiguous: int
    unmatched: int
    albums: int
    by_method: dict[str, int]
    to_review: int


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
    """Find the album of every track, and write the matches and what is left to the user.

    In this order: what the user decided in the review file; MusicBrainz and Spotify ids that both sides have; the
    folder, where it is called like an album's ``file_name``; artist and title. Names decide only where artist and title
    are the same but for spelling, no other album is nearly as good, and lengths, years and numbers of tracks do not
    speak against it: a wrong match would teach wrong labels.

    Parameters
    ----------
    tracks : pyarrow.Table
        As `eno.data.library.scanning.read_tracks` gives it; tracks with a problem are passed over.
    albums : pyarrow.Table
        As `eno.data.lute.albums.read_albums` gives it.
    destination : Path
        Receives the matches.
    review_path : Path
        See `eno.data.matching.review.Review`. Its decisions are obeyed and kept; what is ambiguous is added.
    on_progress : callable, optional
        Called with the numbers of local albums done and to do.

    Returns
    -------
    MatchReport

    Raises
    ------
    CatalogueError
        The review file cannot be read or names an album that does not exist.
    """
    report_progress = on_progress or (lambda done, total: None)
    file_names = albums["file_name"].to_pylist()
    review = Review.read(review_path, known=set(file_names))
    groups = group_tracks(tracks.filter(pc.is_null(tracks["problem"])))
    folders = _folders_of_albums(file_names, albums["duplicates"].to_pylist())
    ids = _Ids(albums)
    index: AlbumIndex | None = None
    decided: list[tuple[str, _Decision]] = []
    for done, group in enumerate(groups, 1):
        decision = _decided_before(review, group) or ids.decide(group)
        laid_out = {} if decision else match_by_folder((row["track_id"] for row in group.rows), folders)
        rest = [row for row in group.rows if row["track_id"] not in laid_out]
        decided += [
            (track_id, _Decision("matched", folders[folder], "layout", 1.0, f"lies in the folder {folder}"))
            for track_id, folder in laid_out.items()
        ]
        if rest and decision is None:
            index = index or AlbumIndex(albums)
            candidates = [
                one for one in index.candidates(group.local) if not review.refused(*group.key, file_names[one.row])
            ]
            decision = decide(candidates, file_names)
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
    """Read the matches.

    Raises
    ------
    CatalogueError
        The file is missing or is something else.
    """
    return read_table(
        path, schema=MATCH_SCHEMA, needed=("track_id", "file_name", "decision"), origin="Create it with: eno match"
    )


def albums_with_tracks(albums: pa.Table, matches: pa.Table) -> pa.Table:
    """Keep the albums that have matched tracks."""
    matched = matches.filter(pc.equal(matches["decision"], "matched"))["file_name"]
    return albums.filter(pc.is_in(albums["file_name"], value_set=matched.combine_chunks()))


def match_by_folder(track_ids: Iterable[str], folders: Iterable[str]) -> dict[str, str]:
    """Give each track the album in whose folder it lies.

    The guide's layout: ``raw/audio/<file_name of the album>/<track>``, where Lute's file name may itself be
    several folders deep (``release/album/slowdive/souvlaki``). Folders below it, such as ``CD1``, belong to it too.

    Parameters
    ----------
    track_ids : iterable of str
        Paths of the tracks below the audio folder, with ``/``.
    folders : iterable of str
        Folders of albums.

    Returns
    -------
    dict of str to str
        Track id → folder; tracks outside every album's folder are left out.

    Examples
    --------
    >>> match_by_folder(["a/b/CD1/01.flac", "loose.mp3"], {"a/b", "c"})
    {'a/b/CD1/01.flac': 'a/b'}
    """
    known = folders if isinstance(folders, Mapping | set) else set(folders)
    matched = {}
    for track_id in track_ids:
        album = next((str(folder) for folder in PurePosixPath(track_id).parents if str(folder) in known), None)
        if album is not None:
            matched[track_id] = album
    return matched


def decide(candidates: list[Candidate], file_names: list[str]) -> _Decision:
    """Choose among candidates, the best first.

    Parameters
    ----------
    candidates : list of Candidate
    file_names : list of str
        Of all albums.

    Returns
    -------
    _Decision
        ``"matched"`` if the best is good and alone, ``"ambiguous"`` if one or several are worth a look.
    """
    worth = [one for one in candidates if one.score >= WORTH_A_LOOK]
    if not worth:
        return _Decision("unmatched", reason="no album of that artist and title")
    best = worth[0]
    if best.score < ACCEPTED:
        return _Decision("ambiguous", method="names", score=best.score, reason=best.reason)
    if len(worth) > 1 and best.score - worth[1].score < _MARGIN:
        rivals = ", ".join(file_names[one.row] for one in worth[:3])
        return _Decision("ambiguous", method="names", score=best.score, reason=f"several are as good: {rivals}")
    return _Decision("matched", file_names[best.row], "names", best.score, best.reason)


def _decided_before(review: Review, group: LocalGroup) -> _Decision | None:
    chosen = review.chosen(*group.key)
    return None if chosen is None else _Decision("matched", chosen, "review", 1.0, "decided by the user")


class _Ids:
    """Albums by the ids that both sides may have."""

    def __init__(self, albums: pa.Table) -> None:
        self._maps = {}
        for tag, column, method in (
            ("musicbrainz_release_group_id", "musicbrainz_release_group_id", "musicbrainz"),
            ("musicbrainz_release_id", "musicbrainz_release_id", "musicbrainz"),
            ("spotify_album_id", "spotify_id", "spotify"),
        ):
            known = albums.filter(pc.is_valid(albums[column])).select([column, "file_name"]).to_pydict()
            # An id that several albums have decides nothing.
            counts = Counter(known[column])
            self._maps[tag] = (
                method,
                {
                    id_.removeprefix("spotify:album:"): name
                    for id_, name in zip(known[column], known["file_name"], strict=True)
                    if counts[id_] == 1
                },
            )

    def decide(self, group: LocalGroup) -> _Decision | None:
        for tag, (method, album_of) in self._maps.items():
            named = {album_of.get(row[tag]) for row in group.rows if row[tag]}
            if len(named) == 1 and (name := named.pop()) is not None:
                return _Decision("matched", name, method, 1.0, f"same {tag.replace('_', ' ')}")
        return None


def _folders_of_albums(file_names: list[str], duplicates: list[list[str] | None]) -> dict[str, str]:
    folders = {copy: name for name, copies in zip(file_names, duplicates, strict=True) for copy in copies or ()}
    return folders | {name: name for name in file_names}


def _table(decided: list[tuple[str, _Decision]]) -> pa.Table:
    columns: dict[str, list[Any]] = {"track_id": [track_id for track_id, _ in decided]}
    for name in MATCH_SCHEMA.names[1:]:
        columns[name] = [getattr(decision, name) for _, decision in decided]
    return pa.Table.from_pydict(columns, schema=MATCH_SCHEMA).sort_by("track_id")
