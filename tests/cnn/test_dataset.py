import json

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from eno.audio.windows import WindowPolicy
from eno.cnn.augment import Augment
from eno.cnn.dataset import EnoDataset
from eno.data.labels.encoder import LabelEncoder
from eno.errors import CatalogueError, ConfigError, LabelError
from tests.spectrograms import LABELS, save_collection


@pytest.fixture
def root(tmp_path):
    return save_collection(tmp_path, {"train": 6, "val": 5, "test": 1})


def stored(root, track_id):
    return np.load(root.features / f"{track_id}.npy")


def is_crop(crop, whole):
    places = range(whole.shape[-1] - crop.shape[-1] + 1)
    return any(np.array_equal(whole[..., i : i + crop.shape[-1]], crop) for i in places)


def test_whole_tracks_equal_the_feature_files(root):
    dataset = EnoDataset("train", str(root.root), LABELS)
    assert (len(dataset), dataset.n_mels, dataset.sample_rate) == (6, 16, 16_000)
    for index, track_id in enumerate(dataset.ids):
        features, labels = dataset[index]
        assert features.dtype == labels.dtype == torch.float32
        np.testing.assert_array_equal(features.numpy(), stored(root, track_id))


def test_labels_are_soft_in_training_and_binary_elsewhere(root):
    train, val = (EnoDataset(split, root.root, LABELS) for split in ("train", "val"))
    # Track 0 is loud; high is its secondary genre, with a weight of 0.5.
    assert train[0][1].tolist() == [0.5, 0, 1]
    assert val[0][1].tolist() == [1, 0, 1]
    assert train[3][1].tolist() == [0, 0.5, 0]


def test_crops_come_from_their_track_and_differ_between_epochs(root):
    dataset = EnoDataset("train", root.root, LABELS, crop_frames=20)
    epochs = []
    for epoch in range(3):
        dataset.set_epoch(epoch)
        crops = [dataset[index][0].numpy() for index in range(len(dataset))]
        assert all(crop.shape == (1, 16, 20) for crop in crops)
        assert all(is_crop(crop, stored(root, one)) for crop, one in zip(crops, dataset.ids, strict=True))
        epochs.append(np.stack(crops))
    assert not np.array_equal(epochs[0], epochs[1])
    dataset.set_epoch(0)
    np.testing.assert_array_equal(dataset[4][0], epochs[0][4])
    other = EnoDataset("train", root.root, LABELS, crop_frames=20, seed=1)
    assert not np.array_equal(np.stack([other[index][0] for index in range(6)]), epochs[0])


def test_worker_processes_do_not_change_the_result(root):
    augment = Augment(time_stretch=0.2, pitch_shift=2, spec_augment=True)
    dataset = EnoDataset("train", root.root, LABELS, crop_frames=20, augment=augment)
    options = {"num_workers": 2, "persistent_workers": True, "multiprocessing_context": "spawn"}
    loader = DataLoader(dataset, batch_size=2, **options)
    for epoch in (1, 2):  # in the same worker processes
        dataset.set_epoch(epoch)
        found = torch.cat([features for features, _ in loader])
        assert found.shape == (6, 1, 16, 20)
        torch.testing.assert_close(found, torch.stack([dataset[index][0] for index in range(6)]), rtol=0, atol=0)


def test_a_track_shorter_than_a_crop_is_repeated(root):
    whole = stored(root, "train/00.ogg")
    length = whole.shape[-1]
    features, _ = EnoDataset("train", root.root, LABELS, crop_frames=2 * length + 5)[0]
    np.testing.assert_array_equal(features, np.concatenate([whole, whole, whole[..., :5]], axis=-1))


def test_windows_are_those_of_the_predictor(root):
    dataset = EnoDataset("val", root.root, LABELS, crop_frames=20, windows=3)
    for index, track_id in enumerate(dataset.ids):
        whole = stored(root, track_id)
        starts = WindowPolicy(count=3).starts(whole.shape[-1], 20, 1)
        expected = np.stack([whole[..., start : start + 20] for start in starts])
        np.testing.assert_array_equal(dataset[index][0], expected)
    single = EnoDataset("val", root.root, LABELS, crop_frames=20, windows=1)[0][0]
    start = WindowPolicy(count=1).starts(stored(root, "val/00.ogg").shape[-1], 20, 1)[0]
    np.testing.assert_array_equal(single[0], stored(root, "val/00.ogg")[..., start : start + 20])
    # Tracks of different lengths fit into one batch, even if they are shorter than a window.
    long = EnoDataset("val", root.root, LABELS, crop_frames=60, windows=4)
    assert next(iter(DataLoader(long, batch_size=5)))[0].shape == (5, 4, 1, 16, 60)


def test_failed_tracks_are_skipped_and_counted(root):
    (root.features / "train" / "02.ogg.npy").unlink()
    failure = {"track_id": "train/02.ogg", "path": "/music/02.ogg", "reason": "breaks off"}
    (root.features / "failures.jsonl").write_text(json.dumps(failure) + "\n")
    dataset = EnoDataset("train", root.root, LABELS)
    assert (len(dataset), dataset.skipped) == (5, 1)
    assert "train/02.ogg" not in dataset.ids
    np.testing.assert_array_equal(dataset[2][0], stored(root, "train/03.ogg"))
    assert dataset[2][1].tolist() == [0, 0.5, 0]


class TestBadInput:
    def test_missing_features(self, root):
        (root.features / "train" / "02.ogg.npy").unlink()
        message = r"features of 1 of 6 tracks are missing, for instance train/02\.ogg.*prepare_data\.py"
        with pytest.raises(CatalogueError, match=message):
            EnoDataset("train", root.root, LABELS)
        (root.features / "features.json").unlink()
        with pytest.raises(CatalogueError, match=r"has no features.*prepare_data\.py"):
            EnoDataset("train", root.root, LABELS)

    def test_no_such_split(self, root):
        with pytest.raises(CatalogueError, match=r"dev\.parquet: no such file"):
            EnoDataset("dev", root.root, LABELS)

    def test_no_track_has_features(self, root):
        failure = {"track_id": "test/00.ogg", "path": "x", "reason": "breaks off"}
        (root.features / "failures.jsonl").write_text(json.dumps(failure) + "\n")
        with pytest.raises(LabelError, match=r"test\.parquet: none of its tracks has features"):
            EnoDataset("test", root.root, LABELS)

    @pytest.mark.parametrize("damage", ["truncated", "pickled", "other bands"])
    def test_damaged_features(self, root, damage):
        path = root.features / "train" / "00.ogg.npy"
        if damage == "truncated":
            path.write_bytes(path.read_bytes()[:200])
        elif damage == "pickled":
            np.save(path, np.array([{}], dtype=object))
        else:
            np.save(path, np.zeros((1, 8, 50), np.float32))
        with pytest.raises(CatalogueError, match=r"00\.ogg\.npy.*Remove it"):
            EnoDataset("train", root.root, LABELS)[0]

    @pytest.mark.parametrize(
        "options", [{"windows": 3}, {"crop_frames": 0}, {"crop_frames": 9, "windows": 2, "augment": Augment()}]
    )
    def test_inconsistent_options(self, root, options):
        with pytest.raises(ConfigError, match="crop_frames="):
            EnoDataset("val", root.root, LABELS, **options)

    def test_a_vocabulary_without_these_labels_has_no_positives(self, root):
        assert EnoDataset("train", root.root, LabelEncoder(["jazz"], []))[0][1].tolist() == [0]
