import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn import metrics as sk

from eno.evaluation.metrics import BINS, calibration_errors, evaluate, prevalence_baseline, reliability

TRUTH = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]])
SCORES = np.array([[0.9, 0.8, 0.7], [0.4, 0.6, 0.1], [0.6, 0.2, 0.1], [0.1, 0.1, 0.1]])


def test_values_computed_by_hand():
    result = evaluate(TRUTH, SCORES)
    # The third label has no positive, so it is excluded and counted.
    assert (result.labels, result.without_positives, result.without_negatives) == (2, 1, 0)
    assert (result.rows, result.rows_without_labels) == (4, 1)
    # Above 0.5: label 0 in rows 0, 2 (one right of two, one of two found), label 1 in rows 0, 1 (likewise).
    assert (result.precision_macro, result.recall_macro, result.f1_macro) == (0.5, 0.5, 0.5)
    assert (result.precision_micro, result.recall_micro, result.f1_micro) == (0.5, 0.5, 0.5)
    # By rows: {0} of {0, 1}, {1} of {1} where {0, 1} are true, none of {0}.
    assert result.precision_samples == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert result.recall_samples == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert result.f1_samples == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert result.map_macro == pytest.approx(np.mean([(1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2]))
    # All decisions ranked: .9 true, .8, .6 true and .6 not, .4 true, .2 true, then what is not.
    assert result.map_micro == pytest.approx(np.mean([1, 2 / 4, 3 / 5, 4 / 6]))
    assert result.roc_auc_macro == pytest.approx(np.mean([3 / 4, 2 / 4]))
    assert result.lrap == pytest.approx(np.mean([1, 1, 1 / 2]))
    assert result.coverage_error == pytest.approx(np.mean([1, 2, 2]))
    assert result.hamming_loss == 4 / 8


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 9]), st.integers(2, 6))
def test_equals_scikit_learn(seed, digits, labels):
    random = np.random.default_rng(seed)
    truth = random.random((40, labels)) < np.linspace(0.1, 0.6, labels)
    truth[:2] = [[True], [False]]  # so that all labels have positives and negatives
    scores = random.random((40, labels)).round(digits)
    thresholds = random.random(labels).round(digits)
    result = evaluate(truth, scores, thresholds=thresholds)
    predicted, rows = scores > thresholds, truth.any(axis=1)
    for average, chosen in (("macro", slice(None)), ("micro", slice(None)), ("samples", rows)):
        expected = sk.precision_recall_fscore_support(
            truth[chosen], predicted[chosen], average=average, zero_division=0.0
        )
        found = [getattr(result, f"{name}_{average}") for name in ("precision", "recall", "f1")]
        assert found == pytest.approx(list(expected[:3]))
    for average in ("macro", "micro"):
        expected = sk.average_precision_score(truth, scores, average=average)
        assert getattr(result, f"map_{average}") == pytest.approx(expected)
    assert result.roc_auc_macro == pytest.approx(sk.roc_auc_score(truth, scores, average="macro"))
    assert result.lrap == pytest.approx(sk.label_ranking_average_precision_score(truth[rows], scores[rows]))
    assert result.coverage_error == pytest.approx(sk.coverage_error(truth[rows], scores[rows]))
    assert result.hamming_loss == pytest.approx(sk.hamming_loss(truth, predicted))


def test_single_label():
    result = evaluate(TRUTH[:, :1], SCORES[:, :1])  # scikit-learn would average the label and its absence
    assert (result.precision_macro, result.recall_macro, result.f1_macro, result.f1_micro) == (0.5, 0.5, 0.5, 0.5)
    assert (result.lrap, result.coverage_error, result.recall_samples) == (1, 1, 0.5)


def test_calibration_errors_by_definition():
    random = np.random.default_rng(0)
    truth, probabilities = random.random((300, 4)) < 0.3, random.random((300, 4)).astype(np.float32)
    probabilities[:3] = [[0], [1], [0.5]]

    def by_definition(y, p):
        total = 0.0
        for i in range(BINS):
            inside = (p >= i / BINS) & ((p < (i + 1) / BINS) | (i == BINS - 1))
            if inside.any():
                total += abs(p[inside].mean() - y[inside].mean()) * inside.mean()
        return total

    overall, by_label = calibration_errors(truth, probabilities)
    assert overall == pytest.approx(by_definition(truth.ravel(), probabilities.ravel()))
    np.testing.assert_allclose(by_label, [by_definition(truth[:, i], probabilities[:, i]) for i in range(4)], rtol=1e-6)
    assert reliability(truth, probabilities)[0].sum() == truth.size


def test_calibrated_probabilities_have_no_calibration_error():
    random = np.random.default_rng(0)
    probabilities = random.random((200_000, 1))
    assert calibration_errors(random.random((200_000, 1)) < probabilities, probabilities)[0] < 0.005
    assert calibration_errors(random.random((200_000, 1)) < probabilities**2, probabilities)[0] > 0.1


def test_thresholds_are_strict_even_in_single_precision():
    assert evaluate(TRUTH, np.full((4, 3), 0.5)).recall_micro == 0
    assert evaluate(TRUTH, np.full((4, 3), 0.1, np.float32), thresholds=0.1).recall_micro == 0
    assert evaluate(TRUTH, np.full((4, 3), 0.1, np.float32), thresholds=np.full(3, 0.1)).recall_micro == 0


def test_thresholds_per_label():
    result = evaluate(TRUTH, SCORES, thresholds=np.array([0.3, 0.9, 0]))
    assert result.recall_macro == 0.5  # all of the first, none of the second
    assert result.precision_micro == pytest.approx(2 / 3)


def test_prevalence_baseline_is_a_random_ranking():
    baseline = prevalence_baseline(TRUTH, 4)
    np.testing.assert_allclose(baseline, [[0.5, 0.5, 0]] * 4)
    assert evaluate(TRUTH, baseline).roc_auc_macro == 0.5
    assert evaluate(TRUTH, baseline).map_macro == 0.5


@pytest.mark.parametrize("truth", [np.zeros((3, 2)), np.ones((3, 2)), np.zeros((0, 2)), np.zeros((3, 0))])
def test_nothing_to_evaluate(truth):
    with pytest.raises(ValueError, match=rf"None of the {truth.shape[1]} labels .* in {len(truth)} rows"):
        evaluate(truth, np.zeros(truth.shape))


@pytest.mark.parametrize(
    ("scores", "thresholds", "message"),
    [
        (SCORES[:, :2], 0.5, r"\(4, 3\), probabilities \(4, 2\)"),
        (np.where(SCORES == 0.9, np.nan, SCORES), 0.5, "row 0, label 0 is nan"),
        (np.where(SCORES == 0.8, 1.5, SCORES), 0.5, "row 0, label 1 is 1.5"),
        (SCORES, np.zeros(2), r"thresholds have the shape \(2,\)"),
        (SCORES, np.nan, "without NaN"),
    ],
)
def test_invalid_predictions(scores, thresholds, message):
    with pytest.raises(ValueError, match=message):
        evaluate(TRUTH, scores, thresholds=thresholds)


def test_labels_that_are_nan_are_refused():
    with pytest.raises(ValueError, match="truth has NaN"):
        evaluate(np.where(TRUTH > 0, np.nan, TRUTH), SCORES)


def test_prevalence_baseline_of_sparse_labels_does_not_make_them_dense(monkeypatch):
    labels = sparse.csr_array(TRUTH * 0.5)
    expected = prevalence_baseline(TRUTH, 4)
    monkeypatch.setattr(sparse.csr_array, "toarray", None)
    np.testing.assert_array_equal(prevalence_baseline(labels, 4), expected)


def test_labels_that_are_not_known_do_not_count():
    random = np.random.default_rng(3)
    truth, scores = random.random((60, 5)) < 0.3, random.random((60, 5))
    known = random.random((60, 5)) < 0.7
    result = evaluate(truth, scores, thresholds=0.6, known=known)
    assert result == evaluate(truth | ~known, np.where(known, scores, 1 - scores), thresholds=0.6, known=known)
    of_labels = [(truth[known[:, i], i], scores[known[:, i], i]) for i in range(5)]
    assert result.map_macro == pytest.approx(np.mean([sk.average_precision_score(*one) for one in of_labels]))
    assert result.roc_auc_macro == pytest.approx(np.mean([sk.roc_auc_score(*one) for one in of_labels]))
    assert result.f1_macro == pytest.approx(np.mean([sk.f1_score(y, p > 0.6) for y, p in of_labels]))
    assert result.map_micro == pytest.approx(sk.average_precision_score(truth[known], scores[known]))
    assert result.f1_micro == pytest.approx(sk.f1_score(truth[known], scores[known] > 0.6))
    assert result.hamming_loss == pytest.approx(np.mean(truth[known] != (scores[known] > 0.6)))
    assert result.ece == pytest.approx(calibration_errors(truth[known][:, None], scores[known][:, None])[0])
    rows = [row for row in range(60) if (truth & known)[row].any()]
    lrap = [
        sk.label_ranking_average_precision_score(truth[row : row + 1, known[row]], scores[row : row + 1, known[row]])
        for row in rows
    ]
    assert result.lrap == pytest.approx(np.mean(lrap))
    assert (result.rows, result.rows_without_labels) == (known.any(axis=1).sum(), known.any(axis=1).sum() - len(rows))
    with pytest.raises(ValueError, match="known has the shape"):
        evaluate(truth, scores, known=known[:, :2])


def test_base_rates_are_shares_of_the_rows_in_which_a_label_is_known():
    truth = np.array([[1, 0], [1, 0], [0, 1], [0, 0]])
    assert prevalence_baseline(truth, 1, np.array([4, 2])).tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize("is_known", [False, True])
def test_some_labels_equal_a_copy_of_them(monkeypatch, is_known):
    monkeypatch.setattr("eno.evaluation.metrics._VALUES_AT_ONCE", 30)  # so that there are several blocks
    monkeypatch.setattr("eno.models.average_precision._VALUES_AT_ONCE", 30)
    random = np.random.default_rng(3)
    truth = random.random((60, 9)) < np.linspace(0.05, 0.9, 9)
    truth[:, 2] = False
    probabilities, thresholds = random.random((60, 9)).astype(np.float32).round(1), random.random(9)
    known = random.random((60, 9)) < 0.8 if is_known else None
    some = np.array([1, 2, 5, 8])
    expected = evaluate(
        truth[:, some],
        probabilities[:, some],
        thresholds=thresholds[some],
        known=None if known is None else known[:, some],
    )
    assert evaluate(truth, probabilities, thresholds=thresholds, known=known, labels=some) == expected
