import numpy as np
import pyarrow as pa
import pytest

from eno.audio.windows import WindowPolicy
from eno.data.labels.encoder import LabelEncoder
from eno.data.splits.artist_split import SPLIT_SCHEMA, write_splits
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.ledger import Failure
from eno.errors import LabelError, StoreError
from eno.models import MLPHead
from eno.training.collection import Collection, split_hash, split_ids
from tests.fakes import ProjectionEncoder

LABELS = LabelEncoder(["jazz", "rock"], ["calm"], secondary_weight=0.5)


@pytest.fixture
def splits(tmp_path):
    rows = [
        {"track_id": f"{n}.mp3", "file_name": "x", "primary_genres": [primary], "secondary_genres": ["rock"],
         "descriptors": None}
        for n, primary in enumerate(["jazz", "rock", "jazz"])
    ]  # fmt: skip
    write_splits(
        tmp_path / "splits", pa.Table.from_pylist(rows, schema=SPLIT_SCHEMA), np.array(["train", "train", "val"])
    )
    return tmp_path / "splits"


def test_vectors_and_labels_are_in_the_same_order(splits, tmp_path):
    encoder = ProjectionEncoder()
    store = EmbeddingStore.create(tmp_path / "store", encoder.spec, policy=WindowPolicy(), dtype="float32")
    ids = ["2.mp3", "1.mp3", "0.mp3"]
    store.append(ids, [0.0] * 3, encoder.projection[[2, 1, 0]][:, None])
    loaded = Collection(store, splits, LABELS).tracks("train")
    rows = {
        name: (x, y, truth)
        for name, x, y, truth in zip(loaded.ids, loaded.X[:], loaded.Y.toarray(), loaded.truth, strict=True)
    }
    np.testing.assert_array_equal(rows["0.mp3"][0], encoder.projection[0])
    np.testing.assert_array_equal(rows["1.mp3"][0], encoder.projection[1])
    # A secondary genre has a lower weight in training, but counts fully in evaluation.
    assert (rows["0.mp3"][1].tolist(), rows["0.mp3"][2].tolist()) == ([1, 0.5, 0], [1, 1, 0])
    assert (rows["1.mp3"][1].tolist(), rows["1.mp3"][2].tolist()) == ([0, 1, 0], [0, 1, 0])


def test_values_of_labels_are_targets_and_count_as_present_from_one_half(tmp_path):
    def value(family, label, amount):
        return {"family": family, "label": label, "value": amount}

    low, high = [value("genre", "jazz", 0.25)], [value("genre", "jazz", 0.75), value("descriptor", "calm", 0.125)]
    rows = [
        {"track_id": f"{n}.mp3", "file_name": "x", "primary_genres": ["jazz"] * (n > 0), "label_values": values}
        for n, values in enumerate((low, high, None))
    ]
    write_splits(tmp_path / "splits", pa.Table.from_pylist(rows, schema=SPLIT_SCHEMA), np.array(["train"] * 3))
    encoder = ProjectionEncoder()
    store = EmbeddingStore.create(tmp_path / "store", encoder.spec, policy=WindowPolicy(), dtype="float32")
    store.append([row["track_id"] for row in rows], [0.0] * 3, encoder.projection[:3][:, None])
    loaded = Collection(store, tmp_path / "splits", LABELS).tracks("train")
    assert loaded.Y.toarray().tolist() == [[0.25, 0, 0], [0.75, 0, 0.125], [1, 0, 0]]
    assert loaded.truth.tolist() == [[0, 0, 0], [1, 0, 0], [1, 0, 0]]
    assert loaded.known.tolist() == [[True, True, False], [True, True, True], [True, True, False]]


def test_an_empty_split_and_tracks_missing_in_the_store(splits, tmp_path):
    store = EmbeddingStore.create(tmp_path / "store", ProjectionEncoder().spec, policy=WindowPolicy())
    with pytest.raises(StoreError, match=r"2 tracks are not in this store, for example 0\.mp3"):
        Collection(store, splits, LABELS).tracks("train")
    with pytest.raises(LabelError, match=r"test\.parquet: there are no tracks"):
        Collection(store, splits, LABELS).tracks("test")


def test_tracks_that_could_not_be_embedded_are_skipped(splits, tmp_path):
    encoder = ProjectionEncoder()
    store = EmbeddingStore.create(tmp_path / "store", encoder.spec, policy=WindowPolicy(), dtype="float32")
    store.append(["1.mp3"], [0.0], encoder.projection[[1]][:, None])
    store.ledger.write_failures([Failure("0.mp3", "/music/0.mp3", "breaks off")])
    loaded = Collection(store, splits, LABELS).tracks("train")
    assert loaded.ids == ["1.mp3"]
    assert loaded.Y.toarray().tolist() == [[0, 1, 0]]


def test_windows_are_grouped_by_track(collection):
    means = collection.tracks("val")
    windows = collection.tracks("val", head=MLPHead(pooling="mean"))
    assert windows.ids == means.ids
    assert windows.X.counts.tolist() == [2] * len(windows.ids)
    np.testing.assert_allclose(windows.X.means(), means.X[:], atol=1e-6)
    assert means.groups[0] == "artist 20"
    assert means.albums[0] == "album-40"


def test_the_hash_of_the_splits_depends_on_the_split_of_each_track(splits, collection):
    ids = split_ids(splits)
    assert sorted(zip(*ids.to_pydict().values(), strict=True)) == [
        ("0.mp3", "train"), ("1.mp3", "train"), ("2.mp3", "val"),
    ]  # fmt: skip
    shuffled = ids.take([2, 0, 1])
    moved = ids.set_column(1, "split", [["train", "val", "val"]])
    assert split_hash(shuffled) == split_hash(ids) != split_hash(moved)
    assert collection.sizes() == {"train": 160, "val": 40, "test": 40}
