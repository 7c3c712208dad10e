"""``hf:`` against the loop that the models' cards show: transformers' extractor on the CPU, then the model."""

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModel

from eno.encoders import load_encoder
from eno.encoders.transformers_audio import TransformersAudio
from eno.errors import ConfigError, WeightsError
from tests.checkpoints import music, save_clap
from tests.encoders.conftest import FAMILIES, edit_json


def reference_states(folder, family, windows, rate):
    """All hidden states, the last one after the final normalisation."""
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    inputs = np.repeat(windows[:, None], 2, axis=1) if family == "encodec-stereo" else windows
    features = extractor(list(inputs), sampling_rate=rate, return_tensors="pt")
    if family.startswith("encodec"):
        values = features["input_values"]
        if model.config.normalize:
            values = values / (values.mean(dim=1, keepdim=True).square().mean(dim=2, keepdim=True).sqrt() + 1e-8)
        return [model.encoder(values).transpose(1, 2)]
    if family == "whisper":
        output = model.encoder(features["input_features"], output_hidden_states=True)
    else:
        output = model(features["input_values"], output_hidden_states=True)
    states = [*output.hidden_states[:-1], output.last_hidden_state]
    return [state[:, 2:] for state in states] if family == "ast" else states


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_hidden_states_equal_those_of_the_reference(small_models, family):
    encoder = TransformersAudio(model=str(small_models / family), layers="all", device="cpu")
    spec = encoder.spec
    windows = music(spec.window_samples, spec.sample_rate, count=2)
    expected = reference_states(small_models / family, family, windows, spec.sample_rate)
    assert len(expected) == len(spec.layers)
    means = torch.stack([state.mean(dim=1) for state in expected], dim=1).numpy()
    np.testing.assert_allclose(encoder.encode(windows), means, atol=2e-5 * np.abs(means).max())


def test_ast_window_fills_its_frames_exactly(small_models):
    encoder = TransformersAudio(model=str(small_models / "ast"), device="cpu")
    audio = torch.from_numpy(music(encoder.spec.window_samples, 16_000))
    extractor = AutoFeatureExtractor.from_pretrained(small_models / "ast")
    assert extractor._extract_fbank_features(audio[0].numpy(), 10_000)[-1].std() == 0  # padding, far beyond
    filled = extractor._extract_fbank_features(audio[0].numpy(), extractor.max_length)
    assert filled.shape[0] == 128
    assert filled[-1].std() > 0
    longer = np.concatenate([audio[0].numpy(), np.zeros(160, np.float32)])
    assert len(extractor._extract_fbank_features(longer, 129)) == 129  # one hop more is one frame more


def test_prefix_sets_the_option_model(small_models):
    folder = str(small_models / "hubert")
    by_prefix = load_encoder(f"hf:{folder}", device="cpu", window_s=1.0)
    by_option = load_encoder("hf", model=folder, device="cpu", window_s=1.0)
    assert by_prefix.spec == by_option.spec
    assert by_prefix.spec.name == "hf"


def test_errors(small_models, tmp_path):
    with pytest.raises(ConfigError, match="needs the option 'model'"):
        load_encoder("hf")
    with pytest.raises(ConfigError, match="the window length of this model is fixed"):
        load_encoder(f"hf:{small_models / 'whisper'}", window_s=10.0)
    save_clap(tmp_path / "clap")
    with pytest.raises(ConfigError, match="has the model type 'clap'; 'hf:' supports audio-spectrogram"):
        load_encoder(f"hf:{tmp_path / 'clap'}")
    edit_json(tmp_path / "clap" / "config.json", model_type="wav2vec2")
    with pytest.raises(WeightsError):
        load_encoder(f"hf:{tmp_path / 'clap'}")
