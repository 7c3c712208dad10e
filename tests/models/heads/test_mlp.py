"""The MLP: windows, losses, training."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from sklearn.metrics import roc_auc_score

from eno.errors import TrainingError
from eno.models import MLPHead, load_head
from eno.models.bags import Bags
from eno.models.heads.mlp import _rate, _repeated
from tests.models.test_heads import problem


def one_informative_window(seed, tracks=500, dim=10):
    rng = np.random.default_rng(seed)
    counts = rng.integers(3, 7, tracks)
    windows = rng.standard_normal((counts.sum(), dim)).astype(np.float32)
    Y = (rng.random((tracks, 1)) < 0.5).astype(np.float32)
    informative = np.cumsum(counts) - counts + rng.integers(0, counts)
    windows[informative, 0] = 4.0  # marks the window whose second dimension has the label
    windows[informative, 1] = np.where(Y[:, 0] > 0, 1.5, -1.5) + 0.3 * rng.standard_normal(tracks)
    return Bags(windows, counts), Y


@pytest.fixture(scope="module")
def scores():
    (X, Y), (X_val, Y_val), (X_test, Y_test) = (one_informative_window(seed) for seed in (0, 2, 1))
    options = {"hidden": (32,), "dropout": 0.0, "max_epochs": 30, "learning_rate": 1e-2, "device": "cpu"}
    heads = {pooling: MLPHead(pooling=pooling, **options) for pooling in ("none", "mean", "attention", "max")}
    for pooling, head in heads.items():
        means = pooling == "none"
        head.fit(X.means() if means else X, Y, X_val.means() if means else X_val, Y_val)
    return {
        pooling: roc_auc_score(Y_test, head.predict_proba(X_test.means() if pooling == "none" else X_test))
        for pooling, head in heads.items()
    }, heads


class TestWindows:
    def test_attention_and_maximum_find_the_informative_window(self, scores):
        found, _ = scores
        assert found["attention"] > 0.97
        assert found["max"] > 0.97
        assert found["none"] < 0.93

    @pytest.mark.parametrize("pooling", ["mean", "attention", "max"])
    def test_predictions_do_not_depend_on_other_tracks_or_their_order(self, scores, pooling, tmp_path):
        head = scores[1][pooling]
        X, _ = one_informative_window(2, tracks=9)
        together = head.predict_proba(X)
        alone = np.concatenate([head.predict_proba(X[np.array([i])]) for i in range(len(X))])
        np.testing.assert_allclose(together, alone, atol=1e-6)
        reversed_bags = Bags(X.windows[::-1], X.counts[::-1])
        np.testing.assert_allclose(head.predict_proba(reversed_bags)[::-1], together, atol=1e-6)
        head.save(tmp_path)
        np.testing.assert_allclose(load_head(tmp_path).predict_proba(X), together, atol=1e-6)

    def test_a_mean_vector_counts_as_one_window(self, scores):
        head = scores[1]["attention"]
        X = np.random.default_rng(0).standard_normal((4, 10)).astype(np.float32)
        np.testing.assert_allclose(head.predict_proba(X), head.predict_proba(Bags(X, np.ones(4, int))), atol=1e-6)

    def test_arrays_without_windows_are_refused(self):
        with pytest.raises(ValueError, match="needs windows"):
            MLPHead(pooling="max").fit(*problem(n=50))
        with pytest.raises(ValueError, match="expected one of none, mean, attention, max"):
            MLPHead(pooling="median").fit(*problem(n=50))


class TestLosses:
    def test_focal_loss_with_gamma_0_is_cross_entropy(self):
        X, Y = problem(n=200)
        options = {"hidden": (8,), "max_epochs": 5, "device": "cpu"}
        plain = MLPHead(**options).fit(X, Y).predict_proba(X)
        focal = MLPHead(**options, loss="focal", loss_options={"gamma": 0.0}).fit(X, Y).predict_proba(X)
        np.testing.assert_allclose(focal, plain, atol=1e-5)
        assert np.abs(MLPHead(**options, loss="focal").fit(X, Y).predict_proba(X) - plain).max() > 0.01

    def test_balanced_weights_raise_recall_of_rare_labels(self):
        X, Y = problem(n=1500)
        rare = Y[:, 4] > 0
        options = {"hidden": (16,), "max_epochs": 10, "learning_rate": 1e-2, "device": "cpu"}
        plain, balanced = (
            MLPHead(**options, class_weights=weights).fit(X, Y, *problem(1)).predict_proba(X)
            for weights in ("none", "balanced")
        )
        assert rare.mean() < 0.2
        assert (balanced[rare, 4] > 0.5).mean() > (plain[rare, 4] > 0.5).mean() + 0.1

    def test_mixup_still_learns(self):
        (X_test, Y_test), rows = problem(1), (*problem(0), *problem(2))
        options = {"hidden": (32,), "max_epochs": 15, "learning_rate": 1e-2, "device": "cpu"}
        mixed = MLPHead(**options, mixup=0.4).fit(*rows).predict_proba(X_test)
        assert roc_auc_score(Y_test, mixed) > 0.9
        assert (mixed != MLPHead(**options).fit(*rows).predict_proba(X_test)).any()

    def test_label_smoothing_keeps_probabilities_from_0_and_1(self):
        X, _ = problem(n=400)
        Y = (X[:, :2] > 0).astype(np.float32)
        options = {
            "hidden": (32,),
            "max_epochs": 60,
            "learning_rate": 1e-2,
            "dropout": 0.0,
            "weight_decay": 0.0,
            "device": "cpu",
        }
        smooth = MLPHead(**options, label_smoothing=0.2).fit(X, Y, X[:1], Y[:1]).predict_proba(X)
        plain = MLPHead(**options).fit(X, Y, X[:1], Y[:1]).predict_proba(X)
        smooth, plain = (np.quantile(np.maximum(p, 1 - p), 0.8) for p in (smooth, plain))
        assert smooth == pytest.approx(0.9, abs=0.05)
        assert plain > 0.97


class TestTraining:
    def test_learning_rate_warms_up_then_decays_along_a_cosine(self):
        rates = np.array([_rate(step, 1000, 0.1) for step in range(1000)])
        assert rates.argmax() in (99, 100)
        assert rates[49] == pytest.approx(0.5)
        assert rates[550] == pytest.approx(0.5, abs=0.01)  # half way down
        assert rates[-1] < 1e-5
        assert (np.diff(rates[:100]) > 0).all()
        assert (np.diff(rates[100:]) < 0).all()

    def test_progress_is_reported(self):
        seen = []
        head = MLPHead(max_epochs=3, device="cpu")
        head.on_progress = lambda done, total: seen.append((done, total))
        head.fit(*problem(n=60), *problem(n=20))
        assert seen == [(1, 3), (2, 3), (3, 3)]
        seen.clear()
        head.fit(*problem(n=60))  # in five folds
        shares = [done / total for done, total in seen]
        assert shares == sorted(shares)
        assert len(shares) == 5 * 3 + 5 + 1  # epochs, predictions of held-out rows, the end
        assert shares[-1] == 1

    def test_divergence_is_reported(self):
        X, Y = problem(n=200)
        with pytest.raises(TrainingError, match=r"Try a learning_rate below 1e\+30"):
            MLPHead(learning_rate=1e30, max_epochs=5, weight_decay=0.0, device="cpu").fit(X, Y)

    def test_large_validation_split_is_sampled(self, monkeypatch):
        monkeypatch.setattr("eno.models.heads.mlp._VAL_ROWS", 50)
        X, Y = problem()
        head = MLPHead(hidden=(8,), max_epochs=2, device="cpu")
        sampled = []
        apply = head._apply
        monkeypatch.setattr(head, "_apply", lambda network, X, rows: sampled.append(rows) or apply(network, X, rows))
        head.fit(X, Y, *problem(1, n=300))
        assert all(len(set(rows)) == 50 for rows in sampled)
        np.testing.assert_array_equal(sampled[0], sampled[1])


def test_heads_of_the_first_format_are_read(tmp_path):
    # They had one sequence of layers, and deviations, infinite for constant dimensions.
    X, Y = problem()
    X[:, 3] = 7
    head = MLPHead(hidden=(8, 4), max_epochs=2, device="cpu").fit(X, Y, X, Y)
    head.save(tmp_path)
    weights = load_file(tmp_path / "head.safetensors")
    with np.errstate(divide="ignore"):
        old = {"mean": weights["mean"], "deviation": 1 / weights["scale"]}
    names = {"body.0": "layers.0", "body.3": "layers.3", "output": "layers.6"}
    old |= {f"{names[name]}.{kind}": weights[f"{name}.{kind}"] for name in names for kind in ("weight", "bias")}
    save_file(old, tmp_path / "head.safetensors")
    content = json.loads((tmp_path / "head.json").read_text())
    content["options"] = {name: content["options"][name] for name in ("hidden", "dropout", "seed")}
    (tmp_path / "head.json").write_text(json.dumps(content))
    np.testing.assert_allclose(load_head(tmp_path).predict_proba(X), head.predict_proba(X), atol=1e-6)


def test_windows_with_layers():
    X, Y = one_informative_window(0, tracks=60)
    layered = Bags(np.stack([X.windows, -X.windows], axis=1), X.counts)
    head = MLPHead(pooling="attention", hidden=(8,), max_epochs=2, device="cpu").fit(layered, Y, layered, Y)
    assert head.predict_proba(layered).shape == (60, 1)
    weights = head._network.layer_weights.softmax(0)
    assert torch.isclose(weights.sum(), torch.tensor(1.0))


def test_mixup_with_pooling_mixes_windows_only():
    values = torch.tensor([[[5.0], [0.0], [0.0]], [[6.0], [7.0], [8.0]], [[6.0], [7.0], [0.0]]])
    real = torch.tensor([[True, False, False], [True, True, True], [True, True, False]])
    assert _repeated(values, real)[:, :, 0].tolist() == [[5, 5, 5], [6, 7, 8], [6, 7, 6]]
