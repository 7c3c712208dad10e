"""Weights of labels against dense arrays."""

import numpy as np
import pytest
from scipy import sparse

from eno.models.label_weights import LabelWeights

FAMILY = np.array([0, 0, 1, 1, 1])


@pytest.fixture
def weights():
    rows = np.array([[1, 1], [1, 0], [0, 2], [0, 0]], np.float32)
    return LabelWeights.of_families(rows, FAMILY).with_single(np.array([1, 3, 0]), np.array([4, 0, 1]), 5.0)


@pytest.fixture
def dense():
    return np.array([[1, 5, 1, 1, 1], [1, 1, 0, 0, 5], [0, 0, 2, 2, 2], [5, 0, 0, 0, 0]], np.float32)


def test_everything_agrees_with_the_dense_array(weights, dense):
    assert weights.dense().tolist() == dense.tolist()
    assert weights.totals().tolist() == dense.sum(axis=0).tolist()
    assert weights.known().tolist() == (dense > 0).tolist()
    assert [weights.of_label(label).tolist() for label in range(5)] == dense.T.tolist()
    ballots = sparse.csr_array(np.random.default_rng(0).random((3, 4)) * (np.arange(4) != 1))
    np.testing.assert_allclose(weights.votes(ballots), ballots @ dense, rtol=1e-6)
    labels = sparse.csr_array(np.random.default_rng(1).random((4, 5)) < 0.5, dtype=np.float32)
    assert weights.times(labels).toarray().tolist() == (labels.toarray() * dense).tolist()
    some = np.array([3, 1])
    assert weights[some].dense().tolist() == dense[some].tolist()
    assert weights.of_labels(some).dense().tolist() == dense[:, some].tolist()
    assert weights.counted().tolist() == dense.any(axis=1).tolist()
    assert LabelWeights.joined([weights[:1], weights[1:]]).dense().tolist() == dense.tolist()


def test_a_weight_that_is_set_twice_is_the_last_one(weights, dense):
    dense[1, 4] = 2
    assert weights.with_single(np.array([1]), np.array([4]), 2.0).dense().tolist() == dense.tolist()


def test_weights_of_rows_and_of_labels():
    shape = 3, 2
    assert LabelWeights.of(None, shape).dense().tolist() == [[1], [1], [1]]
    assert LabelWeights.of(None, shape).known() is None
    assert LabelWeights.of(np.array([1, 2, 0]), shape).dense().tolist() == [[1], [2], [0]]
    values = np.array([[1, 2], [0, 3], [0, 0]], np.float32)
    assert LabelWeights.of(values, shape).dense().tolist() == values.tolist()
    for broken in (np.ones((2, 2)), np.ones(2), -np.ones(3), np.full((3, 2), np.nan)):
        with pytest.raises(ValueError, match="sample_weight"):
            LabelWeights.of(broken, shape)
    with pytest.raises(ValueError, match="expected"):
        LabelWeights.of(LabelWeights.of(None, (3, 4)), shape)
