"""Why a local album was matched to an album or not: the evidence for its best candidates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from eno.data.matching.deciding import Decision, decisions, known_names
from eno.data.matching.evidence import Model
from eno.data.matching.grouping import LocalGroup, group_tracks
from eno.data.matching.matcher import readable
from eno.data.matching.review import Review
from eno.errors import CatalogueError

_SHOWN = 3


@dataclass(frozen=True)
class ExplainedCandidate:
    """A listed album, its probability of being the local one, and the evidence: kind, level and weight of each."""

    file_name: str
    probability: float
    facts: dict[str, str]
    evidence: list[tuple[str, str, float]]


@dataclass(frozen=True)
class Explanation:
    """What is known about a local album, what was decided, and the best candidates."""

    folder: str
    facts: dict[str, str]
    decision: Decision
    candidates: list[ExplainedCandidate]


def explain(
    tracks: pa.Table, albums: pa.Table, path: str, review_path: Path, album_of_mbid: dict[str, str] | None = None
) -> list[Explanation]:
    """Explain the decisions about the local albums with files in the folder `path`, or with that file."""
    tracks = readable(tracks)
    place = str(PurePosixPath(path))
    within = {
        row
        for row, id_ in enumerate(tracks["track_id"].to_pylist())
        if place == "." or id_ == place or id_.startswith(f"{place}/")
    }
    groups = [group for group in group_tracks(tracks) if within.intersection(group.rows.tolist())]
    if not groups:
        raise CatalogueError(f"{path}: no scanned file has this path or is in this folder of the audio root.")
    folders = known_names(albums)
    review = Review.read(review_path, known=folders)
    review.locate(groups)
    model = Model.load()
    found = []
    for one in decisions(tracks, albums, groups, review, folders, album_of_mbid or {}):
        candidates = [
            ExplainedCandidate(
                albums["file_name"][candidate.row].as_py(), candidate.score, _listed(albums, candidate.row),
                [(kind, level, model.weight(kind, level)) for kind, level in candidate.evidence.items()],
            )
            for candidate in one.candidates[:_SHOWN]
        ]  # fmt: skip
        found.append(Explanation(one.group.folder, _local(one.group), one.decision, candidates))
    return found


def _local(group: LocalGroup) -> dict[str, str]:
    local = group.local
    return _facts(local.artist, local.title, local.year, local.tracks, local.titles, local.durations_s)


def _listed(albums: pa.Table, row: int) -> dict[str, str]:
    album: dict[str, Any] = albums.slice(row, 1).to_pylist()[0]
    tracks = [track for track in album["tracks"] or () if track]
    artists = " & ".join(one["name"] or "" for one in album["artists"] or () if one)
    titles, lengths = [track["name"] for track in tracks], [track["duration_seconds"] for track in tracks]
    return _facts(artists, album["name"], album["release_date"], len(tracks), titles, lengths)


def _facts(artist: str, title: str | None, year: Any, count: int | None, titles: Any, lengths: Any) -> dict[str, str]:
    shown = ["?" if not length else f"{int(length + 0.5) // 60}:{int(length + 0.5) % 60:02}" for length in lengths]
    named = [
        f"{name or '?'} {length}".strip() for name, length in zip(titles, shown or [""] * len(titles), strict=False)
    ]
    tracks = named or shown
    more = f", and {len(tracks) - 6} more" if len(tracks) > 6 else ""
    return {
        "artist": artist, "title": title or "", "date": str(year or ""), "tracks": str(count or ""),
        "first tracks": ", ".join(tracks[:6]) + more,
    }  # fmt: skip
