import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from eno.audio.windows import WindowPolicy
from eno.cnn import training as cnn
from eno.cnn.encoder import DEFAULTS, SimpleCNNTagger
from eno.cnn.network import SimpleCNN
from eno.cnn.predictor import FeatureCollection
from eno.cnn.settings import CNNSettings, describe_options
from eno.cnn.training import train_cnn
from eno.data.labels.encoder import LabelEncoder
from eno.errors import CatalogueError, ConfigError, LabelError, TrainingError
from eno.inference.predictor_folder import PredictorParts
from eno.models import IdentityHead
from eno.models.losses import CLASS_WEIGHTS, LOSSES
from tests.spectrograms import LABELS, save_collection

# Crops of 17 frames, the minimum.
QUICK = CNNSettings(epochs=4, batch_size=8, learning_rate=3e-3, crop_s=0.5, val_windows=2, device="cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return save_collection(tmp_path_factory.mktemp("data"), {"train": 24, "val": 8, "test": 8}, n_mels=8).root


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    epochs, steps = [], []
    result = train_cnn(
        root, LABELS, tmp_path_factory.mktemp("model"), replace(QUICK, epochs=8, patience=8),
        on_epoch=epochs.append, on_step=lambda *numbers: steps.append(numbers),
    )  # fmt: skip
    assert epochs == result.history
    assert steps == [(step, 24) for step in range(1, 25)]
    return result


def predict(result, root, split, *, windows, limit=None):
    spec = SimpleCNNTagger(model=str(result.model), device="cpu").spec
    parts = PredictorParts(specs=(spec,), labels=LABELS, head=IdentityHead(), policies=(WindowPolicy(count=windows),))
    return FeatureCollection(root, "cpu").predict(parts, split, limit=limit)


def weights_of(result):
    return torch.load(result.model, weights_only=True)


class TestResult:
    def test_the_loss_falls(self, trained):
        losses = [epoch.train_loss for epoch in trained.history]
        assert losses[-1] < 0.8 * losses[0]
        # Chance is 0.5.
        assert trained.history[trained.best_epoch - 1].val_map > 0.9

    def test_the_checkpoint_with_the_lowest_validation_loss_is_kept(self, root, tmp_path, trained):
        losses = [epoch.val_loss for epoch in trained.history]
        assert trained.best_epoch == 1 + int(np.argmin(losses))
        # The network of that epoch has the same loss on the validation split.
        found = predict(trained, root, "val", windows=2)
        probabilities, truth = found.probabilities, found.truth
        entropy = -np.where(truth, np.log(probabilities), np.log(1 - probabilities))
        known = np.ones_like(entropy, bool) if found.known is None else found.known
        assert entropy[known].mean() == pytest.approx(min(losses), rel=1e-4)

    def test_files(self, trained):
        content = json.loads((trained.model.parent / "history.json").read_text())
        assert (content["finished"], content["best_epoch"]) == (True, trained.best_epoch)
        assert content["epochs"] == [asdict(epoch) for epoch in trained.history]
        assert CNNSettings(**content["settings"]) == trained.settings
        assert (content["features"], content["tracks"]) == (
            {"sample_rate": 16_000, "n_mels": 8}, {"train": 24, "val": 8},
        )  # fmt: skip
        assert LabelEncoder.load(trained.label_encoder).all_labels == LABELS.all_labels
        assert list(weights_of(trained)) == list(SimpleCNN(8, 3).state_dict())
        assert not list(trained.model.parent.glob(".*"))

    def test_predictions_of_a_split(self, root, trained):
        found = predict(trained, root, "test", windows=3)
        probabilities, truth = found.probabilities, found.truth
        assert found.ids == [f"test/{number:02d}.ogg" for number in range(8)]
        assert probabilities.shape == truth.shape == (8, 3)
        assert truth[0].tolist() == [1, 0, 1]  # secondary genres count fully in evaluation
        assert ((probabilities[:, 0] > probabilities[:, 1]) == (truth[:, 0] > 0)).all()
        assert len(found.albums) == len(found.groups) == 8
        some = predict(trained, root, "test", windows=3, limit=5)
        assert some.ids == sorted(some.ids) and len(some.ids) == 5
        np.testing.assert_allclose(some.probabilities, found.select(some.ids).probabilities, rtol=1e-5)

    def test_results_depend_on_the_seed(self, root, tmp_path):
        settings = replace(QUICK, epochs=1, spec_augment=True, pitch_shift=1.0, time_stretch=0.1, mixup=0.3)
        runs = []
        for name, seed in (("one", 1), ("again", 1), ("other", 2)):
            torch.manual_seed(len(name))  # must have no effect
            runs.append(train_cnn(root, LABELS, tmp_path / name, replace(settings, seed=seed)))
        assert runs[0].model.read_bytes() == runs[1].model.read_bytes()
        assert runs[0].history[0].val_loss == runs[1].history[0].val_loss
        assert runs[0].model.read_bytes() != runs[2].model.read_bytes()

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_worker_processes_do_not_change_the_result(self, root, tmp_path, monkeypatch):
        class ForkingLoader(DataLoader):  # spawned processes take seconds to start
            def __init__(self, *args, multiprocessing_context, **options):
                context = multiprocessing_context and "fork"
                super().__init__(*args, multiprocessing_context=context, **options)

        monkeypatch.setattr(cnn, "DataLoader", ForkingLoader)
        settings = replace(QUICK, epochs=3, spec_augment=True, time_stretch=0.1, mixup=0.2)
        alone, parallel = (
            train_cnn(root, LABELS, tmp_path / str(workers), replace(settings, num_workers=workers))
            for workers in (0, 2)
        )
        assert alone.model.read_bytes() == parallel.model.read_bytes()

    @pytest.mark.parametrize(
        "options",
        [
            {"loss": "focal", "class_weights": "balanced"},
            {"loss": "asymmetric", "class_weights": "effective", "label_smoothing": 0.1},
            {"schedule": "constant"},
        ],
    )
    def test_every_loss_and_schedule_trains(self, root, tmp_path, options):
        result = train_cnn(root, LABELS, tmp_path, replace(QUICK, **options))
        losses = [epoch.train_loss for epoch in result.history]
        assert min(losses[1:]) < losses[0]


class TestEnd:
    def test_patience(self, root, tmp_path, monkeypatch):
        losses = iter([3.0, 1.0, 2.0, 2.0, 0.5])
        monkeypatch.setattr(cnn, "validate", lambda *_, on_batch, **__: (
            on_batch(torch.zeros(1, 3), torch.zeros(1, 3)), next(losses)
        )[1])  # fmt: skip
        result = train_cnn(root, LABELS, tmp_path, replace(QUICK, epochs=9, patience=2))
        assert ([epoch.number for epoch in result.history], result.best_epoch) == ([1, 2, 3, 4], 2)
        assert result.history[0].val_map is None  # without positives, mAP is undefined

    def test_an_interrupted_training_leaves_the_best_checkpoint_and_the_next_starts_over(self, root, tmp_path, caplog):
        def interrupt(epoch):
            if epoch.number == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train_cnn(root, LABELS, tmp_path, QUICK, on_epoch=interrupt)
        content = json.loads((tmp_path / "history.json").read_text())
        assert (content["finished"], len(content["epochs"])) == (False, 2)
        SimpleCNN(8, 3).load_state_dict(torch.load(tmp_path / "best_model.pt", weights_only=True))
        again = train_cnn(root, LABELS, tmp_path, QUICK)
        assert "has a training that was interrupted after 2 epochs; starting over" in caplog.text
        undisturbed = train_cnn(root, LABELS, tmp_path / "other", QUICK)
        assert again.model.read_bytes() == undisturbed.model.read_bytes()

    def test_files_of_an_earlier_training_are_removed_at_the_start(self, root, tmp_path, caplog):
        train_cnn(root, LABELS, tmp_path, replace(QUICK, epochs=1))
        with pytest.raises(KeyboardInterrupt):
            train_cnn(root, LABELS, tmp_path, QUICK, on_step=_interrupt)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["label_encoder.json"]
        assert caplog.text == ""
        (tmp_path / "history.json").write_text("{")
        train_cnn(root, LABELS, tmp_path, replace(QUICK, epochs=1))
        assert "history.json: is damaged" in caplog.text


def _interrupt(*numbers):
    raise KeyboardInterrupt


def test_defaults_without_a_history_are_those_of_training():
    assert DEFAULTS["window_s"] == CNNSettings().crop_s


def test_options_are_described_for_the_command_line():
    options = describe_options()
    assert options["epochs"] == {"type": int, "default": CNNSettings().epochs, "choices": None,
                                 "help": "maximum number of passes over the training tracks"}  # fmt: skip
    assert {name: option["default"] for name, option in options.items()} == asdict(CNNSettings())
    assert (options["loss"]["choices"], options["class_weights"]["choices"]) == (tuple(LOSSES), tuple(CLASS_WEIGHTS))


class TestBadInput:
    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("epochs", 0), ("batch_size", 0), ("learning_rate", 0.0), ("crop_s", 0.1), ("loss", "hinge"),
            ("class_weights", "heavy"), ("schedule", "steps"), ("mixup", -1.0), ("pitch_shift", 20.0),
            ("time_stretch", 2.0), ("label_smoothing", 1.0), ("patience", 0), ("num_workers", -1),
        ],
    )  # fmt: skip
    def test_settings_out_of_range(self, option, value):
        with pytest.raises(ConfigError, match=option):
            CNNSettings(**{option: value})

    def test_no_labels(self, root, tmp_path):
        with pytest.raises(LabelError, match="The vocabulary has no labels"):
            train_cnn(root, LabelEncoder([], []), tmp_path, QUICK)

    def test_without_features_an_earlier_model_is_kept(self, tmp_path):
        (tmp_path / "best_model.pt").write_bytes(b"an earlier one")
        with pytest.raises(CatalogueError, match=r"has no features.*prepare_data\.py"):
            train_cnn(tmp_path / "nothing", LABELS, tmp_path, QUICK)
        assert (tmp_path / "best_model.pt").read_bytes() == b"an earlier one"

    def test_features_that_are_not_finite(self, tmp_path):
        root = save_collection(tmp_path / "data", {"train": 8, "val": 2}, n_mels=8)
        np.save(root.features / "train" / "03.ogg.npy", np.full((1, 8, 50), np.nan, np.float32))
        with pytest.raises(TrainingError, match="features contain values that are not finite"):
            train_cnn(root.root, LABELS, tmp_path / "model", QUICK)
