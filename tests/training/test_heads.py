"""Training a head: the record, the evaluation, and retraining."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score

from eno.data.labels.encoder import LabelEncoder
from eno.errors import FingerprintMismatch, LabelError, ModelError, TrainingError
from eno.evaluation.metrics import evaluate
from eno.inference.predictor_folder import PredictorParts
from eno.models import create_head
from eno.models.aggregation import aggregate
from eno.models.average_precision import macro_map
from eno.models.familiarity import Familiarity
from eno.training.collection import Collection
from eno.training.evaluate import evaluate_predictor
from eno.training.heads import train_head
from eno.training.record import HeadPlan, TrainingRecord, changes
from tests.training.conftest import DESCRIPTORS, GENRES, make_splits, make_store

PLAN = HeadPlan("linear", {"l2": [0.1, 0.01]}, {"rule": "scut"}, "mean")


@pytest.fixture(scope="module")
def model(collection, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    train_head(collection, PLAN, device="cpu").save(folder)
    return folder


def test_the_test_split_is_not_read(collection, monkeypatch):
    read = []
    tracks = Collection.tracks
    monkeypatch.setattr(
        Collection, "tracks", lambda self, *splits, **rest: read.extend(splits) or tracks(self, *splits, **rest)
    )
    train_head(collection, PLAN, device="cpu")
    assert read == ["train", "val"]
    read.clear()
    train_head(collection, replace(PLAN, validation="fixed"), device="cpu")
    assert read == ["train", "val"]


def test_progress_goes_on_until_the_end(collection):
    steps = []
    train_head(collection, PLAN, device="cpu", on_progress=lambda *step: steps.append(step))
    assert [done for done, *_ in steps] == sorted(done for done, *_ in steps)
    assert {of for _, of, *_ in steps} == {100}
    notes = [note[0] for _, _, *note in steps if note]
    assert notes == ["familiarity", "scale of taught tags", "calibrating tracks", "calibrating albums"]
    assert steps[-1] == (100, 100)


def test_with_fixed_validation_only_the_training_split_is_learned_from(collection):
    trained = train_head(collection, replace(PLAN, validation="fixed"), device="cpu")
    train, val, test = (collection.tracks(split) for split in ("train", "val", "test"))
    head = create_head(PLAN.head, **PLAN.options, device="cpu").fit(
        train.X, train.Y, val.X, val.truth, sample_weight=train.weights, sample_weight_val=val.weights
    )
    np.testing.assert_array_equal(trained.parts.head.predict_proba(test.X), head.predict_proba(test.X))
    assert trained.record.validation["map_macro"] == macro_map(val.truth, head.predict_proba(val.X), val.known)
    assert trained.record.plan.validation == "fixed"


def test_the_validation_split_is_learned_from_as_well(collection):
    trained = train_head(collection, PLAN, device="cpu")
    both = collection.tracks("train", "val")
    head = create_head(PLAN.head, **PLAN.options, device="cpu").fit(
        both.X, both.Y, groups=both.groups, sample_weight=both.weights
    )
    np.testing.assert_array_equal(trained.parts.head.predict_proba(both.X), head.predict_proba(both.X))
    assert trained.record.validation["map_macro"] == head.out_of_fold.macro_map()
    assert trained.record.train_positives == both.truth.sum(axis=0).tolist()


def test_the_record_describes_the_training(collection, model):
    record = TrainingRecord.load(model)
    assert record.plan == PLAN
    assert (record.store, record.splits) == (str(collection.store.path), str(collection.splits))
    assert record.tracks == {"train": 160, "val": 40, "test": 40}
    assert record.train_positives == collection.tracks("train", "val").truth.sum(axis=0).tolist()
    assert record.encoder == collection.store.spec.label
    assert 0.7 < record.validation["map_macro"] <= 1
    assert set(record.validation["rules"]) >= {"scut", "global", "micromacro"}


def test_the_record_says_how_good_the_folds_are_on_the_validation_split(collection):
    # So that heads can be compared with models that were validated on that split.
    trained = train_head(collection, PLAN, device="cpu")
    tracks = collection.tracks("train", "val")
    head = create_head("linear", device="cpu", **PLAN.options)
    head.fit(tracks.X, tracks.Y, groups=tracks.groups, sample_weight=tracks.weights)
    those = set(collection.tracks("val").ids)
    rows = [row for row, at in enumerate(head.out_of_fold.rows) if tracks.ids[at] in those]
    assert 0 < len(rows) < len(head.out_of_fold.rows)
    truth, scores = tracks.truth[head.out_of_fold.rows][rows], head.out_of_fold.probabilities[rows]
    known = head.out_of_fold.weights.known()[rows]  # an album without genres says nothing about genres
    precisions = [
        average_precision_score(truth[among, label], scores[among, label])
        for label, among in enumerate(known.T)
        if 0 < truth[among, label].sum() < among.sum()
    ]
    expected = np.mean(precisions)
    assert trained.record.validation["map_validation_split"] == pytest.approx(expected, abs=1e-6)
    fixed = train_head(collection, replace(PLAN, validation="fixed"), device="cpu").record.validation
    assert fixed["map_validation_split"] == fixed["map_macro"]


def test_predictor_is_calibrated_for_tracks_and_albums(collection, model):
    parts = PredictorParts.load(model, device="cpu")
    val = collection.tracks("val")
    assert parts.calibration.rule == parts.album_calibration.rule == "scut"
    assert parts.album == "mean"
    probabilities = parts.calibration.apply(parts.head.predict_proba(val.X))
    at_thresholds = evaluate(val.truth, probabilities, thresholds=parts.calibration.thresholds, known=val.known)
    uncalibrated = evaluate(val.truth, parts.head.predict_proba(val.X), known=val.known)
    assert at_thresholds.f1_macro > uncalibrated.f1_macro - 0.05
    names, of_albums = aggregate(probabilities, val.albums, "mean")
    assert len(names) == 10
    assert parts.album_calibration.apply(of_albums).shape == (10, 5)


def test_familiarity_is_learned_from_the_training_tracks(collection, model):
    familiarity = PredictorParts.load(model, device="cpu").familiarity
    train, test = collection.tracks("train", "val"), collection.tracks("test")
    np.testing.assert_allclose(familiarity.of(test.X), Familiarity.fit(train.X, train.groups).of(test.X), atol=0.02)
    assert familiarity.of(test.X[:] + 20).max() < 0.05 < familiarity.of(train.X).min()


def test_evaluating_on_splits_that_were_learned_from_is_warned_of(collection, model, tmp_path, caplog):
    evaluate_predictor(model, collection, split="val", device="cpu")
    assert "has learned from the validation split as well" in caplog.text
    caplog.clear()
    train_head(collection, replace(PLAN, validation="fixed"), device="cpu").save(tmp_path)
    evaluate_predictor(tmp_path, collection, split="val", device="cpu")
    assert "has learned" not in caplog.text


def test_heads_that_take_windows_are_trained_on_windows(collection, tmp_path):
    options = {"pooling": "attention", "hidden": [16], "max_epochs": 40, "learning_rate": 5e-3}
    train_head(collection, HeadPlan("mlp", options), device="cpu").save(tmp_path)
    found = evaluate_predictor(tmp_path, collection, device="cpu")
    assert found.tracks.metrics.map_macro > found.chance + 0.2


class TestEvaluation:
    def test_metrics_are_those_of_the_test_split(self, collection, model):
        found = evaluate_predictor(model, collection, device="cpu")
        parts, test = PredictorParts.load(model, device="cpu"), collection.tracks("test")
        raw = parts.head.predict_proba(test.X)
        probabilities = parts.calibration.apply(raw)
        known = test.known
        expected = evaluate(test.truth, probabilities, thresholds=parts.calibration.thresholds, known=known)
        assert found.tracks.metrics == expected
        assert found.fixed == evaluate(test.truth, raw, known=known)
        names, of_albums = aggregate(probabilities, test.albums, "mean")
        album_truth = test.truth[::4]  # the four tracks of an album share its labels
        of_albums = parts.album_calibration.apply(of_albums)
        thresholds = parts.album_calibration.thresholds
        assert found.albums.metrics == evaluate(album_truth, of_albums, thresholds=thresholds, known=known[::4])
        assert (found.artists, found.aggregation, len(names)) == (5, "mean", 10)
        interval = found.tracks.intervals["map_macro"]
        assert interval.low < interval.value < interval.high

    def test_tracks_seen_in_training_are_rejected(self, collection, model, tmp_path):
        make_splits(tmp_path / "splits", shifted=True)
        other = Collection(collection.store, tmp_path / "splits", collection.labels)
        with pytest.raises(ModelError, match=r"all of these 40 test tracks .* eno retrain"):
            evaluate_predictor(model, other, device="cpu")

    def test_tracks_seen_in_training_are_left_out(self, collection, model, tmp_path, caplog):
        shutil.copytree(collection.splits, tmp_path / "splits")
        test, train = (tmp_path / "splits" / f"{name}.parquet" for name in ("test", "train"))
        mixed = pa.concat_tables([pq.read_table(test), pq.read_table(train).slice(0, 3)])
        pq.write_table(mixed, test)
        other = Collection(collection.store, tmp_path / "splits", collection.labels)
        found = evaluate_predictor(model, other, device="cpu").tracks.metrics
        assert found == evaluate_predictor(model, collection, device="cpu").tracks.metrics
        assert f"has learned from 3 of these {len(mixed)} test tracks, which are left out" in caplog.text

    def test_vectors_of_another_encoder_are_rejected(self, collection, model, tmp_path):
        store = make_store(tmp_path / "store", make_splits(tmp_path / "splits"), seed=1)
        with pytest.raises(FingerprintMismatch):
            evaluate_predictor(model, Collection(store, collection.splits, collection.labels), device="cpu")


class TestChanges:
    def test_no_changes(self, collection, model, tmp_path):
        train_head(collection, TrainingRecord.load(model).plan, device="cpu").save(tmp_path)
        assert list(changes(model, tmp_path)) == []

    def test_labels_tracks_vectors_and_options(self, model, tmp_path):
        vectors = make_splits(tmp_path / "splits", genres=["jazz", "rock"], shifted=True)
        store = make_store(tmp_path / "store", vectors, seed=1)
        labels = LabelEncoder(["jazz", "rock"], [*DESCRIPTORS, "new"])
        plan = HeadPlan("linear", {"l2": [0.1]}, {"rule": "scut"}, "mean")
        train_head(Collection(store, tmp_path / "splits", labels), plan, device="cpu").save(tmp_path / "new")
        text = "\n".join(changes(model, tmp_path / "new"))
        assert "encoder: projection-" in text
        assert "option l2: [0.1, 0.01] → [0.1]" in text
        assert "labels: +1 (new)" in text
        assert "labels: -1 (techno)" in text
        assert "train tracks: +40 (album-50/0.flac" in text
        assert "train tracks: -40 (album-30/0.flac" in text
        assert "test tracks: +40" in text

    def test_saving_removes_the_previous_report(self, collection, model, tmp_path):
        shutil.copytree(model, tmp_path / "model")
        report = tmp_path / "model" / "evaluation" / "report.html"
        report.parent.mkdir()
        report.touch()
        train_head(collection, PLAN, device="cpu").save(tmp_path / "model")
        assert not report.exists()


class TestBadInput:
    def test_no_track_has_any_label(self, collection):
        other = Collection(collection.store, collection.splits, LabelEncoder(["polka"], []))
        with pytest.raises(LabelError, match="none of 200 training tracks has any of the labels"):
            train_head(other, PLAN, device="cpu")

    def test_an_invalid_option_is_reported_with_the_head(self, collection):
        with pytest.raises(TrainingError, match=r"The head 'mlp' cannot be fitted .* expected one of bce"):
            train_head(collection, HeadPlan("mlp", {"loss": "hinge"}), device="cpu")

    @pytest.mark.parametrize("name", ["training.json", "training_tracks.parquet"])
    def test_damaged_records(self, collection, model, tmp_path, name):
        shutil.copytree(model, tmp_path / "model")
        (tmp_path / "model" / name).write_text("{")
        with pytest.raises(ModelError, match="Train again with: eno train"):
            evaluate_predictor(tmp_path / "model", collection, device="cpu")
        (tmp_path / "model" / name).unlink()
        with pytest.raises(ModelError, match=name):
            evaluate_predictor(tmp_path / "model", collection, device="cpu")

    def test_calibration_of_other_labels(self, collection, model, tmp_path):
        shutil.copytree(model, tmp_path / "model")
        LabelEncoder(GENRES, []).save(tmp_path / "model" / "label_encoder.json")
        with pytest.raises(ModelError, match=r"calibration\.json"):
            evaluate_predictor(tmp_path / "model", collection, device="cpu")

    def test_damaged_calibration(self, collection, model, tmp_path):
        shutil.copytree(model, tmp_path / "model")
        file = tmp_path / "model" / "calibration.json"
        content = json.loads(file.read_text())
        file.write_text(json.dumps(content)[:-30])
        with pytest.raises(ModelError, match=r"calibration\.json"):
            PredictorParts.load(tmp_path / "model", device="cpu")


def test_lightgbm_removes_its_checkpoint(collection, tmp_path):
    plan = HeadPlan("lightgbm", {"rounds": 5})
    trained = train_head(collection, plan, checkpoint=tmp_path / "model")
    trained.save(tmp_path / "model")
    assert not (tmp_path / "model" / "checkpoint").exists()
    assert np.isfinite(trained.parts.head.predict_proba(collection.tracks("test").X)).all()
