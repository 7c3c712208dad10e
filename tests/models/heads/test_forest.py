"""The forest against scikit-learn's."""

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor

from eno.models.heads import forest, load_head
from eno.models.heads.forest import ForestHead
from tests.models.test_heads import problem


@pytest.mark.parametrize("labels", [3, 80])
def test_equals_scikit_learn(labels, tmp_path):
    X, Y = problem(n=400, labels=labels)
    X_test, _ = problem(1, n=50, labels=labels)
    weights = np.random.default_rng(0).integers(1, 4, len(X)).astype(np.float32)
    head = ForestHead(trees=20, min_rows_in_leaf=3).fit(X, Y, X[:2], Y[:2], sample_weight=weights)
    targets = (
        Y
        if labels <= 64
        else forest._targets(head._labels, None, head._arrays["base_rates"], _after_the_sample(len(X)))
    )
    theirs = ExtraTreesRegressor(20, min_samples_leaf=3, max_features="sqrt", random_state=0).fit(X, targets, weights)
    leaves, leaves_test = theirs.apply(X), theirs.apply(X_test)
    expected = np.zeros((len(X_test), labels))
    for tree in range(20):
        shares = (leaves[:, tree] == leaves_test[:, [tree]]) * weights
        expected += shares / shares.sum(axis=1, keepdims=True) @ Y
    base_rates = ((weights @ Y) + 1) / (weights.sum() + 2)
    np.testing.assert_allclose(head.predict_proba(X_test), (expected + base_rates) / 21, atol=1e-5)
    head.save(tmp_path)
    np.testing.assert_allclose(load_head(tmp_path).predict_proba(X_test), head.predict_proba(X_test), atol=1e-6)


def _after_the_sample(rows):
    random = np.random.default_rng(0)
    random.permutation(rows)
    return random


def test_of_many_rows_a_sample_is_used():
    X, Y = problem(n=600)
    head = ForestHead(trees=10, max_rows=100).fit(X, Y)
    assert head._labels.shape[0] == 100
    assert head._arrays["leaves"].shape == (100, 10)


def test_trees_are_grown_in_parts_where_there_are_many_nodes(monkeypatch):
    X, Y = problem(n=300)
    whole = ForestHead(trees=60).fit(X, Y, X[:5], Y[:5])
    monkeypatch.setattr(forest, "_VALUES_AT_ONCE", 7 * 2 * Y.size)
    steps = []
    head = ForestHead(trees=60)
    head.on_progress = lambda *step: steps.append(step)
    parts = head.fit(X, Y, X[:5], Y[:5])
    assert steps == [*((done, 60) for done in range(0, 60, 7)), (60, 60)]
    assert np.abs(parts.predict_proba(X) - whole.predict_proba(X)).mean() < 0.05
    first, last = (head._arrays["feature"][head._arrays["roots"][at] :][:9] for at in (0, 7))
    assert (first != last).any()  # the trees of each part differ
