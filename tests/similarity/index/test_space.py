"""Spaces, compared with the formulas of their papers and scikit-learn."""

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import StandardScaler

from eno.errors import ConfigError, SimilarityError
from eno.similarity.index import statistics
from eno.similarity.index.space import CENTRE, METHODS, MIN_ROWS, Space
from eno.views import RowView


def cone(rows=400, dim=250, seed=0):
    """Draw vectors in a narrow cone with very uneven variances [dtype=float32]."""
    rng = np.random.default_rng(seed)
    mixed = (
        rng.standard_normal((rows, dim)) * np.geomspace(3, 0.3, dim) @ np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    )
    return (mixed * rng.uniform(0.5, 20, dim) + rng.normal(30, 5, dim)).astype(np.float32)


def by_hand(method, X):
    """Compute the reference, before scaling to length 1."""
    X = X.astype(np.float64)
    centred = X - X.mean(axis=0)
    match method:
        case "none":
            return X
        case "centre":
            return centred
        case "standardise":
            return StandardScaler().fit_transform(X)
        case "whiten":
            Z = StandardScaler().fit_transform(X)
            return Z @ np.linalg.cholesky(LedoitWolf(assume_centered=True).fit(Z).precision_)


@pytest.mark.parametrize("method", [*METHODS, CENTRE])
def test_cosines_are_those_of_the_formula(method, monkeypatch):
    monkeypatch.setattr(statistics, "VALUES_AT_ONCE", 7_000)  # many blocks, the last of them shorter
    X = cone()
    space = Space.fit(X, method=method)
    found = space.apply(X)
    assert found.dtype == np.float32
    assert found.shape == (len(X), space.dim)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found @ found.T, cosine_similarity(by_hand(method, X)), atol=2e-4)
    assert (space.method, space.shape) == (method, (250,))


@pytest.mark.parametrize("method", [*METHODS, CENTRE])
def test_every_layer_has_the_same_weight(method):
    layers = [cone(seed=seed, dim=120) for seed in (1, 2)]
    parts = [by_hand(method, layer) for layer in layers]
    expected = np.concatenate([part / np.sqrt(np.square(part).sum(axis=1).mean()) for part in parts], axis=1)
    X = np.stack([layers[0], 1000 * layers[1]], axis=1)
    found = Space.fit(X, method=method).apply(X)
    assert found.shape == (400, 240)
    # Whitening with shrinkage reduces the variance of layers slightly.
    np.testing.assert_allclose(found @ found.T, cosine_similarity(expected), atol=0.03 if method == "whiten" else 2e-4)


def test_whitening_finds_groups_hidden_by_dominant_directions():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(60), 5)
    X = 0.5 * rng.standard_normal((60, 64))[group] + 0.15 * rng.standard_normal((300, 64)) + 10
    X[:, :3] += 30 * rng.standard_normal((300, 3))  # loudness, say

    def found(method):
        Y = Space.fit(X, method=method).apply(X)
        cosines = Y @ Y.T
        np.fill_diagonal(cosines, -1)
        return (group[np.argsort(-cosines, axis=1)[:, :4]] == group[:, None]).mean()

    assert found("none") < 0.3
    assert found("centre") < 0.3
    assert found("whiten") > 0.95


@pytest.mark.parametrize("method", [*METHODS, CENTRE])
def test_the_mean_is_not_subtracted_from_texts(method):
    X, texts = cone(), np.random.default_rng(5).standard_normal((4, 250)).astype(np.float32)
    space = Space.fit(X, method=method)
    # Audio that differs from the mean by the same vector is mapped to the same place.
    shifted = texts + (0 if method == "none" else X.mean(axis=0, dtype=np.float64))
    np.testing.assert_allclose(space.apply_text(texts), space.apply(shifted), atol=1e-5)


def test_memory_mapped_rows_and_samples(tmp_path, monkeypatch):
    X = cone(2000, 40)
    np.save(tmp_path / "X.npy", X)
    order = np.random.default_rng(1).permutation(2000)
    view = RowView(np.load(tmp_path / "X.npy", mmap_mode="r"), order)
    whole = Space.fit(X).apply(X)
    np.testing.assert_allclose(np.abs(Space.fit(view).apply(X) @ whole.T), np.abs(whole @ whole.T), atol=1e-4)
    monkeypatch.setattr(statistics, "_SAMPLE_ROWS", 1500)
    sampled = [Space.fit(X, seed=seed) for seed in (3, 3, 4)]
    first, same, other = (space.apply(X) @ space.apply(X).T for space in sampled)
    np.testing.assert_array_equal(first, same)
    assert 1e-4 < np.abs(first - other).max() < 0.3
    assert sampled[0].spec["rows"] == 1500


@pytest.mark.parametrize("method", [*METHODS, CENTRE])
@pytest.mark.parametrize("rows", [0, 1, 2, MIN_ROWS - 1])
def test_nothing_is_fitted_on_too_few_rows(method, rows):
    X, queries = cone(rows, 30), cone(5, 30, seed=1)
    space = Space.fit(X, method=method)
    assert space.spec["rows"] == 0
    np.testing.assert_allclose(space.apply(queries) @ space.apply(queries).T, cosine_similarity(queries), atol=1e-6)


@pytest.mark.parametrize("method", [*METHODS, CENTRE])
@pytest.mark.parametrize("rows", [MIN_ROWS, 50])
def test_fewer_rows_than_values(method, rows):
    X = cone(rows, 400)
    space = Space.fit(X, method=method)
    found, noisy = space.apply(X), space.apply(X * np.random.default_rng(2).normal(1, 1e-3, X.shape))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal((noisy @ found.T).argmax(axis=1), np.arange(rows))


@pytest.mark.parametrize("method", [*METHODS, CENTRE])
def test_constant_and_zero_values(method):
    X = cone(100, 20)
    X[:, 3] = 77.7
    X[:, 5] = X[:, 6]
    X[10:12] = 0
    space = Space.fit(X, method=method)
    found = space.apply(X)
    assert np.isfinite(found).all()
    assert not found[10:12].any()
    np.testing.assert_allclose(np.delete(np.linalg.norm(found, axis=1), [10, 11]), 1, atol=1e-5)
    assert space.spec["rows"] == 98

    same = np.ones((30, 20), np.float32)
    alike = Space.fit(same, method=method).apply(same)
    np.testing.assert_allclose(alike @ alike.T, 1, atol=1e-5)  # identical tracks are each other's neighbours

    silent = np.stack([cone(100, 20, seed=4), np.full((100, 20), 5.0)], axis=1)  # the second layer is constant
    assert np.isfinite(Space.fit(silent, method=method).apply(silent)).all()


@pytest.mark.parametrize("method", ["none", "whiten"])
def test_saving_and_loading(tmp_path, method):
    X = np.stack([cone(60, 24), cone(60, 24, seed=1)], axis=1)
    space = Space.fit(X, method=method, seed=7)
    space.save(tmp_path / "space.safetensors")
    loaded = Space.load(tmp_path / "space.safetensors")
    assert loaded.spec == space.spec
    assert (loaded.shape, loaded.dim) == ((2, 24), 48)
    np.testing.assert_array_equal(loaded.apply(X), space.apply(X))
    np.testing.assert_array_equal(loaded.apply_text(X), space.apply_text(X))


def test_damaged_files_are_reported(tmp_path):
    path = tmp_path / "space.safetensors"
    with pytest.raises(SimilarityError, match="is missing or damaged"):
        Space.load(path)
    Space.fit(cone(60, 24)).save(path)
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], content[:4], b"", content.replace(b'"space"', b'"spade"')):
        path.write_bytes(damaged)
        with pytest.raises(SimilarityError, match="is missing or damaged"):
            Space.load(path)


def test_invalid_arguments():
    X = cone(60, 24)
    with pytest.raises(ConfigError, match="choose from none, standardise"):
        Space.fit(X, method="center")
    with pytest.raises(ValueError, match="expected"):
        Space.fit(X[0])
    space = Space.fit(X)
    with pytest.raises(ValueError, match="fitted on"):
        space.apply(X[:, :20])
    X[3, 3] = np.nan
    for give in (space.apply, Space.fit):
        with pytest.raises(ValueError, match="NaN or infinite"):
            give(X)
