"""Re-rank search results: limits per artist or album, and diversification.

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
"""``search(n, allowed)``: scores, highest first, and rows of up to `n` of the best allowed rows."""

_POOL, _MIN_POOL = 10, 100  # candidates per result for diversification, and at least


@dataclass(frozen=True, eq=False)
class GroupLimit:
    """A maximum number of results per group."""

    groups: Groups
    most: int


def rerank(
    search: Search,
    k: int,
    *,
    allowed: np.ndarray,
    limits: Sequence[GroupLimit] = (),
    diversity: float = 0.0,
    vectors: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and rows of the best `k` within limits, searching as deep as that requires.

    Full groups are excluded before the search continues, so that `k` results are found even if one artist has nearly
    all of the collection.

    Parameters
    ----------
    allowed : np.ndarray [shape=(n,), dtype=bool]
        Rows that may be found.
    diversity : float
        With 0, rows are ordered by score alone. Otherwise by maximal marginal relevance: next is the row with the
        highest ``(1 - diversity) * score - diversity * (highest cosine to the rows chosen before)``, out of ten
        candidates per result.
    vectors : callable, optional
        Returns the unit vectors of rows [shape=(m, dim)]; required for diversity.
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
    limits: Sequence[GroupLimit],
    diversity: float,
    vectors: np.ndarray | None,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the positions of the chosen rows, and the groups of each limit that became full."""
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
