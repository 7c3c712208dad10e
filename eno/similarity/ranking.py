"""Which of the nearest are shown: at most so many of a kind, and not all of them alike.

References
----------
J. Carbonell and J. Goldstein, "The use of MMR, diversity-based reranking for reordering documents and producing
summaries", SIGIR 1998.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from eno.similarity.groups import Groups

Search = Callable[[int, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""``search(n, allowed)``: scores, the highest first, and numbers of the up to `n` best of what is allowed."""

_POOL, _MIN_POOL = 10, 100  # candidates for each place, of which diverse ones are chosen


@dataclass(frozen=True, eq=False)
class Limit:
    """At most so many of a group.

    Attributes
    ----------
    groups : Groups
        Of everything that can be found.
    most : int
        So many of each group.
    """

    groups: Groups
    most: int


def choose(
    search: Search,
    k: int,
    *,
    allowed: np.ndarray,
    limits: Sequence[Limit] = (),
    diversity: float = 0.0,
    vectors: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Take the best within limits, searching as deep as that needs.

    What is of a full group is taken out of the search before it goes on, so that a collection in which one artist has
    nearly everything still gives as many as there are.

    Parameters
    ----------
    search : Search
        Finds candidates.
    k : int
        How many are wanted.
    allowed : np.ndarray [shape=(n,), dtype=bool]
        What may be found.
    limits : sequence of Limit
        All of them hold.
    diversity : float
        0 takes the best by score alone. Above it maximal marginal relevance decides: next comes what has the highest
        ``(1 - diversity) * score - diversity * (highest cosine to what is taken)``, out of ten candidates a place.
    vectors : callable, optional
        Gives the unit vectors of numbers [shape=(m, dim)]; needed for diversity.

    Returns
    -------
    scores : np.ndarray [shape=(m,), dtype=float32]
        Of what was taken, in its order; fewer than `k` if there are not more.
    rows : np.ndarray [shape=(m,), dtype=int64]
        Their numbers.
    """
    allowed = allowed.copy()
    scores, rows = np.zeros(0, np.float32), np.zeros(0, np.int64)
    wanted = max(_POOL * k, _MIN_POOL) if diversity > 0 else 2 * k if limits else k
    while True:
        more_scores, more = search(wanted, allowed)
        scores, rows = np.concatenate([scores, more_scores]), np.concatenate([rows, more])
        cosines = None if diversity == 0 or vectors is None else vectors(rows)
        taken, full = _take(scores, rows, k, limits, diversity, cosines)
        if len(taken) == k or len(more) < wanted:
            return scores[taken], rows[taken]
        allowed[more] = False
        for limit, codes in zip(limits, full, strict=True):
            allowed &= ~limit.groups.members(codes)
        wanted *= 2


def _take(
    scores: np.ndarray,
    rows: np.ndarray,
    k: int,
    limits: Sequence[Limit],
    diversity: float,
    vectors: np.ndarray | None,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Places of those that are taken, and of each limit the groups that became full."""
    closed = np.zeros(len(rows), bool)
    nearest = np.zeros(len(rows), np.float32)
    groups = [(*limit.groups.of(rows), limit.most) for limit in limits]
    counts: list[Counter[int]] = [Counter() for _ in limits]
    taken: list[int] = []
    while len(taken) < k and not closed.all():
        merit = np.where(closed, -np.inf, (1 - diversity) * scores - diversity * nearest)
        best = int(np.argmax(merit))
        closed[best] = True
        taken.append(best)
        if vectors is not None:
            cosines = vectors @ vectors[best]
            nearest = cosines if len(taken) == 1 else np.maximum(nearest, cosines)
        for (codes, places, most), count in zip(groups, counts, strict=True):
            for code in codes[places == best].tolist():
                count[code] += 1
                if count[code] == most:
                    closed[places[codes == code]] = True
    full = [
        np.array([code for code, times in count.items() if times >= limit.most], np.int64)
        for limit, count in zip(limits, counts, strict=True)
    ]
    return np.array(taken, np.int64), full
