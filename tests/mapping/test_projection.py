import sys

import numpy as np
import pytest

from eno.errors import MissingExtra, SimilarityError, UnknownName
from eno.mapping.projection import project
from eno.similarity.index.vector_file import nearest_others


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    return unit(rng.normal(size=(3, 24))[np.arange(60) % 3] + 0.3 * rng.normal(size=(60, 24)))


@pytest.mark.parametrize("rows", [60, 15])  # more and fewer than there are dimensions
def test_principal_components_agree_with_singular_value_decomposition(vectors, rows):
    found = project(vectors[:rows], method="pca")
    centred = vectors[:rows].astype(np.float64) - vectors[:rows].mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    expected = left[:, :2] * values[:2]
    signs = np.sign((expected * found.coordinates).sum(axis=0))
    np.testing.assert_allclose(found.coordinates * signs, expected, atol=1e-5)
    np.testing.assert_allclose(found.explained, values[:2] ** 2 / (values**2).sum(), rtol=1e-4)


@pytest.mark.parametrize("rows", [1, 2])
def test_a_map_of_few_tracks(vectors, rows):
    found = project(vectors[:rows])
    assert found.method == "pca"
    assert found.coordinates.shape == (rows, 2)
    assert np.isfinite(found.coordinates).all()


def test_identical_tracks_have_the_same_coordinates():
    found = project(np.ones((20, 4), np.float32) / 2)
    np.testing.assert_allclose(found.coordinates, 0, atol=1e-6)
    assert found.explained == (0, 0)


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


def test_umap_keeps_groups_together_and_is_reproducible(vectors):
    pytest.importorskip("umap", reason="needs the extra 'map'", exc_type=ImportError)
    found = project(vectors, method="umap", seed=3)
    groups = [found.coordinates[start::3] for start in range(3)]
    spread = max(np.linalg.norm(group - group.mean(axis=0), axis=1).mean() for group in groups)
    apart = min(np.linalg.norm(groups[i].mean(axis=0) - groups[i - 1].mean(axis=0)) for i in range(3))
    assert apart > 2 * spread
    np.testing.assert_array_equal(project(vectors, method="umap", seed=3).coordinates, found.coordinates)


def test_without_umap_pca_is_used(vectors, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    monkeypatch.delitem(sys.modules, "eno.mapping.umap_layout", raising=False)
    assert project(vectors).method == "pca"
    with pytest.raises(MissingExtra, match=r"umap-learn.*pip install .\.\[map\]"):
        project(vectors, method="umap")


def test_errors(vectors):
    with pytest.raises(SimilarityError, match="no tracks"):
        project(vectors[:0])
    with pytest.raises(SimilarityError, match="UMAP needs more than 15 tracks, found 15"):
        project(vectors[:15], method="umap")
    with pytest.raises(UnknownName, match="Did you mean 'umap'"):
        project(vectors, method="umaq")


def test_neighbours_of_many_vectors_are_nearly_exact(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 16))[rng.integers(30, size=4000)] + 0.4 * rng.normal(size=(4000, 16))
    vectors[:40] = vectors[0]  # identical tracks
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    _, exact = nearest_others(vectors, 15)
    monkeypatch.setattr("eno.similarity.index.vector_file._MANY_VECTORS", 1000)
    cosines, rows = nearest_others(vectors, 15)
    assert np.mean([len({*a} & {*b}) / 15 for a, b in zip(rows[40:], exact[40:], strict=True)]) > 0.97
    assert (rows != np.arange(4000)[:, None]).all()
    assert ((rows >= 0) & (rows < 4000)).all()
    np.testing.assert_allclose(cosines, np.einsum("nd,nkd->nk", vectors, vectors[rows]), atol=5e-4)  # half precision
