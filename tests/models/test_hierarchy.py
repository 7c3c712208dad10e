"""Predictions that agree with a hierarchy, against the definition."""

import numpy as np
import pytest
from scipy.stats import norm

from eno.evaluation.metrics import evaluate
from eno.models.calibration.calibrate import fit_calibration
from eno.models.calibration.thresholds import NEVER
from eno.models.heads.linear import LinearHead
from eno.models.hierarchy import agree, agreeing_thresholds, raise_ancestors

PAIRS = np.array([[0, 1], [0, 2], [1, 2], [3, 2]])
"""Label 0 below 1 below 2, and 3 below 2; 4 is on its own."""


@pytest.mark.parametrize("never", [[], [2], [1, 2], [0, 1, 2, 3]])
def test_probabilities_and_decisions_agree_with_the_hierarchy(never):
    rng = np.random.default_rng(0)
    before, thresholds = rng.random((200, 5)).astype(np.float32), rng.random(5)
    thresholds[never] = NEVER
    limits = agreeing_thresholds(thresholds, PAIRS)
    probabilities = agree(before, limits, PAIRS)
    named = probabilities > limits
    for label, ancestor in PAIRS:
        assert (probabilities[:, ancestor] >= probabilities[:, label]).all()
        assert named[named[:, label], ancestor].all()
    assert probabilities.dtype == np.float32
    assert (probabilities >= before).all()
    np.testing.assert_array_equal(probabilities[:, [0, 3, 4]], before[:, [0, 3, 4]])
    np.testing.assert_array_equal(agree(probabilities, limits, PAIRS), probabilities)
    # Nothing is predicted but what was before, or was likely because of its descendants, and what these imply.
    alone = raise_ancestors(before, PAIRS) > limits
    expected = alone.copy()
    for label, ancestor in PAIRS:
        expected[:, ancestor] |= alone[:, label]
    np.testing.assert_array_equal(named, expected)


def test_without_a_hierarchy_nothing_changes():
    none, values = np.zeros((0, 2), np.int64), np.random.default_rng(0).random((3, 4))
    np.testing.assert_array_equal(agree(values, values[0], none), values)
    np.testing.assert_array_equal(agreeing_thresholds(values[0], none), values[0])


def test_labels_that_imply_each_other_are_equally_likely():
    cycle = np.array([[0, 1], [1, 0]])
    assert agree(np.array([[0.2, 0.7]]), np.array([0.5, 0.9]), cycle)[0, 0] > 0.9
    assert raise_ancestors(np.array([[0.2, 0.7]]), cycle).tolist() == [[0.7, 0.7]]


def test_agreement_costs_no_quality():
    rng = np.random.default_rng(0)
    pairs = np.stack([4 + np.arange(20), np.arange(20) % 4], axis=1)  # 20 genres below 4
    to_vectors, to_labels = (rng.standard_normal((12, n)) / np.sqrt(12) for n in (30, 24))
    to_labels[:, 4:] = 0.7 * to_labels[:, 4:] + 0.7 * to_labels[:, pairs[:, 1]]
    rates = np.append(np.full(4, 0.1), np.linspace(0.2, 0.03, 20))

    def tracks(n):
        latents = rng.standard_normal((n, 12))
        scores = latents @ to_labels + 0.5 * rng.standard_normal((n, 24))
        X = latents @ to_vectors + 0.5 * rng.standard_normal((n, 30))
        return X.astype(np.float32), raise_ancestors((scores > norm.isf(rates, scale=1.1)).astype(np.float32), pairs)

    (X, Y), (X_val, Y_val), (X_test, Y_test) = tracks(800), tracks(500), tracks(2000)
    head = LinearHead(l2=(0.03,), device="cpu").fit(X, Y, X_val, Y_val)
    calibration = fit_calibration(head.predict_proba(X_val), Y_val)
    before = calibration.apply(head.predict_proba(X_test))
    after = agree(before, calibration.thresholds, pairs)
    raw, agreeing = (evaluate(Y_test, one, thresholds=calibration.thresholds) for one in (before, after))
    alone = (before > calibration.thresholds)[:, pairs[:, 0]] & ~(before > calibration.thresholds)[:, pairs[:, 1]]
    assert alone.mean() > 0.005
    for name in ("map_macro", "lrap", "f1_macro", "f1_micro"):
        assert getattr(agreeing, name) > getattr(raw, name) - 0.005, name
    assert agreeing.ece < raw.ece + 0.01
