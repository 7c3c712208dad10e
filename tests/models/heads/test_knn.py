"""The k-nearest-neighbour head against scikit-learn."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.preprocessing import StandardScaler, normalize

from eno.models import load_head
from eno.models.heads import knn
from eno.models.heads.knn import KNNHead


def clusters(seed: int, n: int, dim: int = 16, labels: int = 6):
    """Return rows around centres, two per label, in dimensions with very different units."""
    fixed = np.random.default_rng(99)
    centres, units = 2 * fixed.standard_normal((2 * labels, dim)), fixed.lognormal(0, 3, dim)
    rng = np.random.default_rng(seed)
    near = rng.integers(0, len(centres), n)
    Y = (near[:, np.newaxis] % labels == np.arange(labels)).astype(np.float32)
    Y[0, :2] = 1  # labels that exclude each other would compete
    return ((centres[near] + rng.standard_normal((n, dim))) * units).astype(np.float32), Y


def directions(X, X_test):
    scaler = StandardScaler().fit(X)
    return normalize(scaler.transform(X)), normalize(scaler.transform(X_test))


def test_the_index_of_a_fold_is_freed_before_that_of_all_rows_is_built(monkeypatch):
    build, built, held = KNNHead._build, [], []

    def counting(self, data, rows):
        held.append(sum(one._index is not None for one in built))
        built.append(self)
        return build(self, data, rows)

    monkeypatch.setattr(KNNHead, "_build", counting)
    head = KNNHead(k=3, temperatures=0.1).fit(*clusters(0, 200))
    assert held == [0, 1, 2, 3, 4, 0]
    assert head.predict_proba(clusters(1, 5)[0]).shape == (5, 6)


class TestVotes:
    def test_equal_scikit_learn_with_uniform_weights(self):
        (X, Y), (X_test, _) = clusters(0, 300), clusters(1, 50)
        ours = KNNHead(k=7, temperatures=1e9, smoothing=0).fit(X, Y, X[:1], Y[:1] * 0).predict_proba(X_test)
        rows, rows_test = directions(X, X_test)
        theirs = KNeighborsClassifier(7).fit(rows, Y).predict_proba(rows_test)
        np.testing.assert_allclose(ours, np.stack([column[:, 1] for column in theirs], axis=1), atol=1e-6)

    def test_are_weighted_by_similarity_sample_weight_and_base_rate(self):
        (X, Y), (X_test, _) = clusters(0, 200), clusters(1, 20)
        weights = np.random.default_rng(0).uniform(0.5, 2, len(X)).astype(np.float32)
        head = KNNHead(k=9, temperatures=0.2, smoothing=1.5)
        ours = head.fit(X, Y, X[:1], Y[:1] * 0, sample_weight=weights).predict_proba(X_test)
        rows, rows_test = directions(X, X_test)
        distances, neighbours = NearestNeighbors(n_neighbors=9, metric="cosine").fit(rows).kneighbors(rows_test)
        votes = np.exp((distances[:, :1] - distances) / 0.2) * weights[neighbours]
        prior = (weights @ Y + 1) / (weights.sum() + 2)
        expected = (np.einsum("nk,nkl->nl", votes, Y[neighbours]) + 1.5 * prior) / (votes.sum(1, keepdims=True) + 1.5)
        np.testing.assert_allclose(ours, expected, atol=1e-5)

    def test_k_above_the_number_of_rows_uses_all_rows(self):
        X, Y = clusters(0, 30)
        probabilities = KNNHead(k=500, temperatures=1e9, smoothing=0).fit(X, Y, X, Y).predict_proba(X)
        np.testing.assert_allclose(probabilities, np.tile(Y.mean(axis=0), (30, 1)), atol=1e-6)


def test_k_with_the_best_map_and_log_loss_is_chosen():
    rng = np.random.default_rng(0)
    X, X_val = (rng.standard_normal((n, 2)).astype(np.float32) for n in (1500, 600))
    Y, Y_val = ((rng.random((len(rows), 1)) < np.where(rows[:, :1] > 0, 0.7, 0.3)) * 1.0 for rows in (X, X_val))
    head = KNNHead(k=(1, 100)).fit(X, Y, X_val, Y_val)
    assert head.chosen_k == 100  # of single neighbours, three in ten are wrong
    assert len(head.val_map) == 2 * 4


@pytest.mark.parametrize("labels", [0, 1])
def test_constant_labels_in_validation_select_the_middle_options(labels):
    X, Y = clusters(0, 60)
    head = KNNHead().fit(X, Y, X[:5], np.full((5, 6), labels))
    assert head.chosen_k == 20
    assert head.val_map == {}


class TestInvertedLists:
    @pytest.fixture
    def head(self, monkeypatch):
        monkeypatch.setattr(knn, "_EXACT", 1000)
        return KNNHead(k=10, temperatures=0.3)

    def test_approximate_exact_search(self, head, monkeypatch):
        (X, Y), (X_test, _) = clusters(0, 4000), clusters(1, 300)
        found = head.fit(X, Y, X_test[:1], Y[:1] * 0).predict_proba(X_test)
        assert head._index.nlist == 253
        monkeypatch.setattr(knn, "_EXACT", 10_000)
        exact = KNNHead(k=10, temperatures=0.3).fit(X, Y, X_test[:1], Y[:1] * 0).predict_proba(X_test)
        assert np.abs(found - exact).mean() < 0.01

    def test_lists_can_have_fewer_rows_than_k(self, head, monkeypatch):
        monkeypatch.setattr(knn, "_PROBED", 0)
        X, Y = clusters(0, 1500)
        probabilities = head.fit(X, Y, X, Y).predict_proba(X)
        assert (head._search(X, 10)[1] < 0).any()
        assert np.isfinite(probabilities).all()

    def test_saved_and_loaded(self, head, tmp_path):
        X, Y = clusters(0, 1500)
        head.fit(X, Y, X[:50], Y[:50]).save(tmp_path)
        loaded = load_head(tmp_path)
        np.testing.assert_array_equal(loaded.predict_proba(X), head.predict_proba(X))
        assert (loaded.chosen_k, loaded.val_map) == (head.chosen_k, head.val_map)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k = 0: expected at least 1 neighbour"),
        ({"k": (5, -1)}, "at least 1 neighbour"),
        ({"k": ()}, "at least 1 neighbour"),
        ({"temperatures": 0}, "above 0"),
        ({"temperatures": float("nan")}, "above 0"),
        ({"smoothing": -1}, "0 or above"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        KNNHead(**options).fit(*clusters(0, 20))
