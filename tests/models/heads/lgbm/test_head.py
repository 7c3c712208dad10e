"""LightGBM: labels are independent, and interrupted training resumes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import lightgbm
import numpy as np
import pytest
from scipy import sparse

from eno.errors import MissingExtra, TrainingError
from eno.evaluation.metrics import evaluate
from eno.models import load_head, training_data
from eno.models.heads.lgbm import labels as lgbm_labels
from eno.models.heads.lgbm.head import LightGBMHead
from eno.models.heads.lgbm.labels import LabelTrainer, choose_rows
from tests.models.test_heads import problem

ROOT = Path(__file__).parents[4]


def arrays_of(head):
    return head._shifts, head._base_rates, [booster and booster.model_to_string() for booster in head._boosters]


def assert_same_head(one, other):
    np.testing.assert_array_equal(one._shifts, other._shifts)
    np.testing.assert_array_equal(one._base_rates, other._base_rates)
    assert arrays_of(one)[2] == arrays_of(other)[2]


class TestLabels:
    def test_equals_lightgbm_on_each_label(self):
        # Subsets of one Dataset are equivalent to a Dataset per label.
        X, Y = problem(n=900)
        head = LightGBMHead(rounds=25, feature_fraction=1.0).fit(X, Y, X[:5], np.zeros((5, 5)))
        for label in range(5):
            parameters = head._parameters()
            booster = lightgbm.train(parameters, lightgbm.Dataset(X, Y[:, label].copy(), params=parameters), 25)
            np.testing.assert_allclose(head.predict_proba(X)[:, label], booster.predict(X), atol=1e-6)

    def test_best_of_every_fifth_round_is_kept(self):
        X, Y = problem(n=300, labels=1)
        X_val, Y_val = problem(1, n=2000, labels=1)
        options = {"rounds": 200, "early_stopping": 200, "feature_fraction": 1.0, "learning_rate": 0.3}
        head = LightGBMHead(**options).fit(X, Y, X_val, Y_val)
        parameters = head._parameters()
        train = lightgbm.Dataset(X, Y[:, 0], params=parameters)
        curve = {}
        lightgbm.train(
            parameters,
            train,
            200,
            valid_sets=[train.create_valid(X_val, Y_val[:, 0])],
            callbacks=[lightgbm.record_evaluation(curve)],
        )
        scores = np.array(curve["valid_0"]["average_precision"])[4::5]
        (booster,) = head._boosters
        assert booster.num_trees() == 5 * (scores.argmax() + 1) < 200
        (booster,) = LightGBMHead(**options | {"early_stopping": 5}).fit(X, Y, X_val, Y_val)._boosters
        assert booster.num_trees() == 5 * (np.argmax(np.diff(scores) <= 0) + 1)

    def test_labels_with_few_validation_positives_are_not_stopped_early(self):
        X, Y = problem(n=300)
        X_val, Y_val = problem(1, n=100)
        few = int(Y_val.sum(axis=0).max())
        options = {"rounds": 60, "early_stopping": 5, "learning_rate": 0.5}
        all_rounds = LightGBMHead(**options, min_judged=few + 1).fit(X, Y, X_val, Y_val)
        stopped = LightGBMHead(**options, min_judged=1).fit(X, Y, X_val, Y_val)
        assert {booster.num_trees() for booster in all_rounds._boosters} == {60}
        assert max(booster.num_trees() for booster in stopped._boosters) < 60

    def test_labels_constant_in_validation_are_trained(self):
        X, Y = problem()
        X_val, Y_val = problem(1)
        Y_val[:, 1], Y_val[:, 2] = 0, 1
        head = LightGBMHead(rounds=20, feature_fraction=0.5, min_judged=1).fit(X, Y, X_val, Y_val)
        assert [head._boosters[label].num_trees() for label in (1, 2)] == [20, 20]

    @pytest.mark.parametrize("threads", [1, 3, 16])
    def test_threads_do_not_change_the_trees(self, threads):
        X, Y = problem()
        options = {"rounds": 12, "feature_fraction": 0.5, "max_rows": 200}
        assert_same_head(LightGBMHead(**options).fit(X, Y), LightGBMHead(**options, threads=threads).fit(X, Y))

    def test_vectors_on_disk_are_read_in_chunks(self, tmp_path, monkeypatch, capfd):
        X, Y = problem(n=900)
        monkeypatch.setattr(lgbm_labels, "_BINNING_ROWS", 100)
        expected = LightGBMHead(rounds=10, feature_fraction=0.5).fit(X, Y)
        monkeypatch.setattr(lgbm_labels.Rows, "batch_size", 128)
        np.save(tmp_path / "X.npy", X)
        mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
        assert_same_head(LightGBMHead(rounds=10, feature_fraction=0.5).fit(mapped, sparse.csr_array(Y)), expected)
        assert capfd.readouterr() == ("", "")  # no output of LightGBM


class TestNegatives:
    def test_all_positives_and_a_sample_of_negatives(self):
        y = np.zeros(1000, np.float32)
        y[::50] = 0.5
        rows, kept = choose_rows(y, 100, (0, 1))
        assert set(np.flatnonzero(y)) <= set(rows)
        assert (len(rows), kept) == (100, 80 / 980)
        assert (np.diff(rows) > 0).all()
        assert not np.array_equal(rows, choose_rows(y, 100, (0, 2))[0])

    def test_at_least_as_many_negatives_as_positives(self):
        y = np.arange(1000) < 400
        rows, kept = choose_rows(y, 100, (0,))
        assert (len(rows), kept) == (800, 400 / 600)
        assert choose_rows(~y, 100, (0,))[1] == 1.0

    def test_sampling_of_negatives_does_not_change_base_rates_of_soft_labels(self):
        X, _ = problem(n=20_000, dim=3, labels=1)
        present = np.random.default_rng(0).random(len(X)) < 1 / (1 + np.exp(-2 * X[:, 0])) / 5
        Y = np.where(present, 0.3, 0).astype(np.float32)[:, None]
        weights = np.where(X[:, 1] > 0, 1, 3)
        head = LightGBMHead(max_rows=5000, rounds=40, feature_fraction=1.0, min_data_in_leaf=50)
        p = head.fit(X, Y, X[:100], Y[:100], sample_weight=weights).predict_proba(X)
        assert np.average(p[:, 0], weights=weights) == pytest.approx(np.average(Y[:, 0], weights=weights), rel=0.05)

    def test_sampling_of_negatives_does_not_change_base_rates(self):
        X, Y = problem(n=6000, labels=3)
        rare = (Y[:, :1] * (np.random.default_rng(3).random((len(X), 1)) < 0.1)).astype(np.float32)
        Y = np.hstack([Y, rare])
        options = {"rounds": 40, "feature_fraction": 0.5}
        whole = LightGBMHead(**options).fit(X, Y).predict_proba(X)
        head = LightGBMHead(**options, max_rows=1500).fit(X, Y, X[:500], Y[:500])
        assert head._shifts[3] < np.log(0.5)
        few = head.predict_proba(X)
        np.testing.assert_allclose(few.mean(axis=0), Y.mean(axis=0), atol=0.03)
        np.testing.assert_allclose(few[:, 3].mean(), whole[:, 3].mean(), rtol=0.25)
        assert evaluate(Y, few).roc_auc_macro > 0.85


class TestFailures:
    def test_failed_label_is_isolated_and_reported(self, monkeypatch, tmp_path):
        X, Y = problem()
        fail_at(monkeypatch, Y[:, 2], lightgbm.basic.LightGBMError("bad luck"))
        head = LightGBMHead(rounds=10, feature_fraction=0.5).fit(X, Y, X, Y)
        assert head.failures == {2: "bad luck"}
        probabilities = head.predict_proba(X)
        np.testing.assert_allclose(probabilities[:, 2], (Y[:, 2].sum() + 1) / (len(Y) + 2), rtol=1e-5)
        head.save(tmp_path)
        assert load_head(tmp_path).failures == {2: "bad luck"}
        assert evaluate(Y[:, [0, 1, 3, 4]], probabilities[:, [0, 1, 3, 4]]).roc_auc_macro > 0.85

    def test_all_labels_fail(self, monkeypatch):
        X, Y = problem(labels=1)
        fail_at(monkeypatch, Y[:, 0], lightgbm.basic.LightGBMError("bad luck"))
        with pytest.raises(TrainingError, match="failed for all 1 labels: bad luck"):
            LightGBMHead().fit(X, Y, X, Y)

    def test_options_that_lightgbm_rejects(self):
        with pytest.raises(TrainingError, match=r"LightGBM: .*num_leaves"):
            LightGBMHead(num_leaves=1).fit(*problem())
        with pytest.raises(TrainingError, match="max_bin"):
            LightGBMHead(max_bin=1).fit(*problem())
        with pytest.raises(ValueError, match="'cloud': expected one of local, ray"):
            LightGBMHead(executor="cloud").fit(*problem())

    def test_ray_is_not_installed(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(MissingExtra, match=r"\.\[ray\]"):
            LightGBMHead(executor="ray").fit(*problem())


def fail_at(monkeypatch, column, error):
    subset = LabelTrainer._subset

    def failing(self, data, rows, y):
        if np.array_equal(y, column):
            raise error
        return subset(self, data, rows, y)

    monkeypatch.setattr(LabelTrainer, "_subset", failing)


OPTIONS = {"rounds": 15, "feature_fraction": 0.5, "threads": 1}

RUN = """
import sys, time
from eno.models.heads.lgbm.head import LightGBMHead
from eno.models.heads.lgbm.labels import LabelTrainer
from tests.models.test_heads import problem
from tests.models.heads.lgbm.test_head import OPTIONS

train = LabelTrainer.train

def slow(self, label):
    if label == 3:
        time.sleep(600)
    return train(self, label)

LabelTrainer.train = slow
LightGBMHead(**OPTIONS, checkpoint=sys.argv[1]).fit(*problem(), *problem())
"""


@pytest.fixture
def trained_labels(monkeypatch):
    numbers, train = [], LabelTrainer.train

    def spy(self, label):
        numbers.append(label)
        return train(self, label)

    monkeypatch.setattr(LabelTrainer, "train", spy)
    return numbers


def test_reports_the_prediction_of_held_out_rows(monkeypatch):
    X, Y = problem()
    monkeypatch.setattr(LightGBMHead, "_rows_at_once", 20)
    head, seen = LightGBMHead(**OPTIONS), []
    head.on_progress = lambda done, total: seen.append(done / total)
    head.fit(X, Y)
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert head.out_of_fold is not None
    folds = len(np.unique(head.out_of_fold.fold_of))
    last = [(one * (folds + 1)) - folds for one in seen]  # of the step after the folds
    assert sum(0 < one < 0.1 for one in last) >= len(X) // 20 - 1


class TestCheckpoint:
    def test_resumes_after_an_error(self, monkeypatch, tmp_path, trained_labels):
        X, Y = problem()
        folder = tmp_path / "some" / "where"
        with monkeypatch.context() as patch:
            fail_at(patch, Y[:, 3], RuntimeError("out of luck"))
            with pytest.raises(RuntimeError, match="out of luck"):
                LightGBMHead(**OPTIONS, checkpoint=folder).fit(X, Y, X, Y)
        assert trained_labels[:4] == [0, 1, 2, 3]
        steps = []
        head = LightGBMHead(**OPTIONS | {"threads": 2}, checkpoint=folder)
        head.on_progress = lambda *step: steps.append(step)
        trained_labels.clear()
        head.fit(X, Y, X, Y)
        assert sorted(trained_labels) == [3, 4]
        assert steps == [(done, 5) for done in range(1, 6)]
        assert_same_head(head, LightGBMHead(**OPTIONS).fit(X, Y, X, Y))

    @pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
    def test_resumes_after_being_killed(self, tmp_path, trained_labels):
        folder = tmp_path / "checkpoint"
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        process = subprocess.Popen([sys.executable, "-c", RUN, str(folder)], env=environment)
        try:
            while not (folder / "label-000002.json").exists():
                assert process.poll() is None
                time.sleep(0.05)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        (folder / "label-000001.json").write_text('{"label": 1, "trees": "tr')  # truncated
        head = LightGBMHead(**OPTIONS, checkpoint=folder).fit(*problem(), *problem())
        assert trained_labels == [1, 3, 4]
        assert_same_head(head, LightGBMHead(**OPTIONS).fit(*problem(), *problem()))

    @pytest.mark.parametrize("fold_rows", [1000, 100])  # folds that are averaged; one fold and a fit on all rows
    def test_is_kept_until_the_head_is_saved(self, fold_rows, monkeypatch, tmp_path, trained_labels):
        monkeypatch.setattr(training_data, "_FOLD_ROWS", fold_rows)
        X, Y = problem()
        folder = tmp_path / "checkpoint"
        first = LightGBMHead(**OPTIONS, checkpoint=folder).fit(X, Y)
        assert len(trained_labels) >= 2 * 5
        trained_labels.clear()
        again = LightGBMHead(**OPTIONS, checkpoint=folder).fit(X, Y)
        assert trained_labels == []
        assert_same_head(first, again)
        again.save(tmp_path / "head")
        assert [path.name for path in tmp_path.iterdir()] == ["head"]

    @pytest.mark.parametrize("change", ["vectors", "labels", "validation", "weights", "settings"])
    def test_other_data_or_settings_start_from_the_beginning(
        self, change, monkeypatch, tmp_path, caplog, trained_labels
    ):
        (X, Y), (X_val, Y_val), weights, options = problem(), problem(1), np.ones(600), dict(OPTIONS)
        with monkeypatch.context() as patch:
            fail_at(patch, Y[:, 3], RuntimeError("out of luck"))
            with pytest.raises(RuntimeError):
                LightGBMHead(**options, checkpoint=tmp_path).fit(X, Y, X_val, Y_val, sample_weight=weights)
        match change:
            case "vectors":
                X[17, 3] += 1
            case "labels":
                Y[17, 4] = 1 - Y[17, 4]
            case "validation":
                Y_val[0, 0] = 1 - Y_val[0, 0]
            case "weights":
                weights[5] = 2
            case "settings":
                options["num_leaves"] = 4
        trained_labels.clear()
        (tmp_path / "notes.txt").write_text("the user's own")
        head = LightGBMHead(**options, checkpoint=tmp_path).fit(X, Y, X_val, Y_val, sample_weight=weights)
        assert trained_labels == [0, 1, 2, 3, 4]
        assert "the checkpoint has other data or settings; training starts from the beginning" in caplog.text
        head.save(tmp_path / "head")
        assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "head"}
        assert_same_head(head, LightGBMHead(**options).fit(X, Y, X_val, Y_val, sample_weight=weights))

    def test_is_not_saved_with_the_head(self, tmp_path):
        head = LightGBMHead(**OPTIONS, checkpoint=tmp_path / "checkpoint").fit(*problem())
        head.save(tmp_path / "head")
        assert "checkpoint" not in (tmp_path / "head" / "head.json").read_text()
        assert load_head(tmp_path / "head").checkpoint is None


RUN_ON_RAY = """
import json, sys
import ray
from eno.models import load_head, training_data
from eno.models.heads.lgbm.head import LightGBMHead
from tests.models.test_heads import problem
from tests.models.heads.lgbm.test_head import OPTIONS, assert_same_head

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
head = LightGBMHead(**OPTIONS, executor="ray", max_rows=200).fit(*problem(labels=9))
assert_same_head(head, LightGBMHead(**OPTIONS, max_rows=200).fit(*problem(labels=9)))
try:
    LightGBMHead(max_bin=1, executor="ray").fit(*problem())
except Exception as error:
    print(type(error).__name__, error)
"""


def test_ray_trains_the_same_head():
    environment = os.environ | {"RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", RUN_ON_RAY], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "EnoError Ray: Check failed: (max_bin) > (1)" in ran.stdout
