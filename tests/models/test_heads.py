"""The contract that every head keeps, and what the MLP must reach."""

import json

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from eno.errors import ConfigError, ModelError, NotFitted, UnknownName
from eno.evaluation.metrics import evaluate
from eno.models import HEADS, create_head, load_head
from eno.models.mlp import MLPHead

QUICK = {"mlp": {"hidden": (32,), "max_epochs": 30, "device": "cpu"}}


def problem(seed: int = 0, n: int = 600, dim: int = 12, labels: int = 5, scale: float = 1.0):
    """Labels that are noisy half-spaces of the vectors, from common to rare."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, dim))
    directions = np.random.default_rng(99).standard_normal((dim, labels))
    logits = X @ directions - np.linspace(0, 3, labels)
    Y = (rng.random((n, labels)) < 1 / (1 + np.exp(-2 * logits))).astype(np.float32)
    return (X * scale).astype(np.float32), Y


@pytest.fixture(params=[name for name in HEADS if name != "zero_shot"])  # which learns nothing: test_zero_shot.py
def name(request):
    return request.param


@pytest.fixture
def head(name):
    return create_head(name, **QUICK[name])


class TestContract:
    def test_learns_what_can_be_learned(self, head):
        X, Y = problem(0)
        X_test, Y_test = problem(1)
        result = evaluate(Y_test, head.fit(X, Y).predict_proba(X_test))
        assert result.roc_auc_macro > 0.9

    def test_probabilities(self, head):
        X, Y = problem()
        probabilities = head.fit(X, Y).predict_proba(X)
        assert probabilities.shape == Y.shape
        assert probabilities.dtype == np.float32
        assert ((probabilities >= 0) & (probabilities <= 1)).all()
        # On the whole as frequent as the labels are.
        np.testing.assert_allclose(probabilities.mean(axis=0), Y.mean(axis=0), atol=0.06)

    def test_same_seed_same_head_whatever_else_draws(self, name):
        X, Y = problem()
        torch.manual_seed(1)
        first = create_head(name, **QUICK[name], seed=3).fit(X, Y).predict_proba(X)
        torch.manual_seed(2)
        again = create_head(name, **QUICK[name], seed=3).fit(X, Y).predict_proba(X)
        other = create_head(name, **QUICK[name], seed=4).fit(X, Y).predict_proba(X)
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()

    def test_fitting_leaves_the_users_random_numbers_alone(self, head):
        X, Y = problem(n=50)
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        head.fit(X, Y)
        assert torch.equal(torch.rand(3), expected)

    def test_sparse_labels_are_the_same_labels(self, name):
        X, Y = problem()
        dense = create_head(name, **QUICK[name]).fit(X, Y).predict_proba(X)
        same = create_head(name, **QUICK[name]).fit(X, sparse.csr_array(Y)).predict_proba(X)
        np.testing.assert_array_equal(dense, same)

    def test_units_of_the_vectors_do_not_matter(self, name):
        (X, Y), (scaled, _) = problem(), problem(scale=1000.0)
        one = create_head(name, **QUICK[name]).fit(X, Y).predict_proba(X)
        other = create_head(name, **QUICK[name]).fit(scaled + 7, Y).predict_proba(scaled + 7)
        np.testing.assert_allclose(one, other, atol=0.02)

    def test_constant_dimensions_do_no_harm(self, name):
        X, Y = problem()
        padded = np.hstack([X, np.full((len(X), 3), 1e4, np.float32)])
        assert np.isfinite(create_head(name, **QUICK[name]).fit(padded, Y).predict_proba(padded)).all()

    def test_labels_of_one_class_are_predicted_as_they_are(self, head):
        X, Y = problem()
        Y[:, 1], Y[:, 2] = 0, 1
        probabilities = head.fit(X, Y).predict_proba(X)
        assert probabilities[:, 1].max() < 0.2
        assert probabilities[:, 2].min() > 0.8

    def test_save_and_load(self, head, tmp_path):
        X, Y = problem()
        head.fit(X, Y).save(tmp_path / "head")
        loaded = load_head(tmp_path / "head")
        np.testing.assert_allclose(loaded.predict_proba(X), head.predict_proba(X), atol=1e-7)
        assert type(loaded) is type(head)
        assert {file.suffix for file in (tmp_path / "head").iterdir()} <= {".json", ".safetensors", ".txt"}

    def test_not_fitted(self, head, tmp_path):
        with pytest.raises(NotFitted, match=r"call fit\(X, Y\)"):
            head.predict_proba(np.zeros((1, 12), np.float32))
        with pytest.raises(NotFitted):
            head.save(tmp_path)

    def test_damaged_files_are_refused(self, head, name, tmp_path):
        X, Y = problem()
        head.fit(X, Y).save(tmp_path / "head")
        for file in (tmp_path / "head").iterdir():
            content = file.read_bytes()
            file.write_bytes(content[: len(content) // 2])
            with pytest.raises(ModelError, match="head"):
                load_head(tmp_path / "head")
            file.write_bytes(content)
        load_head(tmp_path / "head")

    @pytest.mark.parametrize(
        ("X", "Y", "message"),
        [
            (np.zeros((4, 3)), np.zeros((5, 2)), r"\(4, 3\) and Y \(5, 2\)"),
            (np.zeros(4), np.zeros((4, 2)), r"expected \(n, dim\)"),
            (np.array([[0.0], [1.0], [np.nan], [2.0]]), np.zeros((4, 1)), "NaN or infinite values, first in row 2"),
            (np.zeros((4, 3)), np.full((4, 2), 2.0), "outside 0 … 1"),
            (np.zeros((1, 3)), np.ones((1, 2)), "at least 2"),
        ],
    )
    def test_bad_arrays_are_refused(self, head, X, Y, message):
        with pytest.raises(ValueError, match=message):
            head.fit(X, Y)

    def test_vectors_of_another_size_are_refused(self, head):
        head.fit(*problem())
        with pytest.raises(ValueError, match=r"\(2, 7\); this head was fitted on \(n, 12\)"):
            head.predict_proba(np.zeros((2, 7), np.float32))

    def test_unknown_option(self, name):
        with pytest.raises(ConfigError, match="no option 'colour'"):
            create_head(name, colour="red")


def test_unknown_head(tmp_path):
    with pytest.raises(UnknownName, match=r"Unknown head 'mpl'\. Did you mean 'mlp'"):
        create_head("mpl")
    with pytest.raises(ModelError, match="is not a saved head"):
        load_head(tmp_path)
    (tmp_path / "head.json").write_text(json.dumps({"head": "oracle"}))
    with pytest.raises(UnknownName, match="oracle"):
        load_head(tmp_path)


class TestMLP:
    def test_without_hidden_layers_it_is_logistic_regression(self):
        rng = np.random.default_rng(0)
        X, directions = rng.standard_normal((3000, 6)).astype(np.float32), rng.standard_normal((6, 4)) / 2
        Y = (rng.random((3000, 4)) < 1 / (1 + np.exp(-X @ directions))).astype(np.float32)
        options = {"hidden": (), "weight_decay": 0.0, "learning_rate": 3e-3, "batch_size": 128, "max_epochs": 80}
        # Validation rows without positives: the last pass is kept, by which the loss has converged.
        ours = MLPHead(**options).fit(X, Y, X[:1], Y[:1] * 0).predict_proba(X)
        theirs = np.stack([LogisticRegression(C=1e6).fit(X, y).predict_proba(X)[:, 1] for y in Y.T], axis=1)
        np.testing.assert_allclose(ours, theirs, atol=0.02)

    def test_hidden_layers_learn_what_no_line_separates(self):
        rng = np.random.default_rng(0)
        X = rng.uniform(-1, 1, (1500, 4)).astype(np.float32)
        Y = (X[:, :1] * X[:, 1:2] > 0).astype(np.float32)
        scores = {
            hidden: evaluate(
                Y[1000:], MLPHead(hidden=hidden, device="cpu").fit(X[:1000], Y[:1000]).predict_proba(X[1000:])
            )
            for hidden in ((), (64,))
        }
        assert scores[()].roc_auc_macro < 0.65
        assert scores[(64,)].roc_auc_macro > 0.95

    def test_stops_early_and_keeps_the_best_pass(self):
        X, Y = problem(n=80, dim=40)
        X_val, Y_val = problem(1, n=200, dim=40)
        head = MLPHead(hidden=(64,), max_epochs=500, patience=5, device="cpu").fit(X, Y, X_val, Y_val)
        assert len(head.history) == head.best_epoch + 6 < 500
        best = head.history[head.best_epoch].val_map
        assert best == max(epoch.val_map for epoch in head.history)
        assert evaluate(Y_val, head.predict_proba(X_val)).map_macro == pytest.approx(best)

    def test_validation_without_positives_keeps_the_last_pass(self):
        X, Y = problem(n=80)
        head = MLPHead(max_epochs=4, device="cpu").fit(X, Y, X[:10], np.zeros((10, 5)))
        assert head.best_epoch == 3
        assert head.history[-1].val_map is None


def test_mlp_learns_which_layer_of_the_encoder_to_listen_to():
    X, Y = problem(0, scale=1.0)
    noise = np.random.default_rng(5).standard_normal((len(X), 3, X.shape[1])).astype(np.float32)
    layers = np.concatenate([noise[:, :2], X[:, None], noise[:, 2:]], axis=1)
    head = MLPHead(hidden=(32,), max_epochs=60, learning_rate=1e-2, device="cpu").fit(layers, Y)
    weights = head._network.layer_weights.softmax(0)
    assert weights.argmax() == 2
    assert weights[2] > 0.5
    X_test, Y_test = problem(1)
    rest = np.random.default_rng(6).standard_normal((len(X_test), 3, X.shape[1])).astype(np.float32)
    test_layers = np.concatenate([rest[:, :2], X_test[:, None], rest[:, 2:]], axis=1)
    assert evaluate(Y_test, head.predict_proba(test_layers)).roc_auc_macro > 0.85
    with pytest.raises(ValueError, match=r"this head was fitted on \(n, 4, 12\)"):
        head.predict_proba(X_test)


def test_mlp_over_layers_saved_and_loaded(tmp_path):
    X, Y = problem(0)
    layers = np.stack([X, -X], axis=1)
    head = MLPHead(hidden=(8,), max_epochs=2, device="cpu").fit(layers, Y)
    head.save(tmp_path)
    np.testing.assert_array_equal(load_head(tmp_path).predict_proba(layers), head.predict_proba(layers))
