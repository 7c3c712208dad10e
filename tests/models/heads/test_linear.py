"""Logistic regression of all labels at once against scikit-learn."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, log_loss
from sklearn.preprocessing import StandardScaler

from eno.evaluation.metrics import evaluate
from eno.models.heads import linear, linear_fit
from eno.models.heads.linear import LinearHead
from tests.models.test_heads import problem


class TestLinear:
    @pytest.mark.parametrize("l2", [1.0, 0.01])
    def test_equals_scikit_learn(self, l2):
        X, Y = problem(n=800)
        ours = LinearHead(l2=(l2,), max_iterations=2000, device="cpu").fit(X, Y, X[:1], Y[:1] * 0).predict_proba(X)
        standardised = StandardScaler().fit_transform(X)
        model = LogisticRegression(C=1 / (l2 * len(X)), solver="newton-cholesky", tol=1e-8)
        theirs = np.stack([model.fit(standardised, y).predict_proba(standardised)[:, 1] for y in Y.T], axis=1)
        np.testing.assert_allclose(ours, theirs, atol=2e-3)

    def test_penalty_with_the_best_map_and_log_loss_is_chosen(self):
        rng = np.random.default_rng(0)
        X, X_val = rng.standard_normal((80, 60)).astype(np.float32), rng.standard_normal((2000, 60)).astype(np.float32)
        Y, Y_val = ((X[:, :3] + rng.standard_normal((80, 3)) > 0) * 1.0, (X_val[:, :3] > 0) * 1.0)
        head = LinearHead(device="cpu").fit(X, Y, X_val, Y_val)
        found = {
            l2: LinearHead(l2=(l2,), device="cpu").fit(X, Y, X_val, Y_val).predict_proba(X_val) for l2 in head.val_map
        }
        scores = {
            l2: average_precision_score(Y_val, p) - np.mean([log_loss(*one) for one in zip(Y_val.T, p.T, strict=True)])
            for l2, p in found.items()
        }
        assert head.chosen_l2 == max(scores, key=scores.get)
        assert head.chosen_l2 > 0.001  # 60 dimensions and 80 rows
        assert evaluate(Y_val, head.predict_proba(X_val)).map_macro == pytest.approx(head.val_map[head.chosen_l2])

    @pytest.mark.parametrize(("rows", "dim", "bound"), [(60, 300, (0.3, np.inf)), (4000, 3, (0, 3e-4))])
    def test_the_search_goes_as_far_as_the_data_need(self, rows, dim, bound):
        # Few noisy rows of many dimensions need a strong penalty, many rows of few dimensions a weak one.
        rng = np.random.default_rng(0)
        X, X_val = rng.standard_normal((rows, dim)), rng.standard_normal((3000, dim))
        directions = rng.standard_normal((dim, 4)) * np.geomspace(1, 1e-3, 4) if dim < 10 else np.ones((dim, 4))
        Y, Y_val = (
            (values @ directions + rng.standard_normal((len(values), 4)) * np.sqrt(dim) * (dim > 10) > 0) * 1.0
            for values in (X, X_val)
        )
        head = LinearHead(device="cpu").fit(X, Y, X_val, Y_val)
        assert bound[0] < head.chosen_l2 < bound[1]
        tried = sorted(head.val_map)
        assert tried[1] < head.chosen_l2 < tried[-2]  # never at an edge

    def test_correlated_dimensions_and_rare_labels_converge_in_few_steps(self):
        # As of an encoder: variances differ a thousandfold between directions, and labels are frequent or rare.
        rng = np.random.default_rng(0)
        X = rng.standard_normal((4000, 30)) * np.geomspace(1, 1e-3, 30) @ rng.standard_normal((30, 30)) + 50
        standardised = StandardScaler().fit_transform(X)
        logits = 2 * standardised @ rng.standard_normal((30, 4)) / np.sqrt(30) - [0, 2, 4, 6]
        Y = (rng.random((4000, 4)) < 1 / (1 + np.exp(-logits))).astype(np.float32)
        ours = LinearHead(l2=(1e-3,), max_iterations=60, device="cpu").fit(X, Y, X[:1], Y[:1] * 0).predict_proba(X)
        model = LogisticRegression(C=1 / (1e-3 * len(X)), solver="newton-cholesky", tol=1e-8)
        theirs = np.stack([model.fit(standardised, y).predict_proba(standardised)[:, 1] for y in Y.T], axis=1)
        np.testing.assert_allclose(ours, theirs, atol=5e-3)

    def test_vectors_on_disk_are_read_in_chunks(self, tmp_path, monkeypatch):
        X, Y = problem()
        expected = LinearHead(device="cpu").fit(X, Y)
        monkeypatch.setattr(linear_fit, "_LOGITS_AT_ONCE", 5 * 256)
        monkeypatch.setattr(linear_fit, "_CACHED", 0)
        np.save(tmp_path / "X.npy", X)
        mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
        again = LinearHead(device="cpu").fit(mapped, sparse.csr_array(Y))
        assert again.chosen_l2 == expected.chosen_l2
        np.testing.assert_allclose(again.predict_proba(X), expected.predict_proba(X), atol=1e-4)

    def test_penalty_selected_on_a_sample_is_fitted_on_all_rows(self, monkeypatch):
        X, Y = problem(n=1500, dim=40)
        X_val, Y_val = problem(1, dim=40)
        monkeypatch.setattr(linear, "_STAGES", (200, 600))
        monkeypatch.setattr(linear, "_COARSE", 1e-6)
        head = LinearHead(device="cpu").fit(X, Y, X_val, Y_val)
        assert [*head.val_map] == [head.chosen_l2]
        alone = LinearHead(l2=(head.chosen_l2,), device="cpu").fit(X, Y, X_val, Y_val)
        np.testing.assert_allclose(head.predict_proba(X), alone.predict_proba(X), atol=0.01)

    @pytest.mark.parametrize("l2", [(0.0,), (0.1, 0.01, 0.001)])
    def test_given_penalties_are_the_only_ones(self, monkeypatch, l2):
        X, Y = problem(n=1500, dim=40)
        monkeypatch.setattr(linear, "_STAGES", (200, 600))
        head = LinearHead(l2=l2, max_iterations=20, device="cpu").fit(X, Y)
        assert head.chosen_l2 in l2
        assert head.val_map.keys() <= set(l2)
