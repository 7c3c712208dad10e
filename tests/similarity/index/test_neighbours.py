"""The nearest neighbours of all vectors at once."""

import numpy as np
import pytest

from eno.audio.windows import WindowPolicy
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.similarity.index import neighbours
from eno.similarity.index.build import build_index
from eno.similarity.index.neighbours import InvertedLists, nearest_others
from tests.fakes import ProjectionEncoder, three_groups, unit


@pytest.fixture
def vectors():
    return three_groups()


def groups(count):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 16))[rng.integers(30, size=count)] + 0.4 * rng.normal(size=(count, 16))
    vectors[:40] = vectors[0]  # identical tracks
    return unit(vectors)


def recall(found, true):
    return np.mean([len({*a} & {*b}) / len(b) for a, b in zip(found.tolist(), true.tolist(), strict=True)])


def test_nearest_agree_with_all_cosines(vectors):
    cosines, rows = nearest_others(vectors, 5)
    every = vectors @ vectors.T
    np.fill_diagonal(every, -np.inf)
    np.testing.assert_array_equal(rows, np.argsort(-every, axis=1)[:, :5])
    np.testing.assert_allclose(cosines, np.sort(every, axis=1)[:, :-6:-1], atol=1e-6)


def test_no_track_is_its_own_neighbour_even_among_duplicates():
    twins = unit(np.repeat(np.eye(3), 7, axis=0))
    cosines, rows = nearest_others(twins, 4)
    assert not (rows == np.arange(21)[:, np.newaxis]).any()
    assert (rows // 7 == np.arange(21)[:, np.newaxis] // 7).all()
    np.testing.assert_allclose(cosines, 1)
    assert nearest_others(twins[:2], 4)[1].tolist() == [[1], [0]]
    assert nearest_others(twins[:1], 4)[1].shape == (1, 0)


def test_neighbours_of_many_vectors_are_nearly_exact(monkeypatch):
    vectors = groups(4000)
    _, exact = nearest_others(vectors, 15)
    monkeypatch.setattr("eno.similarity.index.neighbours._MANY_VECTORS", 1000)
    cosines, rows = nearest_others(vectors, 15)
    assert recall(rows[40:], exact[40:]) > 0.97
    assert all(len({*found}) == 15 for found in rows.tolist())
    assert (rows != np.arange(4000)[:, None]).all()
    assert ((rows >= 0) & (rows < 4000)).all()
    np.testing.assert_allclose(cosines, np.einsum("nd,nkd->nk", vectors, vectors[rows]), atol=1e-5)


def test_lists_of_an_index_find_the_same_neighbours(tmp_path, monkeypatch):
    monkeypatch.setattr(neighbours, "_MANY_VECTORS", 500)
    store = EmbeddingStore.create(
        tmp_path / "store", ProjectionEncoder(dim=16).spec, policy=WindowPolicy(), dtype="float32"
    )
    ids = [f"{i:04d}.flac" for i in range(3000)]
    store.append(ids, np.zeros(3000), groups(3000)[:, np.newaxis])
    index = build_index(store, kind="ivf", space="none")
    chosen = np.random.default_rng(1).permutation(3000)[:2000]  # only some tracks, in another order
    view = index.view(index.first_rows([ids[i] for i in chosen]))
    lists = InvertedLists.of_index(index.ann, index.first_rows([ids[i] for i in chosen]), view)
    assert lists is None  # they would be short
    monkeypatch.setattr(neighbours, "_SMALL_LIST", 1)
    lists = InvertedLists.of_index(index.ann, index.first_rows([ids[i] for i in chosen]), view)
    assert len(lists.members) == index.ann.lists
    assert (np.bincount(np.concatenate(lists.members)) == 2).all()
    cosines, rows = nearest_others(view, 10, lists=lists)
    every = view[:] @ view[:].T
    np.fill_diagonal(every, -np.inf)
    unlike = chosen >= 40  # among identical tracks any order is right
    assert recall(rows[unlike], np.argsort(-every, axis=1)[unlike, :10]) > 0.97
    np.testing.assert_allclose(cosines, np.take_along_axis(every, rows, axis=1), atol=1e-5)


def test_vectors_with_short_lists_are_compared_with_all(vectors, monkeypatch):
    monkeypatch.setattr(neighbours, "_MANY_VECTORS", 10)
    pairs = np.arange(60).reshape(30, 2)
    lists = InvertedLists(list(pairs), np.repeat(np.arange(30), 2)[:, np.newaxis])
    np.testing.assert_array_equal(
        nearest_others(vectors, 5, lists=lists)[1], np.argsort(-(vectors @ vectors.T), axis=1, kind="stable")[:, 1:6]
    )
