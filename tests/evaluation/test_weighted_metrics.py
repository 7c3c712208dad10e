import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from eno.evaluation.metrics import evaluate
from eno.evaluation.weighted_metrics import METRICS, weighted_average_precision_and_auc, weighted_metrics
from eno.models.average_precision import average_precision_and_auc


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 9]), st.integers(1, 20))
def test_weighted_rankings_equal_scikit_learn(seed, digits, groups):
    random = np.random.default_rng(seed)
    truth = random.random(40) < 0.3
    scores = random.random(40).round(digits).astype(np.float32)  # one digit: many ties
    owner = random.integers(groups, size=40)
    weights = random.integers(0, 3, (groups, 4)).astype(np.float32)
    precisions, areas = weighted_average_precision_and_auc(truth, scores, owner, weights)
    for column, (precision, area) in enumerate(zip(precisions, areas, strict=True)):
        weight = weights[owner, column]
        drawn = truth[weight > 0]
        assert np.isnan(precision) == (not drawn.any())
        assert np.isnan(area) == (not drawn.any() or drawn.all())
        if drawn.any():
            assert precision == pytest.approx(average_precision_score(truth, scores, sample_weight=weight), abs=1e-6)
        if not np.isnan(area):
            assert area == pytest.approx(roc_auc_score(truth, scores, sample_weight=weight), abs=1e-6)
            times = weight.astype(int)
            again = np.repeat(truth, times), np.repeat(scores, times)
            assert precision == pytest.approx(average_precision_score(*again), abs=1e-6)
            assert area == pytest.approx(roc_auc_score(*again), abs=1e-6)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 9]))
def test_unweighted_rankings_equal_scikit_learn(seed, digits):
    random = np.random.default_rng(seed)
    truth = random.random((30, 5)) < [0, 0.1, 0.3, 0.9, 1]
    scores = random.random((30, 5)).round(digits)
    for label, (precision, area) in enumerate(zip(*average_precision_and_auc(truth, scores), strict=True)):
        if truth[:, label].any():
            assert precision == pytest.approx(average_precision_score(truth[:, label], scores[:, label]))
        else:
            assert np.isnan(precision)
        if truth[:, label].any() and not truth[:, label].all():
            assert area == pytest.approx(roc_auc_score(truth[:, label], scores[:, label]))
        else:
            assert np.isnan(area)


def test_sparse_and_dense_products_agree():
    random = np.random.default_rng(0)
    truth, scores = random.random(3000) < 0.02, random.random(3000).round(2)
    weights = random.integers(0, 3, (3000, 6)).astype(np.float32)
    each = weighted_average_precision_and_auc(truth, scores, np.arange(3000), weights)
    shared = weights[random.integers(3000, size=7)]
    owner = random.integers(7, size=3000)
    few, same = (
        weighted_average_precision_and_auc(truth, scores, owner, shared),
        weighted_average_precision_and_auc(truth, scores, np.arange(3000), shared[owner]),
    )
    np.testing.assert_allclose(few, same, rtol=1e-6)
    assert each[0][0] == pytest.approx(average_precision_score(truth, scores, sample_weight=weights[:, 0]))


@pytest.mark.parametrize("share_known", [1.0, 0.8])
def test_weights_equal_copies_of_rows(share_known):
    random = np.random.default_rng(0)
    owner = np.repeat(np.arange(15), 4)
    truth, probabilities = random.random((60, 12)) < np.linspace(0.3, 0.6, 12), random.random((60, 12))
    probabilities[truth] = probabilities[truth] ** 0.5
    thresholds, known = np.linspace(0.2, 0.6, 12), random.random((60, 12)) < share_known
    weights = np.c_[np.ones(15), random.integers(0, 3, (15, 20))].astype(np.float32)
    found = weighted_metrics(truth, probabilities, thresholds, owner, weights, METRICS, known)
    for column in range(21):
        rows = np.repeat(np.arange(60), weights[owner, column].astype(int))
        expected = evaluate(truth[rows], probabilities[rows], thresholds=thresholds, known=known[rows])
        for name in METRICS:
            assert found[name][column] == pytest.approx(getattr(expected, name), abs=1e-6), name


def test_a_metric_without_labels_is_nan():
    truth, owner = np.array([[1], [0], [0]]), np.arange(3)
    weights = np.array([[1, 0], [1, 1], [1, 1]], np.float32)
    found = weighted_metrics(truth, np.array([[0.9], [0.2], [0.1]]), 0.5, owner, weights, METRICS)
    for name, values in found.items():
        assert values[0] == 1, name
        assert np.isnan(values[1]), name
