"""Albums that nobody described are no negatives, from the splits to the evaluation."""

import numpy as np
import pyarrow as pa
import pytest

from eno.data.labels.encoder import LabelEncoder
from eno.data.splits.artist_split import read_split
from eno.data.splits.stratify import SPLITS
from eno.data.tables import write_table
from eno.training.collection import Collection
from eno.training.evaluate import evaluate_predictor
from eno.training.heads import train_head
from eno.training.record import HeadPlan
from tests.training.conftest import DESCRIPTORS, GENRES, make_splits, make_store

GENRE_COLUMNS, DESCRIPTOR_COLUMNS = slice(0, len(GENRES)), slice(len(GENRES), None)


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Every second album has no descriptors."""
    root = tmp_path_factory.mktemp("undescribed")
    vectors = make_splits(root / "splits")
    for name in SPLITS:
        split = read_split(root / "splits", name)
        texts = [
            [] if int(album[-2:]) % 2 else descriptors
            for album, descriptors in zip(
                *(split[one].to_pylist() for one in ("file_name", "descriptors")), strict=True
            )
        ]
        place = split.column_names.index("descriptors")
        column = pa.array(texts, split.schema.field("descriptors").type)
        write_table(root / "splits" / f"{name}.parquet", split.set_column(place, "descriptors", column))
    return Collection(make_store(root / "store", vectors), root / "splits", LabelEncoder(GENRES, DESCRIPTORS))


def test_only_families_with_names_are_known(collection):
    tracks = collection.tracks("train")
    odd = np.array([int(album[-2:]) % 2 == 1 for album in tracks.albums])
    named = tracks.truth[:, DESCRIPTOR_COLUMNS].any(axis=1)
    np.testing.assert_array_equal(tracks.known[:, -1], named)
    assert not named[odd].any()
    np.testing.assert_array_equal(tracks.known[:, 0], tracks.truth[:, GENRE_COLUMNS].any(axis=1))
    everything = collection.tracks(*SPLITS)
    assert collection.unlabelled() == {
        "genres": int((~everything.known[:, 0]).sum()), "descriptors": int((~everything.known[:, -1]).sum()),
    }  # fmt: skip


@pytest.mark.parametrize("head", ["linear", "knn"])
def test_undescribed_albums_lower_no_probability(collection, tmp_path, head):
    trained = train_head(collection, HeadPlan(head), device="cpu")
    trained.save(tmp_path)
    found = collection.predict(trained.parts, "test")
    probabilities = trained.parts.calibrated(found.probabilities)[:, DESCRIPTOR_COLUMNS]
    train = collection.tracks("train")
    of_described = train.truth[train.known[:, -1], DESCRIPTOR_COLUMNS].mean()
    assert probabilities.mean() == pytest.approx(
        of_described, rel=0.25
    )  # of all tracks, only half as many are positive
    evaluation = evaluate_predictor(tmp_path, collection, device="cpu")
    table = {row["label"]: row for row in evaluation.per_label.to_pylist()}
    known = found.known[:, DESCRIPTOR_COLUMNS].sum(axis=0)
    for place, name in enumerate(DESCRIPTORS):
        assert table[name]["prevalence"] == pytest.approx(table[name]["test_positives"] / known[place])
