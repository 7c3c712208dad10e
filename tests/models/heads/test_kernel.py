"""The Gaussian kernel against scikit-learn's."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from eno.evaluation.metrics import evaluate
from eno.models.heads.kernel import KernelHead
from eno.models.heads.linear import LinearHead
from tests.models.test_heads import problem


def test_equals_logistic_regression_on_the_features_of_scikit_learn():
    X, Y = problem(n=300, labels=3)
    X_test, _ = problem(1, n=100, labels=3)
    head = KernelHead(gamma=0.5, l2=(0.01,), max_iterations=2000, device="cpu").fit(X, Y, X[:1], Y[:1] * 0)
    scaler = StandardScaler().fit(X)
    features = Nystroem(gamma=0.5 / X.shape[1], n_components=len(X), random_state=0)
    features.fit(np.clip(scaler.transform(X), -3, 3))
    model = LogisticRegression(C=1 / (0.01 * len(X)), solver="lbfgs", tol=1e-8, max_iter=5000)
    train, test = (features.transform(np.clip(scaler.transform(values), -3, 3)) for values in (X, X_test))
    theirs = np.stack([model.fit(train, y).predict_proba(test)[:, 1] for y in Y.T], axis=1)
    np.testing.assert_allclose(head.predict_proba(X_test), theirs, atol=3e-3)


@pytest.mark.parametrize("landmarks", [100, 1000])
def test_learns_what_a_linear_model_cannot(landmarks):
    X, X_test = (np.random.default_rng(seed).standard_normal((800, 4)).astype(np.float32) for seed in (0, 1))
    Y, Y_test = ((values[:, :2] * values[:, 2:] > 0).astype(np.float32) for values in (X, X_test))  # exclusive or
    rows = X[:600], Y[:600], X[600:], Y[600:]
    found = KernelHead(landmarks=landmarks, device="cpu").fit(*rows).predict_proba(X_test)
    assert evaluate(Y_test, found).map_macro > 0.9
    assert evaluate(Y_test, LinearHead(device="cpu").fit(*rows).predict_proba(X_test)).map_macro < 0.6


def test_one_outlying_value_does_not_make_a_row_unlike_all_others():
    X, Y = problem(n=300, labels=3)
    head = KernelHead(device="cpu").fit(X, Y)
    near, far = X[:20].copy(), X[:20].copy()
    near[:, 0], far[:, 0] = X[:, 0].mean() + 3.5 * X[:, 0].std(), 1e6
    np.testing.assert_allclose(head.predict_proba(far), head.predict_proba(near), atol=1e-6)


def test_heads_saved_before_outlying_values_were_limited_predict_the_same(tmp_path):
    X, Y = problem(n=300, labels=3)
    head = KernelHead(device="cpu").fit(X, Y)
    head._features.arrays["farthest"][:] = np.inf
    head.save(tmp_path)
    arrays = load_file(tmp_path / "head.safetensors")
    del arrays["farthest"]
    save_file(arrays, tmp_path / "head.safetensors")
    np.testing.assert_allclose(KernelHead.load(tmp_path).predict_proba(10 * X), head.predict_proba(10 * X), atol=1e-6)
