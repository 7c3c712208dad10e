"""A predictor before and after it was trained again, on the same tracks and labels."""

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from eno.cli import app
from eno.data.labels.encoder import LabelEncoder
from eno.errors import TrainingError
from eno.evaluation.metrics import evaluate
from eno.inference.predictor_folder import PredictorParts
from eno.training.before_after import compare_before_after
from eno.training.collection import Collection
from eno.training.heads import train_head
from eno.training.record import HeadPlan
from tests.training.conftest import DESCRIPTORS, GENRES, make_splits

PLAN = HeadPlan("linear", {"l2": [0.1]}, {"rule": "scut"}, "mean")


def train(collection, folder, **options):
    train_head(collection, replace(PLAN, options={**PLAN.options, **options}), device="cpu").save(folder)
    return folder


@pytest.fixture(scope="module")
def model(collection, tmp_path_factory):
    return train(collection, tmp_path_factory.mktemp("model"))


def test_both_are_measured_on_the_test_split_and_the_labels_in_common(collection, model, tmp_path):
    fewer = replace(collection, labels=LabelEncoder(GENRES[1:][::-1], DESCRIPTORS))
    after = train(fewer, tmp_path, l2=[10.0])
    found = compare_before_after(model, after, collection)
    names = [name for name in collection.labels.all_labels if name != GENRES[0]]
    test, expected = collection.tracks("test"), []
    columns = [collection.labels.all_labels.index(name) for name in names]
    for folder in (model, after):
        parts = PredictorParts.load(folder, device="cpu")
        own = [parts.labels.all_labels.index(name) for name in names]
        probabilities = parts.predict_vectors(np.asarray(test.X))[:, own]
        expected.append(evaluate(test.truth[:, columns], probabilities, known=test.known[:, columns]).map_macro)
    assert (found.tracks, found.labels) == (len(test.ids), len(names))
    assert [found.before, found.after] == pytest.approx(expected)
    assert found.difference.value == pytest.approx(expected[1] - expected[0])
    assert f"on the same {len(test.ids)} tracks" in str(found)


def test_artists_that_one_of_them_has_learned_from_are_left_out(collection, model, tmp_path):
    shutil.copytree(collection.splits, tmp_path / "splits")
    test, val = (tmp_path / "splits" / f"{name}.parquet" for name in ("test", "val"))
    moved = pq.read_table(val).slice(0, 1)
    # A new track of an artist that the predictor has learned from, and one of those tracks themselves.
    column = moved.schema.get_field_index("track_id")
    new = moved.set_column(column, "track_id", pa.array([pq.read_table(test)["track_id"][0].as_py()]))
    kept = pq.read_table(test).slice(1)
    pq.write_table(pa.concat_tables([kept, new, moved]), test)
    other = Collection(collection.store, tmp_path / "splits", collection.labels)
    assert compare_before_after(model, model, other).tracks == len(kept)


def test_what_cannot_be_compared_is_said(collection, model, tmp_path):
    make_splits(tmp_path / "splits", shifted=True)
    other = Collection(collection.store, tmp_path / "splits", collection.labels)
    with pytest.raises(TrainingError, match="learned from the artists of all test tracks"):
        compare_before_after(model, train(other, tmp_path / "other"), other)
    genres, descriptors = LabelEncoder(GENRES, []), LabelEncoder([], DESCRIPTORS)
    folders = [train(replace(collection, labels=one), tmp_path / str(i)) for i, one in enumerate((genres, descriptors))]
    with pytest.raises(TrainingError, match="no label in common"):
        compare_before_after(*folders, collection)


def retrain(collection, model, out):
    collection.labels.save(out.with_suffix(".labels.json"))
    words = ["retrain", "--model", model, "--out", out, "--store", collection.store.path, "--splits", collection.splits,
             "--labels", out.with_suffix(".labels.json"), "--device", "cpu", "--tracking", "off", "--json"]  # fmt: skip
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_retrain_prints_the_comparison_as_json(collection, model, tmp_path):
    fewer = replace(collection, labels=LabelEncoder(GENRES[1:], DESCRIPTORS))
    printed = retrain(fewer, model, tmp_path / "fewer")
    compared = asdict(compare_before_after(model, tmp_path / "fewer", fewer))
    assert printed["comparison"] == compared and compared["labels"] == 4
    assert any("jazz" in line for line in printed["changed"])
    genres = train(replace(collection, labels=LabelEncoder(GENRES, [])), tmp_path / "genres")
    printed = retrain(replace(collection, labels=LabelEncoder([], DESCRIPTORS)), genres, tmp_path / "other")
    assert "no label in common" in printed["comparison"]["error"]
