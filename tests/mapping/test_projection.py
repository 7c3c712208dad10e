import sys

import numpy as np
import pytest

from eno.errors import MissingExtra, SimilarityError, UnknownName
from eno.mapping.projection import project
from tests.fakes import three_groups


@pytest.fixture
def vectors():
    return three_groups()


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
