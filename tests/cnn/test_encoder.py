import hashlib
import json
import os

import numpy as np
import pytest
import torch

from eno.cnn.encoder import SimpleCNNTagger, load_simple_cnn
from eno.cnn.features import AudioFeatureExtractor
from eno.cnn.network import SimpleCNN
from eno.encoders import load_encoder
from eno.errors import ConfigError, ModelError
from tests.checkpoints import music, save_simple_cnn


@pytest.fixture
def checkpoint(tmp_path):
    return save_simple_cnn(tmp_path / "best_model.pt", num_labels=6)


def write_history(checkpoint, **changes):
    content = {
        "weights_sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "settings": {"crop_s": 2.0},
        "features": {"n_mels": 64, "sample_rate": 22_050},
    }
    checkpoint.with_name("history.json").write_text(json.dumps(content | changes))


def test_vectors_are_the_probabilities_of_the_network(checkpoint):
    tagger = SimpleCNNTagger(model=str(checkpoint), window_s=1.0, device="cpu")
    windows = music(16_000, 16_000, count=3)
    network = SimpleCNN(128, 6)
    network.load_state_dict(torch.load(checkpoint, weights_only=True))
    features = torch.stack([AudioFeatureExtractor().from_waveform(window) for window in windows])
    with torch.no_grad():
        expected = torch.sigmoid(network.eval()(features)).numpy()
    assert features.shape == (3, 1, 128, 32)  # as for a training crop of 1 s
    np.testing.assert_allclose(tagger.encode(windows)[:, 0], expected, atol=1e-6)


def test_spec(checkpoint):
    spec = SimpleCNNTagger(model=str(checkpoint), device="cpu").spec
    assert (spec.dim, spec.layers, spec.window_s, spec.sample_rate) == (6, ("tags",), 3.0, 16_000)
    assert spec.weights_sha256 == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert spec.location == {"model": str(checkpoint)}


class TestTrainingSettings:
    def test_are_read_from_the_history(self, checkpoint):
        write_history(checkpoint)
        spec = load_encoder("simple_cnn", model=str(checkpoint), device="cpu").spec
        assert (spec.window_s, spec.sample_rate, spec.options["n_mels"]) == (2.0, 22_050, 64)
        # The spec is enough to load the encoder without the history.
        checkpoint.with_name("history.json").unlink()
        assert load_encoder("simple_cnn", device="cpu", **spec.options, **spec.location).spec == spec

    def test_options_override_them(self, checkpoint):
        write_history(checkpoint)
        spec = SimpleCNNTagger(model=str(checkpoint), window_s=3, device="cpu").spec
        assert (spec.window_s, spec.options["n_mels"]) == (3.0, 64)

    @pytest.mark.parametrize("changes", [{"weights_sha256": "0" * 64}, {"settings": None}])
    def test_an_unrelated_history_is_ignored(self, checkpoint, changes):
        write_history(checkpoint, **changes)
        assert SimpleCNNTagger(model=str(checkpoint), device="cpu").spec.window_s == 3.0


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


class TestBadCheckpoints:
    def test_missing(self, tmp_path):
        with pytest.raises(ModelError, match=r"none\.pt: no such file\. Train a CNN with: python scripts/train\.py"):
            load_simple_cnn(tmp_path / "none.pt")

    def test_code_is_not_run(self, checkpoint, tmp_path):
        torch.save({"classifier.4.weight": Evil(str(tmp_path / "owned"))}, checkpoint)
        with pytest.raises(ModelError, match=r"best_model\.pt: is refused.*can run code.*scripts/train"):
            load_encoder("simple_cnn", model=str(checkpoint))
        assert not (tmp_path / "owned").exists()

    @pytest.mark.parametrize("kept", [0, 100, 10_000])
    def test_truncated(self, checkpoint, kept):
        checkpoint.write_bytes(checkpoint.read_bytes()[:kept])
        with pytest.raises(ModelError, match=r"best_model\.pt: is truncated, damaged or not a .*scripts/train"):
            load_simple_cnn(checkpoint)

    def test_no_state_dict(self, checkpoint):
        torch.save([1, 2], checkpoint)
        with pytest.raises(ModelError, match=r"best_model\.pt: is not the state dict of a SimpleCNN"):
            load_simple_cnn(checkpoint)

    @pytest.mark.parametrize("change", ["missing", "extra", "shape", "no tensor"])
    def test_another_network(self, checkpoint, change):
        weights = torch.load(checkpoint, weights_only=True)
        name = "conv_layers.0.weight"
        if change == "missing":
            del weights[name]
        else:
            name = "extra.weight" if change == "extra" else name
            weights[name] = "x" if change == "no tensor" else torch.zeros(3, 3)
        torch.save(weights, checkpoint)
        with pytest.raises(ModelError, match=rf"best_model\.pt: is the state dict of another network .*{name}"):
            load_simple_cnn(checkpoint)

    def test_window_out_of_range(self, checkpoint):
        with pytest.raises(ConfigError, match=r"window_s = 0\.1: expected"):
            SimpleCNNTagger(model=str(checkpoint), window_s=0.1)
