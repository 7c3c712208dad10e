"""Labels that exclude each other, against the multinomial regression of scikit-learn."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from eno.models import create_head, load_head
from eno.models.exclusive import ExclusiveLabels
from eno.models.label_weights import LabelWeights
from eno.registry import TRAINED_HEADS

QUICK = {"mlp": {"max_epochs": 10}, "forest": {"trees": 50}, "lightgbm": {"rounds": 20}}


def found(Y, weights=None):
    return ExclusiveLabels.of(sparse.csr_array(np.asarray(Y, np.float32)), LabelWeights.of(weights, np.shape(Y)))


class TestWhichLabels:
    GENRES = np.tile(np.eye(3), (10, 1))

    def test_all_if_each_row_has_one(self):
        assert found(self.GENRES) == ExclusiveLabels(((0, 1, 2),), (True,))

    def test_a_row_may_have_none(self):
        assert found(np.vstack([self.GENRES, np.zeros((2, 3))])) == ExclusiveLabels(((0, 1, 2),), (False,))
        assert not found(np.vstack([self.GENRES, np.zeros((20, 3))]))

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
        family = np.array([0, 1, 1, 1, 0])
        assert found(Y, LabelWeights.of_families(known, family)) == ExclusiveLabels(((1, 2, 3),), (False,))
        known[:2, 1] = 0
        assert found(Y, LabelWeights.of_families(known, family)) == ExclusiveLabels(((1, 2, 3),), (True,))
        assert not found(Y)


def test_probabilities_compete_by_their_odds():
    probabilities = np.array([[0.5, 0.75, 0.2], [0.1, 0.1, 0.9]], np.float32)
    odds = probabilities[:, :2] / (1 - probabilities[:, :2])
    for complete, none in ((True, 0), (False, 1)):
        result = ExclusiveLabels(((0, 1),), (complete,)).compete(probabilities)
        np.testing.assert_allclose(result[:, :2], odds / (none + odds.sum(axis=1, keepdims=True)), rtol=1e-5)
        np.testing.assert_array_equal(result[:, 2], probabilities[:, 2])


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(n_class=5, return_X_y=True)
    X = (X[:500] + 3 * np.random.default_rng(0).standard_normal((500, 64))).astype(np.float32)
    return X, np.eye(5, dtype=np.float32)[y[:500]]


@pytest.mark.parametrize("name", TRAINED_HEADS)
def test_every_head_makes_them_compete(name, digits, tmp_path):
    X, Y = digits
    options = {"options": {one: QUICK[one] for one in ("mlp", "forest")}} if name in ("auto", "blend") else {}
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
