"""Labels that exclude each other, against the multinomial regression of scikit-learn."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from eno.models import create_head, load_head
from eno.models.exclusive import ExclusiveFamily, ExclusiveLabels
from eno.models.label_weights import LabelWeights
from eno.registry import TRAINED_HEADS

QUICK = {"mlp": {"max_epochs": 10}, "forest": {"trees": 50}, "lightgbm": {"rounds": 20}, "kernel": {"l2": (0.01,)}}


def found(Y, weights=None):
    return ExclusiveLabels.of(sparse.csr_array(np.asarray(Y, np.float32)), LabelWeights.of(weights, np.shape(Y)))


class TestWhichLabels:
    GENRES = np.tile(np.eye(3), (10, 1))

    def test_all_if_each_row_has_one(self):
        (family,) = found(self.GENRES[:29]).families
        assert (family.labels, family.none) == ((0, 1, 2), 0)
        np.testing.assert_allclose(family.shares, [10 / 29, 10 / 29, 9 / 29])

    def test_a_row_may_have_none(self):
        (family,) = found(np.vstack([self.GENRES, np.zeros((2, 3))])).families
        np.testing.assert_allclose([*family.shares, family.none], np.array([10, 10, 10, 2]) / 32)
        assert not found(np.vstack([self.GENRES, np.zeros((20, 3))]))

    def test_shares_are_weighted(self):
        weights = np.repeat([1, 3], 15)
        (family,) = found(np.repeat(np.eye(2), 15, axis=0), weights).families
        np.testing.assert_allclose(family.shares, [0.25, 0.75])

    @pytest.mark.parametrize("row", [[1, 1, 0], [0.7, 0, 0], [0.5, 0.5, 0]])
    def test_none_if_a_row_has_two_or_values_between_0_and_1(self, row):
        assert not found(np.vstack([self.GENRES, [row]]))

    def test_none_of_few_rows(self):
        assert not found(self.GENRES[:15])

    def test_of_one_family_in_the_rows_in_which_it_is_known(self):
        moods = np.tile([[1, 1], [0, 1], [0, 0]], (10, 1))
        Y = np.hstack([moods[:, :1], self.GENRES, moods[:, 1:]])
        Y[:2, 1:4] = 0
        known = np.ones((30, 2))
        for none in (2 / 30, 0):
            (family,) = found(Y, LabelWeights.of_families(known, np.array([0, 1, 1, 1, 0]))).families
            assert (family.labels, family.none) == ((1, 2, 3), pytest.approx(none))
            known[:2, 1] = 0
        assert not found(Y)


class TestCompetition:
    def test_shares_stay_as_they_are(self):
        for shares, none in (([0.5, 0.2, 0.3], 0.0), ([0.5, 0.2, 0.25], 0.05), ([1.0, 0.0, 0.0], 0.0)):
            labels = ExclusiveLabels((ExclusiveFamily((0, 1, 3), tuple(shares), none),))
            before = np.array([[*shares[:2], 0.9, shares[2]]], np.float32)
            np.testing.assert_allclose(labels.compete(before), before, atol=1e-6)

    def test_follows_bayes_rule(self):
        # Three genres with normally distributed vectors, far apart in different directions.
        shares, means = np.array([0.6, 0.3, 0.1]), 4 * np.eye(3)
        X = np.random.default_rng(0).standard_normal((2000, 3)) + means[np.repeat(range(3), [1200, 600, 200])]
        densities = shares * np.exp(-0.5 * np.square(X[:, np.newaxis] - means).sum(axis=2))
        posterior = densities / densities.sum(axis=1, keepdims=True)
        # Of each genre against the rest, what a head would learn whose rest is alike everywhere.
        odds = densities / shares / np.exp(-0.5 * np.square(X).sum(axis=1, keepdims=True)) * shares / (1 - shares)
        labels = ExclusiveLabels((ExclusiveFamily((0, 1, 2), tuple(shares), 0.0),))
        found = labels.compete(odds / (1 + odds))
        sure = (odds < 1e6).all(axis=1)  # others are 1 in float32
        np.testing.assert_allclose(found[sure], posterior[sure], atol=1e-3)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(n_class=5, return_X_y=True)
    X = (X[:500] + 3 * np.random.default_rng(0).standard_normal((500, 64))).astype(np.float32)
    return X, np.eye(5, dtype=np.float32)[y[:500]]


@pytest.mark.parametrize("name", TRAINED_HEADS)
def test_every_head_makes_them_compete(name, digits, tmp_path):
    X, Y = digits
    options = {"options": {one: QUICK[one] for one in ("mlp", "forest", "kernel")}} if name in ("auto", "blend") else {}
    head = create_head(name, **options | QUICK.get(name, {})).fit(X[:300], Y[:300])
    probabilities = head.predict_proba(X[300:])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(head.out_of_fold.probabilities.sum(axis=1), 1, atol=1e-5)
    head.save(tmp_path)
    np.testing.assert_allclose(load_head(tmp_path).predict_proba(X[300:]), probabilities, atol=1e-6)


def test_linear_comes_close_to_multinomial_regression(digits):
    X, Y = digits
    head = create_head("linear", l2=[0.1]).fit(X[:300], Y[:300])
    scaled = (X - X[:300].mean(axis=0)) / np.maximum(X[:300].std(axis=0), 1e-6)
    multinomial = LogisticRegression(C=1 / (0.1 * 300), max_iter=1000).fit(scaled[:300], Y[:300].argmax(axis=1))
    truth = Y[300:].argmax(axis=1)
    expected = log_loss(truth, multinomial.predict_proba(scaled[300:]))

    def loss(probabilities):
        return log_loss(truth, probabilities / probabilities.sum(axis=1, keepdims=True, dtype=float))

    assert loss(head.predict_proba(X[300:])) < 1.05 * expected
    assert loss(head._probabilities(X[300:])) > 1.15 * expected


def test_a_correction_that_adds_a_second_label_ends_it(digits):
    X, Y = digits
    weights = LabelWeights.of_families(np.ones((300, 1)), np.zeros(5, np.int64))
    row, other = np.array([0]), np.array([(Y[0].argmax() + 1) % 5])
    both = Y[:300].copy()
    both[row, other] = 1
    head = create_head("linear", l2=[0.1]).fit(X[:300], both, sample_weight=weights.with_single(row, other, 10))
    assert np.ptp(head.predict_proba(X[300:]).sum(axis=1)) > 0.1
