"""Matching of audio files to the albums of the catalogue."""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.matching.deciding import Decision, decisions, is_askable, known_names
from eno.data.matching.grouping import group_tracks
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
                review.ask(one.group, [found for found in one.candidates if is_askable(found)][:5], albums)
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


def read_matches(path: Path) -> pa.Table:
    """Read the table of matches, with the columns of `MATCH_SCHEMA`."""
    needed = ("track_id", "file_name", "decision")
    return read_table(path, schema=MATCH_SCHEMA, needed=needed, origin="Create it with: eno match")


def albums_with_tracks(albums: pa.Table, matches: pa.Table) -> pa.Table:
    """Return the albums that have matched tracks."""
    matched = matches.filter(pc.equal(matches["decision"], "matched"))["file_name"]
    return albums.filter(pc.is_in(albums["file_name"], value_set=matched.combine_chunks()))


def _warn_of_lost_decisions(path: Path, lost: list[tuple[str, str]]) -> None:
    if lost:
        logger.warning(
            "%s: %d of the albums that you decided about have no files here, for example album %r in the folder %r. "
            "Were they removed, or did a spreadsheet change the names?",
            printable(path), len(lost), lost[0][1], lost[0][0],
        )  # fmt: skip


def _table(tracks: pa.Table, decided: list[tuple[np.ndarray, Decision]]) -> pa.Table:
    rows = np.concatenate([np.zeros(0, np.int64), *(rows for rows, _ in decided)])
    owner = pa.array(np.repeat(np.arange(len(decided)), [len(rows) for rows, _ in decided]).astype(np.int64))
    columns = [
        pa.array([getattr(one, kind.name) for _, one in decided], kind.type).take(owner)
        for kind in list(MATCH_SCHEMA)[1:]
    ]
    ids = tracks["track_id"].combine_chunks().take(pa.array(rows))
    return pa.Table.from_arrays([ids, *columns], schema=MATCH_SCHEMA).sort_by("track_id")
