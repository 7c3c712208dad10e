import numpy as np
import pytest

from eno.evaluation.metrics import evaluate, prevalence_baseline
from eno.evaluation.report import evaluate_head, metrics_table

TRUTH = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]])
SCORES = np.array([[0.9, 0.8, 0.7], [0.4, 0.6, 0.1], [0.6, 0.2, 0.1], [0.1, 0.1, 0.1]])


def average_precision(truth, scores):
    """By the definition: precision at the rank of every positive, averaged."""
    ranked = truth[np.argsort(-scores, kind="stable")]
    return np.mean([ranked[: rank + 1].mean() for rank in np.flatnonzero(ranked)])


def roc_auc(truth, scores):
    """By the definition: how often a positive stands above a negative."""
    above = scores[truth == 1][:, None] - scores[truth == 0][None]
    return ((above > 0) + 0.5 * (above == 0)).mean()


def test_by_hand():
    result = evaluate(TRUTH, SCORES)
    # The third label has no positive, so it is counted and left out.
    assert (result.labels, result.labels_skipped) == (2, 1)
    # Above 0.5: label 0 in rows 0, 2 (one right of two, one of two found), label 1 in rows 0, 1 (likewise).
    assert (result.precision_macro, result.recall_macro, result.f1_macro) == (0.5, 0.5, 0.5)
    assert (result.precision_micro, result.recall_micro, result.f1_micro) == (0.5, 0.5, 0.5)
    assert result.map_macro == pytest.approx(np.mean([(1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2]))
    assert result.roc_auc_macro == pytest.approx(np.mean([3 / 4, 2 / 4]))


def test_by_the_definitions():
    rng = np.random.default_rng(0)
    truth = (rng.random((200, 7)) < np.linspace(0.05, 0.6, 7)).astype(float)
    scores = rng.random((200, 7)) + 0.3 * truth
    result = evaluate(truth, scores, threshold=0.7)
    columns = range(7)
    assert result.map_macro == pytest.approx(np.mean([average_precision(truth[:, i], scores[:, i]) for i in columns]))
    assert result.roc_auc_macro == pytest.approx(np.mean([roc_auc(truth[:, i], scores[:, i]) for i in columns]))
    predicted = scores > 0.7
    hits = (predicted & (truth == 1)).sum(axis=0)
    precision, recall = hits / predicted.sum(axis=0), hits / truth.sum(axis=0)
    assert result.precision_macro == pytest.approx(precision.mean())
    assert result.recall_macro == pytest.approx(recall.mean())
    assert result.f1_macro == pytest.approx((2 * precision * recall / (precision + recall)).mean())
    assert result.f1_micro == pytest.approx(2 * hits.sum() / (predicted.sum() + truth.sum()))


def test_threshold_is_strict():
    assert evaluate(TRUTH, np.full((4, 3), 0.5)).recall_micro == 0


def test_prevalence_ranks_nothing():
    baseline = prevalence_baseline(TRUTH, 4)
    np.testing.assert_allclose(baseline, [[0.5, 0.5, 0]] * 4)
    assert evaluate(TRUTH, baseline).roc_auc_macro == 0.5


@pytest.mark.parametrize("truth", [np.zeros((3, 2)), np.ones((3, 2))])
def test_nothing_to_judge(truth):
    with pytest.raises(ValueError, match="none of the 2 labels"):
        evaluate(truth, np.zeros((3, 2)))


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(4, 3\), probabilities \(4, 2\)"):
        evaluate(TRUTH, SCORES[:, :2])


def test_report_judges_families_apart():
    class Oracle:
        def predict_proba(self, X):
            return X

    truth = np.hstack([TRUTH[:, :2], TRUTH[::-1, :2]])
    X = np.hstack([TRUTH[:, :2], 1 - TRUTH[::-1, :2]])  # all genres right, all descriptors wrong
    results = evaluate_head(Oracle(), "oracle", train_truth=truth, X=X, truth=truth, genres=2)
    assert list(results) == ["prevalence", "oracle", "oracle: genres", "oracle: descriptors"]
    assert results["oracle: genres"].f1_macro == 1
    assert results["oracle: descriptors"].f1_macro == 0
    assert metrics_table(results).row_count == 4
