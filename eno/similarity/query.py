"""Queries, and their combination: more like some, less like others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from eno.errors import ConfigError, SimilarityError

MINUS_WEIGHT = 0.5
"""Weight of what is subtracted. With 1, results are mainly unlike the subtracted query."""

NOTHING = 1e-3
"""Shorter vectors are taken to have no direction."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """What to search for.

    Attributes
    ----------
    name : str
        Description for people.
    vectors : np.ndarray [shape=(n, dim), dtype=float32]
        Unit vectors in the index's space. The score of a row is its highest cosine to any of them.
    starts_s : np.ndarray [shape=(n,)]
        Start of each vector's window in seconds; 0 if that has no meaning.
    track_ids : tuple of str
        Tracks that the query is made of. They are excluded from its results.
    tags : dict of str to float
        The query's tags and their confidence.
    scores : np.ndarray, optional [shape=(rows,)]
        Scores of all rows of the index, instead of vectors.
    notes : tuple of str
        Remarks to show to the user.
    """

    name: str
    vectors: np.ndarray
    starts_s: np.ndarray
    track_ids: tuple[str, ...] = ()
    tags: dict[str, float] = field(default_factory=dict)
    scores: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def combine(plus: Sequence[Query], minus: Sequence[Query] = ()) -> Query:
    """Combine queries: the mean of some minus half of the mean of others.

    A single query without `minus` is returned unchanged. Queries that cancel out raise a SimilarityError; searches by
    tags cannot be combined.
    """
    if not plus:
        raise ConfigError("There is nothing to search for. Specify a track, file, text, tags, album or artist.")
    if len(plus) == 1 and not minus:
        return plus[0]
    if any(one.scores is not None for one in (*plus, *minus)):
        raise ConfigError("A search by tags cannot be combined with other queries.")
    name = " + ".join(one.name for one in plus) + "".join(f" − {one.name}" for one in minus)
    centre = np.mean([to_unit(one.vectors.mean(axis=0), one.name) for one in plus], axis=0)
    if minus:
        centre = centre - MINUS_WEIGHT * np.mean([to_unit(one.vectors.mean(axis=0), one.name) for one in minus], axis=0)
    confidences = {tag: [one.tags[tag] for one in plus if tag in one.tags] for one in plus for tag in one.tags}
    tags = {tag: sum(values) / len(plus) for tag, values in confidences.items() if 2 * len(values) >= len(plus)}
    return Query(
        name=name,
        vectors=to_unit(centre, name)[np.newaxis],
        starts_s=np.zeros(1),
        track_ids=tuple(dict.fromkeys(track for one in (*plus, *minus) for track in one.track_ids)),
        tags=dict(sorted(tags.items(), key=lambda item: -item[1])),
        notes=tuple(dict.fromkeys(note for one in (*plus, *minus) for note in one.notes)),
    )


def to_unit(vector: np.ndarray, name: str) -> np.ndarray:
    """Scale a vector to length 1; raise a SimilarityError, which mentions `name`, if it has no direction."""
    length = float(np.linalg.norm(vector))
    if length < NOTHING:
        raise SimilarityError(f"{name}: the vectors of this query cancel out, so nothing is left to search for.")
    scaled: np.ndarray = (vector / length).astype(np.float32)
    return scaled
