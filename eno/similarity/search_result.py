"""Results of a search."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from eno.similarity.indexed import IndexedTracks
    from eno.similarity.query import Query


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A track that was found.

    Attributes
    ----------
    score : float
        Cosine in the index's space; for a search by tags, the geometric mean of their probabilities; in a playlist,
        the cosine to the previous track.
    shared : tuple of str
        Tags in common with the query, those of highest confidence first.
    start_s, query_s : float or None
        In a search for passages, the start of the best matching window, and of the query's window that it matches.
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
        """Return plain values for JSON. `start_s` and `query_s` are omitted if None."""
        values = asdict(self) | {"score": round(self.score, 4), "shared": list(self.shared)}
        return {key: value for key, value in values.items() if value is not None or key not in ("start_s", "query_s")}


@dataclass(frozen=True)
class SearchResult:
    """The tracks that a search found, best first; or a playlist in its order.

    `query` describes the query, and `notes` are remarks for the user, for instance why there are fewer results. Then
    `excluded_by` names the parameters of `eno.similarity.sounds_like.SoundsLike.nearest` that excluded the others.
    """

    query: str
    neighbours: tuple[Neighbour, ...]
    notes: tuple[str, ...] = ()
    excluded_by: tuple[str, ...] = ()

    def __getitem__(self, place: int) -> Neighbour:
        return self.neighbours[place]

    def __len__(self) -> int:
        return len(self.neighbours)

    def __iter__(self) -> Iterator[Neighbour]:
        return iter(self.neighbours)

    @property
    def duration_s(self) -> float:
        """Total duration of the tracks whose duration is known."""
        return sum(one.duration_s or 0.0 for one in self.neighbours)


def describe(tracks: IndexedTracks, query: Query, rows: np.ndarray, scores: np.ndarray) -> tuple[Neighbour, ...]:
    """Return the rows [shape=(m,)] that a search found with their metadata and the tags shared with the query."""
    import numpy as np  # not needed for results that a service sends

    windows = tracks.index.level == "windows"
    matched = query.starts_s[(tracks.index.vectors(rows) @ query.vectors.T).argmax(axis=1)] if windows else rows
    found = []
    for row, score, query_s in zip(rows.tolist(), scores.tolist(), matched.tolist(), strict=True):
        metadata = tracks.metadata.row(int(tracks.metadata_rows[row]))
        own = tracks.tags_of(np.array([row]))
        shared = sorted((tag for tag in own if tag in query.tags), key=lambda tag: -own[tag] * query.tags[tag])
        values = {name: metadata.get(name) for name in ("artist", "album", "title", "year", "duration_s")}
        if windows:
            values |= {"start_s": float(tracks.index.starts_s[row]), "query_s": float(query_s)}
        found.append(Neighbour(track_id=tracks.index.track_id(row), score=score, shared=tuple(shared), **values))
    return tuple(found)
