"""The contract of all heads, and the basics of the MLP."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from eno.errors import ConfigError, ModelError, NotFitted, UnknownName
from eno.evaluation.metrics import evaluate
from eno.models import create_head, load_head
from eno.models.calibration.calibrate import fit_calibration
from eno.models.heads.mlp import MLPHead
from eno.testing import HEAD_CHECKS
from eno.testing.heads import half_spaces as problem

_PENALTIES = (0.01, 0.001)  # the linear head of these tests searches, the others choose between two
QUICK = {
    "mlp": {"hidden": (32,), "batch_size": 64, "max_epochs": 15, "learning_rate": 1e-2, "device": "cpu"},
    "linear": {"device": "cpu"},
    "lightgbm": {"rounds": 60, "feature_fraction": 0.5, "min_data_in_leaf": 5},
    "forest": {"trees": 60},
    "kernel": {"landmarks": 100, "l2": _PENALTIES, "device": "cpu"},
    "knn": {},
    "blend": {"heads": ("linear", "knn"), "options": {"linear": {"l2": _PENALTIES}}, "device": "cpu"},
    "auto": {"heads": ("linear", "knn"), "options": {"linear": {"l2": _PENALTIES}}, "device": "cpu"},
}


@pytest.fixture(params=list(QUICK))
def name(request):
    return request.param


@pytest.fixture
def head(name):
    return create_head(name, **QUICK[name])


@pytest.fixture(scope="module", params=list(QUICK))
def fitted(request):
    return create_head(request.param, **QUICK[request.param]).fit(*problem())


@pytest.fixture(scope="module")
def other_heads():
    X, Y = problem(n=60)
    return [create_head(one, **QUICK[one]).fit(X, Y) for one in ("blend", "lightgbm", "knn")]


@pytest.mark.parametrize("check", HEAD_CHECKS)
def test_contract(check, name):
    check(lambda: create_head(name, **QUICK[name]))


class TestBeyondTheContract:
    def test_only_another_seed_changes_the_head(self, name):
        X, Y = problem(n=200)
        alone = np.arange(len(X))  # so that the seed decides which rows are held out
        first, again, other = (
            create_head(name, **QUICK[name], seed=seed).fit(X, Y, groups=alone).predict_proba(X) for seed in (4, 4, 5)
        )
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()

    def test_options_follow_scikit_learn(self, head):
        copy = clone(head)
        assert copy is not head
        assert copy.get_params() == head.get_params()
        assert copy.set_params(seed=9).get_params() == head.get_params() | {"seed": 9}
        with pytest.raises(ValueError, match="Invalid parameter 'colour'"):
            head.set_params(colour="red")
        X, Y = problem(n=100)
        np.testing.assert_array_equal(head.fit(X, Y).predict_proba(X), clone(head).fit(X, Y).predict_proba(X))

    def test_sparse_vectors_are_refused(self, head):
        X, Y = problem(n=60)
        with pytest.raises(ValueError, match=r"X is a sparse array; expected a dense one"):
            head.fit(sparse.csr_array(X), Y)
        with pytest.raises(ValueError, match=r"X is a sparse array; expected a dense one"):
            head.fit(X, Y).predict_proba(sparse.csr_array(X))

    def test_probabilities_out_of_fold_do_not_know_the_group(self, name):
        # Labels are noise of the group, which its vectors identify: only a leak could predict them.
        rng = np.random.default_rng(0)
        groups = np.repeat(np.arange(60), 5)
        X = (rng.standard_normal((60, 40))[groups] + 0.01 * rng.standard_normal((300, 40))).astype(np.float32)
        Y = (rng.random((60, 6)) < 0.4)[groups].astype(np.float32)
        head = create_head(name, **QUICK[name]).fit(X, Y, groups=groups)
        found = head.out_of_fold
        assert found.rows.tolist() == list(range(300))
        assert found.probabilities.shape == found.truth.shape == Y.shape
        for fold in range(5):
            inside = found.fold_of == fold
            assert not set(groups[inside]) & set(groups[~inside])
            assert inside.sum() == 60
        assert evaluate(Y, found.probabilities).roc_auc_macro < 0.65
        alone = create_head(name, **QUICK[name]).fit(X, Y, groups=np.arange(len(X))).out_of_fold
        assert evaluate(Y, alone.probabilities).roc_auc_macro > 0.8

    def test_all_rows_are_learned_from(self, name):
        # A label of a single row, in a direction of its own, is predicted from that row only.
        X, Y = np.zeros((100, 12), np.float32), np.zeros((100, 11), np.float32)
        for label in range(10):
            X[label, label], Y[label, label] = 10, 1
        X += 0.1 * np.random.default_rng(0).standard_normal(X.shape).astype(np.float32)
        Y[::2, 10] = 1
        options = QUICK[name] | ({"k": 1} if name == "knn" else {})
        probabilities = create_head(name, **options).fit(X, Y).predict_proba(X)
        own = np.diag(probabilities[:10, :10])
        assert (own > np.median(probabilities[:, :10], axis=0)).all()

    def test_rows_of_weight_0_do_no_harm_without_validation_rows(self, name):
        X, Y = problem()
        weights = np.tile([1.0, 0.0], len(X))
        head = create_head(name, **QUICK[name])
        head.fit(np.repeat(X, 2, axis=0), np.stack([Y, 1 - Y], axis=1).reshape(-1, Y.shape[1]), sample_weight=weights)
        assert head.out_of_fold.rows.tolist() == list(range(0, 2 * len(X), 2))
        X_test, Y_test = problem(1)
        assert evaluate(Y_test, head.predict_proba(X_test)).roc_auc_macro > 0.9

    def test_base_rate_is_predicted_without_any_positives(self, head):
        X, Y = problem(n=60)
        probabilities = head.fit(X, Y * 0, X, Y * 0).predict_proba(X)
        np.testing.assert_allclose(probabilities, 1 / 62, rtol=1e-3)

    def test_validation_data_must_match_training_data(self, head):
        X, Y = problem(n=60)
        for X_val, Y_val in ((X[:, :3], Y), (X, Y[:, :3])):
            with pytest.raises(ValueError, match="X_val and Y_val have the shapes"):
                head.fit(X, Y, X_val, Y_val)
        with pytest.raises(ValueError, match="X_val and Y_val go together"):
            head.fit(X, Y, X)

    def test_scale_and_offset_of_vectors_do_not_matter(self, name):
        (X, Y), (scaled, _), (X_val, Y_val) = problem(), problem(scale=1000.0), problem(1)
        one = create_head(name, **QUICK[name]).fit(X, Y, X_val, Y_val).predict_proba(X)
        other = create_head(name, **QUICK[name]).fit(scaled + 7, Y, 1000 * X_val + 7, Y_val).predict_proba(scaled + 7)
        # Trees differ a little: LightGBM has a separate bin for values near 0, so an offset moves the bounds.
        assert np.abs(one - other).mean() < (0.04 if name == "lightgbm" else 0.002)

    def test_base_rate_of_constant_labels_is_predicted(self, name, head):
        X, Y = problem(n=200)
        Y[:, 1], Y[:, 2] = 0, 1
        probabilities = head.fit(X, Y).predict_proba(X)
        # Laplace's rule, for heads that are refitted on all rows, or averaged over folds with four fifths of them.
        of = 162 if name in ("mlp", "lightgbm") else 202
        np.testing.assert_allclose(probabilities[:, 1], 1 / of, rtol=1e-3)
        np.testing.assert_allclose(probabilities[:, 2], (of - 1) / of, rtol=1e-3)

    def test_constant_labels_are_neither_calibrated_nor_named(self, head):
        X, Y = problem(n=400)
        X_val, Y_val = problem(1, n=200)
        Y[:, 1], Y[:, 2] = 0, 1  # in training only
        probabilities = head.fit(X, Y, X_val, Y_val).predict_proba(X_val)
        for rule in ("expected", "scut", "pcut", "global"):
            calibration = fit_calibration(probabilities, Y_val, rule=rule)
            calibrated = calibration.apply(probabilities)
            np.testing.assert_allclose(calibrated[:, 1], 1 / 402, rtol=1e-3)
            np.testing.assert_allclose(calibrated[:, 2], 401 / 402, rtol=1e-3)
            decisions = calibration.decide(calibrated)
            assert not decisions[:, 1].any()
            assert decisions[:, 2].all()

    def test_only_the_files_of_the_last_head_remain(self, head, other_heads, tmp_path):
        X, Y = problem(n=60)
        (tmp_path / "notes.md").touch()
        for other in other_heads:
            other.save(tmp_path)
        head.fit(X, Y).save(tmp_path)
        head.save(tmp_path / "alone")
        alone = {path.relative_to(tmp_path / "alone") for path in (tmp_path / "alone").rglob("*")}
        for path in (tmp_path / "alone").rglob("*.*"):
            path.unlink()
        files = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if "alone" not in path.parts}
        assert files == alone | {Path("notes.md")}

    def test_options_of_another_version_are_named(self, head, tmp_path):
        X, Y = problem(n=60)
        head.fit(X, Y).save(tmp_path)
        content = json.loads((tmp_path / "head.json").read_text())
        content["options"]["momentum"] = 0.9
        (tmp_path / "head.json").write_text(json.dumps(content))
        with pytest.raises(ModelError, match=r"'momentum', which this version of eno does not have.*upgrade eno"):
            load_head(tmp_path)

    def test_saved_and_loaded(self, fitted, tmp_path):
        X, _ = problem()
        fitted.save(tmp_path / "head")
        loaded = load_head(tmp_path / "head")
        np.testing.assert_allclose(loaded.predict_proba(X), fitted.predict_proba(X), atol=1e-7)
        assert type(loaded) is type(fitted)
        suffixes = {file.suffix for file in (tmp_path / "head").rglob("*") if file.is_file()}
        assert suffixes <= {".json", ".safetensors", ".txt", ".faiss"}

    def test_unfitted_head_is_refused(self, head, tmp_path):
        with pytest.raises(NotFitted, match=r"call fit\(X, Y\)"):
            head.predict_proba(np.zeros((1, 12), np.float32))
        with pytest.raises(NotFitted):
            head.save(tmp_path)

    def test_damaged_files_are_refused(self, fitted, tmp_path):
        fitted.save(tmp_path / "head")
        for file in filter(Path.is_file, (tmp_path / "head").rglob("*")):
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
            (np.zeros((1, 3)), np.ones((1, 2)), "at least 2 labelled rows; there are 1"),
        ],
    )
    def test_invalid_arrays_are_refused(self, head, X, Y, message):
        with pytest.raises(ValueError, match=message):
            head.fit(X, Y)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"sample_weight": np.zeros(20)}, "All training rows have weight 0"),
            ({"sample_weight": np.ones((20, 1))}, r"sample_weight has the shape \(20, 1\); expected \(20,\)"),
            ({"groups": np.zeros((20, 2))}, r"groups has the shape \(20, 2\)"),
            ({"X_val": np.zeros((0, 3)), "Y_val": np.zeros((0, 2))}, "X_val has no rows"),
        ],
    )
    def test_weights_groups_and_validation_rows_that_no_head_can_use(self, head, change, message):
        X, Y = np.random.default_rng(0).normal(size=(20, 3)), np.eye(2)[np.arange(20) % 2]
        with pytest.raises(ValueError, match=message):
            head.fit(X, Y, **change)

    def test_vectors_of_another_dimension_are_refused(self, fitted):
        with pytest.raises(ValueError, match=r"\(2, 7\); this head was fitted on \(n, 12\)"):
            fitted.predict_proba(np.zeros((2, 7), np.float32))

    def test_unknown_option(self, name):
        with pytest.raises(ConfigError, match="no option 'colour'"):
            create_head(name, colour="red")


def test_heads_work_in_scikit_learn(head):
    X, Y = problem(n=300)
    inside = make_pipeline(StandardScaler(), head)
    found = cross_val_predict(inside, X, Y, cv=2, method="predict_proba")
    assert found.shape == Y.shape
    assert evaluate(Y, found).roc_auc_macro > 0.85
    search = GridSearchCV(inside, {f"{type(head).__name__.lower()}__seed": [0, 1]}, cv=2, scoring="average_precision")
    search.fit(X, Y, **{f"{type(head).__name__.lower()}__groups": np.arange(len(X)) // 2})
    assert 0.5 < search.best_score_ <= 1
    decided = search.predict(X)
    assert decided.dtype == np.int64
    assert ((decided == 0) | (decided == 1)).all()
    assert get_tags(head).classifier_tags.multi_label
    check_is_fitted(search.best_estimator_[-1])
    with pytest.raises(NotFittedError):
        check_is_fitted(clone(head))


def test_unknown_head(tmp_path):
    with pytest.raises(UnknownName, match=r"Unknown head 'mpl'\. Did you mean 'mlp'"):
        create_head("mpl")
    with pytest.raises(ModelError, match="is not a saved head"):
        load_head(tmp_path)
    (tmp_path / "head.json").write_text(json.dumps({"head": "oracle"}))
    with pytest.raises(UnknownName, match="oracle"):
        load_head(tmp_path)


def test_head_of_a_newer_version_is_refused(tmp_path):
    create_head("probabilities").save(tmp_path)
    content = json.loads((tmp_path / "head.json").read_text())
    (tmp_path / "head.json").write_text(json.dumps(content | {"head": "oracle", "format": 99}))
    with pytest.raises(ModelError, match=r"head\.json: has format 99; .* up to format 3\. .* upgrade eno"):
        load_head(tmp_path)


class TestMLP:
    def test_without_hidden_layers_equals_logistic_regression(self):
        rng = np.random.default_rng(0)
        X, directions = rng.standard_normal((1500, 6)).astype(np.float32), rng.standard_normal((6, 4)) / 2
        Y = (rng.random((1500, 4)) < 1 / (1 + np.exp(-X @ directions))).astype(np.float32)
        options = {"hidden": (), "weight_decay": 0.0, "learning_rate": 1e-2, "batch_size": 150, "max_epochs": 80}
        # Without positives in validation the last epoch is kept, in which the loss has converged.
        ours = MLPHead(**options).fit(X, Y, X[:1], Y[:1] * 0).predict_proba(X)
        theirs = np.stack([LogisticRegression(C=1e6).fit(X, y).predict_proba(X)[:, 1] for y in Y.T], axis=1)
        np.testing.assert_allclose(ours, theirs, atol=0.02)

    def test_hidden_layers_separate_nonlinear_classes(self):
        rng = np.random.default_rng(0)
        X = rng.uniform(-1, 1, (1500, 4)).astype(np.float32)
        Y = (X[:, :1] * X[:, 1:2] > 0).astype(np.float32)
        options = {"batch_size": 64, "max_epochs": 40, "learning_rate": 1e-2, "device": "cpu"}
        parts = X[:800], Y[:800], X[800:1000], Y[800:1000]
        scores = {
            hidden: evaluate(Y[1000:], MLPHead(hidden=hidden, **options).fit(*parts).predict_proba(X[1000:]))
            for hidden in ((), (64,))
        }
        assert scores[()].roc_auc_macro < 0.65
        assert scores[(64,)].roc_auc_macro > 0.95

    def test_stops_early_and_keeps_the_best_epoch(self):
        X, Y = problem(n=80, dim=40)
        X_val, Y_val = problem(1, n=200, dim=40)
        head = MLPHead(hidden=(64,), max_epochs=500, patience=5, device="cpu").fit(X, Y, X_val, Y_val)
        assert len(head.history) == head.best_epoch + 6 < 500
        best = head.history[head.best_epoch]
        assert best == max(head.history, key=lambda epoch: epoch.val_map - epoch.val_loss)
        assert evaluate(Y_val, head.predict_proba(X_val)).map_macro == pytest.approx(best.val_map)

    def test_last_epoch_is_kept_if_validation_has_no_positives(self):
        X, Y = problem(n=80)
        head = MLPHead(max_epochs=4, device="cpu").fit(X, Y, X[:10], np.zeros((10, 5)))
        assert head.best_epoch == 3
        assert head.history[-1].val_map is None


def test_mlp_weights_the_informative_layer_most():
    X, Y = problem(0, scale=1.0)
    noise = np.random.default_rng(5).standard_normal((len(X), 3, X.shape[1])).astype(np.float32)
    layers = np.concatenate([noise[:, :2], X[:, None], noise[:, 2:]], axis=1)
    head = MLPHead(hidden=(32,), max_epochs=30, learning_rate=2e-2, device="cpu").fit(layers, Y, layers, Y)
    weights = head._network.layer_weights.softmax(0)
    assert weights.argmax() == 2
    assert weights[2] > 0.5
    X_test, Y_test = problem(1)
    rest = np.random.default_rng(6).standard_normal((len(X_test), 3, X.shape[1])).astype(np.float32)
    test_layers = np.concatenate([rest[:, :2], X_test[:, None], rest[:, 2:]], axis=1)
    assert evaluate(Y_test, head.predict_proba(test_layers)).roc_auc_macro > 0.85
    with pytest.raises(ValueError, match=r"this head was fitted on \(n, 4, 12\)"):
        head.predict_proba(X_test)


def test_mlp_with_layers_saved_and_loaded(tmp_path):
    X, Y = problem(0)
    layers = np.stack([X, -X], axis=1)
    head = MLPHead(hidden=(8,), max_epochs=2, device="cpu").fit(layers, Y)
    head.save(tmp_path)
    np.testing.assert_array_equal(load_head(tmp_path).predict_proba(layers), head.predict_proba(layers))


def test_heads_saved_without_priors_are_read(tmp_path):
    X, Y = problem()
    head = MLPHead(hidden=(8,), max_epochs=2, device="cpu").fit(X, Y, X, Y)
    head.save(tmp_path)
    weights = load_file(tmp_path / "head.safetensors")
    del weights["prior"]
    save_file(weights, tmp_path / "head.safetensors")
    np.testing.assert_array_equal(load_head(tmp_path).predict_proba(X), head.predict_proba(X))


class TestIdentityHead:
    def test_returns_vectors_unchanged(self, tmp_path):
        _, Y = problem()
        probabilities = np.random.default_rng(0).random(Y.shape).astype(np.float32)
        head = create_head("probabilities").fit(probabilities, Y)
        head.save(tmp_path)
        np.testing.assert_array_equal(load_head(tmp_path).predict_proba(probabilities), probabilities)

    def test_vectors_that_are_not_probabilities_are_refused(self):
        X, Y = problem()
        for vectors, message in ((X, "expected a probability for each label"), (X[:, :5], "outside 0 … 1")):
            with pytest.raises(ValueError, match=message):
                create_head("probabilities").fit(vectors, Y)
        with pytest.raises(ValueError, match="shape"):
            create_head("probabilities").predict_proba(X[:, None])
