"""Limits and diversification, compared with literal implementations of their definitions."""

import numpy as np
import pyarrow as pa
import pytest

from eno.similarity.groups import Groups
from eno.similarity.reranking import GroupLimit, rerank


def _search(scores, asked=None):
    def search(n, allowed):
        if asked is not None:
            asked.append(n)
        rows = np.flatnonzero(allowed)
        rows = rows[np.argsort(-scores[rows], kind="stable")][:n]
        return scores[rows], rows

    return search


@pytest.mark.parametrize("seed", range(5))
def test_limits(seed):
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal(300).astype(np.float32)
    artists = [list(rng.choice(8, rng.integers(0, 3), replace=False)) for _ in scores]
    albums = [int(one) if one else None for one in rng.integers(0, 40, 300)]
    allowed = rng.random(300) < 0.7
    limits = [GroupLimit(Groups.of_lists(pa.array(artists)), 3), GroupLimit(Groups.of_values(pa.array(albums)), 2)]
    _, found = rerank(_search(scores), 25, allowed=allowed, limits=limits)
    expected = []
    for row in np.argsort(-scores, kind="stable"):
        by_artist = [sum(one in artists[other] for other in expected) for one in artists[row]]
        of_album = sum(albums[other] == albums[row] for other in expected) if albums[row] else 0
        if allowed[row] and max(by_artist, default=0) < 3 and of_album < 2 and len(expected) < 25:
            expected.append(row)
    assert found.tolist() == expected


def test_one_artist_has_nearly_the_whole_collection():
    # The five tracks by others have the lowest scores.
    scores = np.arange(100_000, 0, -1, dtype=np.float32)
    artists = Groups.of_values(pa.array(["one"] * 99_995 + list("abcde")))
    asked = []
    found = rerank(_search(scores, asked), 7, allowed=np.ones(100_000, bool), limits=[GroupLimit(artists, 2)])[1]
    assert found.tolist() == [0, 1, *range(99_995, 100_000)]
    assert sum(asked) < 100


@pytest.mark.parametrize("diversity", [0.3, 0.7, 1.0])
def test_maximal_marginal_relevance(diversity):
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((90, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = vectors @ vectors[0]
    allowed = np.arange(90) > 0
    found_scores, found = rerank(_search(scores), 8, allowed=allowed, diversity=diversity, vectors=vectors.__getitem__)
    expected = []
    while len(expected) < 8:
        left = [row for row in range(1, 90) if row not in expected]
        merits = [
            (1 - diversity) * scores[row]
            - diversity * max((float(vectors[row] @ vectors[other]) for other in expected), default=0)
            for row in left
        ]
        # With diversity 1, all first choices are equal; the most relevant is taken.
        expected.append(left[int(np.argmax(merits))] if expected or diversity < 1 else int(found[0]))
    assert found.tolist() == expected
    np.testing.assert_array_equal(found_scores, scores[found])
    alike = vectors[found] @ vectors[found].T
    plain = rerank(_search(scores), 8, allowed=allowed)[1]
    assert alike.mean() < (vectors[plain] @ vectors[plain].T).mean()


def test_fewer_results_than_requested():
    scores = np.ones(4, np.float32)
    groups = Groups.of_values(pa.array(["a", "a", "b", None]))
    allowed = np.array([True, True, False, True])
    assert rerank(_search(scores), 9, allowed=allowed, limits=[GroupLimit(groups, 1)])[1].tolist() == [0, 3]
    assert len(rerank(_search(scores), 9, allowed=np.zeros(4, bool))[1]) == 0
