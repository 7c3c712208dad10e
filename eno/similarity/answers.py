"""What a search found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, overload

import numpy as np

from eno.similarity.indexed import IndexedTracks
from eno.similarity.mixing import Query


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A track that was found.

    Attributes
    ----------
    track_id : str
        The track.
    score : float
        Cosine in the index's space, up to 1; for a search by tags, the geometric mean of their probabilities; in a
        playlist, the cosine to the track before.
    shared : tuple of str
        Tags that it has in common with the query, the surest first: those of the albums in the catalogue, or those
        that a predictor names.
    start_s, query_s : float or None
        In a search for passages, where it sounds most like the query, and which moment of the query that is like.
    artist, album, title : str or None
        What is known of it.
    year : int or None
        Of release.
    duration_s : float or None
        Length in seconds.
    """

    track_id: str
    score: float
    shared: tuple[str, ...] = ()
    start_s: float | None = None
    query_s: float | None = None
    artist: str | None = None
    album: str | None = None
    title: str | None = None
    year: int | None = None
    duration_s: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; times only where there are any."""
        values = asdict(self) | {"score": round(self.score, 4), "shared": list(self.shared)}
        return {key: value for key, value in values.items() if value is not None or key not in ("start_s", "query_s")}


@dataclass(frozen=True)
class Answer(Sequence[Neighbour]):
    """What was found, the nearest first, or in the order of a playlist.

    Attributes
    ----------
    query : str
        What was asked for.
    neighbours : tuple of Neighbour
        The answer is a sequence of them.
    notes : tuple of str
        What a person should know: why there are fewer than were asked for, and the like.
    """

    query: str
    neighbours: tuple[Neighbour, ...]
    notes: tuple[str, ...] = ()

    @overload
    def __getitem__(self, place: int) -> Neighbour: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Neighbour]: ...
    def __getitem__(self, place: int | slice) -> Neighbour | Sequence[Neighbour]:
        return self.neighbours[place]

    def __len__(self) -> int:
        return len(self.neighbours)

    def __iter__(self) -> Iterator[Neighbour]:
        return iter(self.neighbours)

    @property
    def duration_s(self) -> float:
        """Length of all that were found, as far as it is known."""
        return sum(one.duration_s or 0.0 for one in self.neighbours)


def described(tracks: IndexedTracks, query: Query, rows: np.ndarray, scores: np.ndarray) -> tuple[Neighbour, ...]:
    """Say what is known of rows that were found [shape=(m,)]."""
    windows = tracks.index.level == "windows"
    moments = query.starts_s[(tracks.index.vectors(rows) @ query.vectors.T).argmax(axis=1)] if windows else rows
    found = []
    for row, score, moment in zip(rows.tolist(), scores.tolist(), moments.tolist(), strict=True):
        fact = int(tracks.fact_rows[row])
        known = tracks.facts.row(fact) if fact >= 0 else {}
        own = tracks.tags_of(np.array([row]))
        shared = sorted((tag for tag in own if tag in query.tags), key=lambda tag: -own[tag] * query.tags[tag])
        times: dict[str, Any] = {}
        if windows:
            times = {"start_s": float(tracks.index.starts_s[row]), "query_s": float(moment)}
        told = {name: known.get(name) for name in ("artist", "album", "title", "year", "duration_s")}
        found.append(Neighbour(track_id=tracks.name(row), score=score, shared=tuple(shared), **times, **told))
    return tuple(found)
