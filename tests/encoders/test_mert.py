"""MERT against results of its published code (``tests/golden/mert_nano_*``), and checkpoints of the published sizes."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import HubertModel, Wav2Vec2FeatureExtractor

from eno.encoders.hidden_states import standardise
from eno.encoders.mert import MERT
from eno.errors import ConfigError, WeightsError
from tests.checkpoints import GOLDEN, music, save_mert
from tests.encoders.conftest import edit_json, golden_mert


@pytest.fixture(scope="module", params=["95m", "330m"])
def size(request):
    return request.param


@pytest.fixture(scope="module")
def golden(size):
    with np.load(GOLDEN / f"mert_nano_{size}.npz") as file:
        return dict(file)


class TestAgainstPublishedCode:
    def test_every_layer_at_every_frame(self, small_mert, size, golden):
        encoder = MERT(model=str(small_mert[size]), layers="all", device="cpu")
        with torch.inference_mode():
            states = encoder._hidden_states(torch.from_numpy(golden["waveform"]))
        stride = int(golden["frame_stride_kept"])
        for layer, state in enumerate(states):
            np.testing.assert_allclose(
                state[:, ::stride], golden["hidden_states"][:, layer], atol=2e-5, err_msg=f"layer {layer}"
            )

    def test_vectors_are_means_over_time(self, small_mert, size, golden):
        vectors = MERT(model=str(small_mert[size]), layers="all", device="cpu").encode(golden["waveform"])
        np.testing.assert_allclose(vectors, golden["time_mean"], atol=2e-5)

    def test_normalised_input(self, golden):
        found = standardise(torch.from_numpy(golden["waveform"]))
        np.testing.assert_allclose(found, golden["normalised"], atol=1e-6)

    def test_chosen_layers_equal_those_of_all(self, small_mert, size, golden):
        chosen = MERT(model=str(small_mert[size]), layers=(4, 1), device="cpu")
        assert chosen.spec.layers == ("layer 4", "layer 1")
        np.testing.assert_allclose(chosen.encode(golden["waveform"]), golden["time_mean"][:, [4, 1]], atol=2e-5)

    @pytest.mark.parametrize("old_names", [False, True], ids=["parametrizations", "weight_g"])
    def test_weight_norm_under_both_names(self, size, golden, old_names, tmp_path):
        folder = golden_mert(tmp_path, size)
        weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
        names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
        renamed = {}
        for name, value in weights.items():
            for new, old in names.items():
                name = name.replace(new, old) if old_names else name.replace(old, new)
            renamed[name] = value.clone()
        assert any("weight_g" in name for name in renamed) == old_names
        (folder / "pytorch_model.bin").unlink()
        save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
        vectors = MERT(model=str(folder), layers="all", device="cpu").encode(golden["waveform"])
        np.testing.assert_allclose(vectors, golden["time_mean"], atol=2e-5)


@pytest.mark.parametrize(
    ("size", "depth", "width"),
    [
        ("95M", 4, 768),
        ("330M", 4, 1024),
        pytest.param("95M", 12, 768, marks=pytest.mark.full_size),
        pytest.param("330M", 24, 1024, marks=pytest.mark.full_size),
    ],
)
def test_published_layout(tmp_path, size, depth, width):
    folder = save_mert(tmp_path, size, num_hidden_layers=depth)
    encoder = MERT(model=str(folder), device="cpu")
    # Loading has checked that no weight is missing or unexpected; here are their values:
    stored = torch.load(folder / "pytorch_model.bin", weights_only=True)
    loaded = encoder._network.state_dict()
    conv = "encoder.pos_conv_embed.conv.weight"
    scale, direction = stored.pop(f"{conv}_g"), stored.pop(f"{conv}_v")
    normed = scale * direction / direction.norm(dim=(0, 1), keepdim=True)
    torch.testing.assert_close(loaded.pop(conv), normed)
    assert loaded.keys() == stored.keys()
    for name, value in stored.items():
        assert torch.equal(loaded[name], value), name
    assert encoder.spec.layers == tuple(f"layer {depth * k // 4}" for k in (1, 2, 3, 4))
    assert encoder.spec.dim == width
    assert encoder.spec.window_samples == 120_000
    window = music(120_000, 24_000)
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    values = extractor(window[0], sampling_rate=24_000, return_tensors="pt")["input_values"]
    with torch.inference_mode():
        output = encoder._network(values, output_hidden_states=True)
    assert output.last_hidden_state.shape == (1, 374, width)  # 75 frames a second
    expected = [output.hidden_states[depth * k // 4].mean(dim=1)[0] for k in (1, 2, 3)]
    expected.append(output.last_hidden_state.mean(dim=1)[0])
    found = encoder.encode(window)[0]
    np.testing.assert_allclose(found, torch.stack(expected), atol=1e-5 * np.abs(found).max())


class TestRefusals:
    @pytest.mark.parametrize(
        ("switch", "value"), [("feature_extractor_cqt", True), ("deepnorm", True), ("attention_relax", 32.0)]
    )
    def test_switches_of_remote_code(self, tmp_path, switch, value):
        folder = golden_mert(tmp_path, "95m")
        edit_json(folder / "config.json", **{switch: value})
        with pytest.raises(WeightsError, match=f"{switch} = {value}.*runs no remote code"):
            MERT(model=str(folder), device="cpu")

    def test_missing_and_unexpected_weights(self, tmp_path):
        folder = golden_mert(tmp_path, "95m")
        weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
        for change, message in (
            (
                lambda w: w.pop("encoder.layers.2.attention.k_proj.weight"),
                r"lacks encoder\.layers\.2\.attention\.k_proj",
            ),
            (lambda w: w.update({"encoder.extra": torch.ones(3)}), r"unexpected weights: encoder\.extra"),
            (lambda w: w.update({"masked_spec_embed": torch.ones(7)}), r"other shapes for masked_spec_embed"),
        ):
            changed = dict(weights)
            change(changed)
            target = tmp_path / "changed"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(folder, target)
            torch.save(changed, target / "pytorch_model.bin")
            with pytest.raises(WeightsError, match=message):
                MERT(model=str(target), device="cpu")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"layers": (5,)}, "there is no layer 5; this network has layers 0 to 4"),
            ({"layers": "best"}, "layers = 'best': expected 'spread', 'all'"),
            ({"pooling": "median"}, "pooling = 'median': choose from mean, max, mean_std"),
            ({"window_s": 0.01}, r"window_s = 0\.01: expected 0\.5 to 60 seconds"),
        ],
    )
    def test_options(self, small_mert, options, message):
        with pytest.raises(ConfigError, match=message):
            MERT(model=str(small_mert["95m"]), device="cpu", **options)


def test_remote_code_is_never_loaded(small_mert, monkeypatch):
    """The configuration names MERT's own classes; a loader that followed it would ask for modelling code."""
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "get_class_from_dynamic_module", None)
    assert isinstance(MERT(model=str(small_mert["95m"]), device="cpu")._network, HubertModel)


def test_poolings(small_mert):
    window = music(24_000, 24_000)
    mean, most, both = (
        MERT(model=str(small_mert["95m"]), layers=(2,), pooling=pooling, window_s=1.0, device="cpu").encode(window)[
            0, 0
        ]
        for pooling in ("mean", "max", "mean_std")
    )
    assert (most > mean).all()
    np.testing.assert_allclose(both[: len(mean)], mean, atol=1e-6)
    assert len(both) == 2 * len(mean)
    assert (both[len(mean) :] > 0).all()
