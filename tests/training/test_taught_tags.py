"""Taught tags in a trained predictor: evaluation, training again, retraining."""

import pytest
from typer.testing import CliRunner

from eno.cli import app
from eno.inference.predictor_folder import PredictorParts
from eno.training.evaluate import evaluate_predictor
from tests.training.conftest import make_splits, make_store

EXAMPLES = [f"album-{album:02d}/0.flac" for album in range(6)]


@pytest.fixture
def run(collection, tmp_path):
    """Run a command on the collection with a predictor in the folder model."""
    collection.labels.save(tmp_path / "labels.json")
    splits = ["--splits", collection.splits, "--labels", tmp_path / "labels.json"]
    options = ["--head", "linear", "--set", "linear.l2=[0.1]", "--set", "tracking.mode=off"]

    def run(command, *words, store=collection.store):
        rest = {"train": [*splits, *options], "retrain": [*splits, "--tracking", "off"]}.get(command, [])
        places = ["--model", tmp_path / "model", "--store", store.path, "--device", "cpu"]
        result = CliRunner().invoke(app, [str(word) for word in (command, *words, *places, *rest)])
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    run("train")
    return run


def test_evaluation_is_that_of_the_trained_labels(run, collection, tmp_path):
    before = evaluate_predictor(tmp_path / "model", collection, device="cpu")
    run("teach", "mine", *EXAMPLES)
    after = evaluate_predictor(tmp_path / "model", collection, device="cpu")
    assert after.tracks.metrics == before.tracks.metrics


def test_training_again_keeps_the_tags_and_says_so(run, tmp_path):
    assert "mine (descriptor): 6 examples" in run("teach", "mine", *EXAMPLES)
    assert "taught mine (kept)" in run("train")
    assert "mine" in PredictorParts.load(tmp_path / "model").labels.descriptors
    assert "taught mine (kept)" in run("retrain", "--out", tmp_path / "new")
    assert "mine" in PredictorParts.load(tmp_path / "new").labels.descriptors


def test_training_on_another_encoder_warns_of_the_tags_that_do_not_fit(run, tmp_path):
    run("teach", "mine", *EXAMPLES)
    other = make_store(tmp_path / "other", make_splits(tmp_path / "unused"), seed=1)
    assert "the tags mine were taught on vectors of another encoder" in run("train", store=other)
    assert "mine" not in PredictorParts.load(tmp_path / "model").labels.descriptors
    run("train")
    assert "mine" in PredictorParts.load(tmp_path / "model").labels.descriptors
