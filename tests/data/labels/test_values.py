import json

import numpy as np
import pyarrow as pa
import pytest

from eno.data.labels.encoder import LabelEncoder
from eno.data.labels.values import merged_values
from eno.data.splits.artist_split import SPLIT_SCHEMA
from eno.models.average_precision import average_precision_and_auc, has_both_classes
from eno.models.training_data import TrainingData


def row(genres=(), descriptors=(), others=(), values=(), secondary=()):
    entry = dict(zip(("family", "label", "value"), range(3), strict=True))
    return {
        "track_id": "a.ogg", "file_name": "a", "primary_genres": list(genres), "secondary_genres": list(secondary),
        "descriptors": list(descriptors), "family_labels": [{"family": one, "label": name} for one, name in others],
        "label_values": [{name: one[place] for name, place in entry.items()} for one in values],
    }  # fmt: skip


def targets(encoder, *rows):
    return encoder.encode_targets(pa.Table.from_pylist(list(rows), schema=SPLIT_SCHEMA)).toarray().tolist()


def test_a_label_has_its_value_as_target():
    encoder = LabelEncoder(["punk", "rock"], ["calm"], others={"instruments": ["organ"]}, secondary_weight=0.5)
    assert targets(
        encoder,
        row(["Rock"], values=[("genre", "Rock", 0.75), ("descriptor", "calm", 0.25)]),
        row(["punk"], secondary=["rock"]),
        row(others=[("instruments", "organ")], values=[("instruments", "organ", 0.5), ("genre", "unknown", 0.5)]),
        row(),
    ) == [[0, 0.75, 0.25, 0], [1, 0.5, 0, 0], [0, 0, 0, 0.5], [0, 0, 0, 0]]


def test_an_implied_label_has_the_highest_value_of_those_that_imply_it():
    encoder = LabelEncoder(["metal", "punk", "rock"], [], implied={"punk": ["rock"], "metal": ["rock"]})
    punk, metal = ("genre", "punk", 0.75), ("genre", "metal", 0.25)
    assert targets(
        encoder,
        row(["punk"], values=[punk, metal]),
        row(["punk", "metal"], values=[punk]),
        row(["punk", "rock"], values=[punk]),
        row(values=[metal, ("genre", "rock", 0.125)]),
    ) == [[0.25, 0.75, 0.75], [1, 0.75, 1], [0, 0.75, 1], [0.25, 0, 0.25]]


def test_a_family_is_known_if_its_only_value_is_low():
    encoder = LabelEncoder(["rock"], ["calm"])
    rows = pa.Table.from_pylist([row(values=[("descriptor", "calm", 0.125)])], schema=SPLIT_SCHEMA)
    assert encoder.known_in(rows).tolist() == [[False, True]]


def test_of_several_values_the_highest_counts_and_a_label_without_value_is_certain():
    merged = merged_values([
        row(["Rock"], values=[("genre", "Rock", 0.75), ("genre", "Folk", 0.25)]),
        row(["folk", "rock"], others=[("instruments", "organ")], values=[("genre", "rock", 0.5)]),
        row(values=[("instruments", "organ", 0.25), ("descriptor", "calm", 0.25)]),
    ])  # fmt: skip
    assert [(one["label"], one["value"]) for one in merged] == [("Rock", 0.75), ("calm", 0.25)]


def test_labels_below_one_half_are_absent_where_labels_are_counted_and_judged():
    truth = np.array([[0.75], [0.5], [0.25], [0.0]], np.float32)
    scores = np.array([[0.9], [0.2], [0.5], [0.1]])
    expected = average_precision_and_auc((truth >= 0.5).astype(np.float32), scores)
    np.testing.assert_array_equal(average_precision_and_auc(truth, scores), expected)
    assert not has_both_classes(truth[:2]).any()
    assert not has_both_classes(truth[2:]).any()
    X = np.zeros((4, 2), np.float32)
    (data,) = TrainingData.of(X, truth, X, truth, groups=None, sample_weight=None, seed=0)
    assert data.positives().tolist() == [2]


def test_vocabularies_with_a_lower_secondary_weight_stay_readable(tmp_path):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"genres": ["rock"], "descriptors": [], "secondary_weight": 0.3}), encoding="utf-8")
    assert LabelEncoder.load(path).secondary_weight == pytest.approx(0.5)
