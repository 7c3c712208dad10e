"""What to look for, as vectors; and mixtures of it: more like some, less like others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from eno.errors import ConfigError, SimilarityError

MINUS_WEIGHT = 0.5
"""How much "less like this" counts beside "more like that": with as much as 1, results are foremost unlike the one."""

NOTHING = 1e-3
"""Vectors that are shorter have no direction."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """What to look for.

    Attributes
    ----------
    name : str
        What it is, for people.
    vectors : np.ndarray [shape=(n, dim), dtype=float32]
        Unit vectors in the index's space. A row's score is its highest cosine to any of them.
    starts_s : np.ndarray [shape=(n,)]
        Where in a file or track each vector comes from, in seconds; 0 where that means nothing.
    track_ids : tuple of str
        Tracks that it is made of, which are never found.
    tags : dict of str to float
        Its own tags, and how surely it has them.
    scores : np.ndarray, optional [shape=(rows,)]
        The score of each row of the index, in place of vectors.
    notes : tuple of str
        What a person should know about it.
    """

    name: str
    vectors: np.ndarray
    starts_s: np.ndarray
    track_ids: tuple[str, ...] = ()
    tags: dict[str, float] = field(default_factory=dict)
    scores: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def mix(plus: Sequence[Query], minus: Sequence[Query] = ()) -> Query:
    """More like some, less like others: the mean of the ones, less half of that of the others.

    Parameters
    ----------
    plus, minus : sequence of Query
        Several queries, at least one in `plus`. One alone stays what it is.

    Raises
    ------
    ConfigError
        There is none, or a search by tags among several.
    SimilarityError
        Nothing is left after the subtraction.
    """
    if not plus:
        raise ConfigError("There is nothing to search for: name a track, a file, a text, tags, an album or an artist.")
    if len(plus) == 1 and not minus:
        return plus[0]
    if any(one.scores is not None for one in (*plus, *minus)):
        raise ConfigError("A search by tags cannot be mixed with others.")
    name = " + ".join(one.name for one in plus) + "".join(f" − {one.name}" for one in minus)
    centre = np.mean([to_unit(one.vectors.mean(axis=0), one.name) for one in plus], axis=0)
    if minus:
        centre = centre - MINUS_WEIGHT * np.mean([to_unit(one.vectors.mean(axis=0), one.name) for one in minus], axis=0)
    sure = {tag: [one.tags[tag] for one in plus if tag in one.tags] for one in plus for tag in one.tags}
    tags = {tag: sum(values) / len(plus) for tag, values in sure.items() if 2 * len(values) >= len(plus)}
    return Query(
        name=name,
        vectors=to_unit(centre, name)[np.newaxis],
        starts_s=np.zeros(1),
        track_ids=tuple(dict.fromkeys(track for one in (*plus, *minus) for track in one.track_ids)),
        tags=dict(sorted(tags.items(), key=lambda item: -item[1])),
        notes=tuple(dict.fromkeys(note for one in (*plus, *minus) for note in one.notes)),
    )


def to_unit(vector: np.ndarray, name: str) -> np.ndarray:
    """Give a vector the length 1; `name` says whose it is.

    Raises
    ------
    SimilarityError
        It has no direction.
    """
    length = float(np.linalg.norm(vector))
    if length < NOTHING:
        raise SimilarityError(f"{name}: nothing is left of the query; what it is made of cancels out.")
    scaled: np.ndarray = (vector / length).astype(np.float32)
    return scaled
