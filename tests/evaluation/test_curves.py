import numpy as np
import pytest
from sklearn import metrics as sk

from eno.evaluation.curves import precision_recall, reliability_curve, threshold_curve
from eno.evaluation.metrics import calibration_errors, evaluate


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    truth = random.random((90, 5)) < [0.1, 0.2, 0.3, 0.4, 0.5]
    return truth, np.clip(0.3 * truth + 0.7 * random.random(truth.shape), 0, 1).astype(np.float32).round(2)


def test_points_are_on_the_curve_of_scikit_learn(data):
    truth, p = data[0][:, 2], data[1][:, 2]
    found = precision_recall("x", 0.5, p[truth], [p[:40], p[40:]])
    precision, recall, _ = sk.precision_recall_curve(truth, p)
    expected = {(round(a, 6), round(b, 6)) for a, b in zip(recall, precision, strict=True)}
    assert {(round(a, 6), round(b, 6)) for a, b in zip(found.recall, found.precision, strict=True)} <= expected
    assert found.recall[-1] == 1
    assert (np.diff(found.recall) > 0).all()


def test_long_curves_are_thinned():
    random = np.random.default_rng(0)
    scores = random.random(9000)
    assert len(precision_recall("x", 0.5, scores[::3], [scores]).recall) <= 200


def test_threshold_curve_equals_evaluation_at_each_threshold(data):
    found = threshold_curve(*data)
    for i in (0, 29, 49, 98):
        expected = evaluate(*data, thresholds=float(found.thresholds[i]))
        assert (found.f1_macro[i], found.f1_micro[i]) == pytest.approx((expected.f1_macro, expected.f1_micro))


def test_reliability_adds_up_to_the_calibration_error(data):
    found = reliability_curve(*data)
    full = found.decisions > 0
    gaps = np.abs(found.predicted - found.observed)[full]
    assert (gaps * found.decisions[full]).sum() / data[0].size == pytest.approx(calibration_errors(*data)[0])
    assert np.isnan(found.predicted[~full]).all()
