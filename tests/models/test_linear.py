"""Logistic regression: that of scikit-learn, for all labels at once."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from eno.evaluation.metrics import evaluate
from eno.models.linear import LinearHead
from tests.models.test_heads import problem


class TestLinear:
    @pytest.mark.parametrize("l2", [1.0, 0.01])
    def test_is_scikit_learns_logistic_regression(self, l2):
        X, Y = problem(n=800)
        ours = LinearHead(l2=(l2,), max_iterations=2000, device="cpu").fit(X, Y, X[:1], Y[:1] * 0).predict_proba(X)
        standardised = StandardScaler().fit_transform(X)
        model = LogisticRegression(C=1 / (l2 * len(X)), max_iter=2000, tol=1e-8)
        theirs = np.stack([model.fit(standardised, y).predict_proba(standardised)[:, 1] for y in Y.T], axis=1)
        np.testing.assert_allclose(ours, theirs, atol=2e-3)

    def test_chooses_the_strength_that_validation_likes_best(self):
        rng = np.random.default_rng(0)
        X, X_val = rng.standard_normal((80, 60)).astype(np.float32), rng.standard_normal((2000, 60)).astype(np.float32)
        Y, Y_val = ((X[:, :3] + rng.standard_normal((80, 3)) > 0) * 1.0, (X_val[:, :3] > 0) * 1.0)
        head = LinearHead(device="cpu").fit(X, Y, X_val, Y_val)
        assert head.chosen_l2 == max(head.val_map, key=head.val_map.get)
        assert head.chosen_l2 > 0.001  # 60 dimensions and 80 rows
        assert evaluate(Y_val, head.predict_proba(X_val)).map_macro == pytest.approx(head.val_map[head.chosen_l2])