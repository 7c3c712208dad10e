"""Corrections replace the labels of albums in training."""

import numpy as np
import pytest
from typer.testing import CliRunner

from eno.cli import app
from eno.errors import ConfigError, LabelError
from eno.inference.predictor_folder import PredictorParts
from eno.training.feedback import Correction, Corrections, Feedback
from eno.training.heads import train_head
from eno.training.record import HeadPlan, TrainingRecord, changes
from tests.training.conftest import GENRES

PLAN = HeadPlan("linear", {"l2": [0.1]})


def correction(track_id, tag, verdict):
    family = "genre" if tag in GENRES else "descriptor"
    return Correction(time="2025-01-01T00:00:00+00:00", track_id=track_id, tag=tag, family=family, verdict=verdict)


@pytest.fixture
def feedback(collection, tmp_path):
    """Corrections that invert the label calm."""
    feedback = Feedback(tmp_path / "feedback.jsonl")
    train, val = collection.tracks("train"), collection.tracks("val")
    calm = collection.labels.all_labels.index("calm")
    feedback.append(
        correction(track_id, "calm", "reject" if has else "add")
        for track_id, has in zip(train.ids, train.truth[:, calm], strict=True)
    )
    feedback.append([correction(val.ids[0], "calm", "add"), correction(train.ids[0], "polka", "add")])
    return feedback


def test_labels_and_weights_of_training_tracks(collection, feedback):
    train, calm = collection.tracks("train"), collection.labels.all_labels.index("calm")
    corrected, used = Corrections(feedback, weight=3).apply(train, collection.labels)
    expected = train.Y.toarray()
    expected[:, calm] = 1 - (expected[:, calm] > 0)
    np.testing.assert_array_equal(corrected.Y.toarray(), expected)
    weights = train.weights.dense().copy()
    weights[:, calm] = 3
    np.testing.assert_array_equal(corrected.weights.dense(), weights)
    assert (used["tracks"], used["corrections"], len(feedback.latest())) == (*[len(train.ids)] * 2, len(train.ids) + 2)
    untouched, _ = Corrections(Feedback(feedback.path.with_name("none"))).apply(train, collection.labels)
    np.testing.assert_array_equal(untouched.Y.toarray(), train.Y.toarray())
    np.testing.assert_array_equal(untouched.weights.dense(), train.weights.dense())


def test_a_head_is_trained_on_corrected_labels(collection, feedback):
    calm = collection.labels.all_labels.index("calm")
    before, after = (
        train_head(collection, PLAN, device="cpu", corrections=corrections).parts.head.predict_proba(
            collection.tracks("test").X
        )
        for corrections in (None, Corrections(feedback))
    )
    truth = collection.tracks("test").truth[:, calm].astype(bool)
    assert before[truth, calm].mean() > before[~truth, calm].mean() + 0.2
    assert after[truth, calm].mean() < after[~truth, calm].mean() - 0.2


def test_a_correction_of_one_tag_leaves_the_others_alone(collection, tmp_path):
    train, calm = collection.tracks("train"), collection.labels.all_labels.index("calm")
    feedback = Feedback(tmp_path / "feedback.jsonl")
    feedback.append([correction(train.ids[0], "calm", "reject")])
    before, after = (
        train_head(collection, PLAN, device="cpu", corrections=corrections).parts.head.predict_proba(train.X[[0]])[0]
        for corrections in (None, Corrections(feedback, weight=1000))
    )
    assert after[calm] < before[calm] - 0.1
    np.testing.assert_allclose(np.delete(after, calm), np.delete(before, calm), atol=0.01)


def test_a_higher_weight_has_more_effect(collection, tmp_path):
    train, calm = collection.tracks("train"), collection.labels.all_labels.index("calm")
    row = int(np.flatnonzero(train.truth[:, calm])[0])
    feedback = Feedback(tmp_path / "feedback.jsonl")
    feedback.append([correction(train.ids[row], "calm", "reject")])
    light, heavy = (
        train_head(collection, PLAN, device="cpu", corrections=Corrections(feedback, weight=weight))
        .parts.head.predict_proba(train.X[[row]])[0, calm]
        for weight in (1, 50)
    )  # fmt: skip
    assert heavy < light - 0.1


def test_train_and_retrain_use_the_file(collection, feedback, tmp_path):
    collection.labels.save(tmp_path / "labels.json")
    places = ["--splits", collection.splits, "--labels", tmp_path / "labels.json", "--device", "cpu"]
    options = ["--head", "linear", "--set", "linear.l2=[0.1]", "--set", "tracking.mode=off"]

    def run(*command):
        result = CliRunner().invoke(app, [str(word) for word in (*command, *places)])
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    store = ["--store", collection.store.path]
    run("train", *store, *options, "--model", tmp_path / "plain")
    output = run("train", *store, *options, "--model", tmp_path / "corrected", "--feedback", feedback.path,
               "--feedback-weight", 2)  # fmt: skip
    assert "161 corrections of 161 training tracks, weight 2; 1 were not used" in output
    record = TrainingRecord.load(tmp_path / "corrected")
    assert record.feedback == {"file": str(feedback.path), "weight": 2.0, "tracks": 161, "corrections": 161}
    assert any(
        line.startswith("feedback: none → 161 tracks") for line in changes(tmp_path / "plain", tmp_path / "corrected")
    )
    output = run("retrain", tmp_path / "corrected", "--tracking", "off")
    assert "changed nothing" in output
    assert PredictorParts.load(tmp_path / "corrected").labels == collection.labels


def test_bad_input(tmp_path, feedback):
    with pytest.raises(LabelError, match="has no corrections"):
        Corrections.read(tmp_path / "missing.jsonl")
    with pytest.raises(ConfigError, match="must be above 0"):
        Corrections.read(feedback.path, weight=0)
