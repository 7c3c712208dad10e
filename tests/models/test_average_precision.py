import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from eno.models.average_precision import average_precision_and_auc, macro_map


@pytest.mark.parametrize("decimals", [1, 2, 8])  # many ties, some, none
def test_equals_scikit_learn(decimals):
    rng = np.random.default_rng(decimals)
    truth = (rng.random((400, 11)) < np.linspace(0.03, 0.9, 11)).astype(np.float32)
    scores = np.round(rng.random((400, 11)), decimals).astype(np.float32)
    expected = [average_precision_score(y, p) for y, p in zip(truth.T, scores.T, strict=True)]
    np.testing.assert_allclose(average_precision_and_auc(truth, scores)[0], expected, rtol=1e-12)


def test_labels_with_a_single_class():
    truth = np.array([[0, 1, 1], [0, 1, 0]])
    scores = np.array([[0.5, 0.1, 0.2], [0.5, 0.2, 0.1]])
    assert np.isnan(average_precision_and_auc(truth, scores)[0][0])
    assert macro_map(truth, scores) == 1.0  # of the third label alone
    assert macro_map(truth[:, :2], scores[:, :2]) is None
    assert np.isnan(average_precision_and_auc(np.zeros((0, 2)), np.zeros((0, 2)))).all()
    with pytest.raises(ValueError, match="scores"):
        average_precision_and_auc(truth, scores[:, :2])
