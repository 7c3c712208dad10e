"""CLAP against transformers' own extractor, network and tokenizer."""

import json

import numpy as np
import pytest
import soundfile
import torch
from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

from eno.audio.reading import read_windows
from eno.audio.windows import WindowPolicy
from eno.encoders.clap.encoder import CLAP
from eno.encoders.clap.front_end import ClapLogMel
from eno.errors import ConfigError, WeightsError
from tests.checkpoints import music, save_clap
from tests.encoders.conftest import edit_json

RATE, SAMPLES = 48_000, 480_000
TEXTS = ["shoegaze", "", "a melancholic piano in an empty hall", "x" * 500]


def signals():
    """Difficult inputs of a front end, one window each."""
    random = np.random.default_rng(0)
    time = np.arange(SAMPLES) / RATE
    chords = music(SAMPLES, RATE)[0]
    loud_bass = np.sin(2 * np.pi * 40 * time)
    return {
        "music": chords,
        "silence": np.zeros(SAMPLES),
        "clipped": np.clip(chords * 50, -1, 1),
        "offset": np.ones(SAMPLES),
        "music on an offset": 0.5 + 0.001 * chords,
        "whisper under a bass": loud_bass + 1e-5 * random.standard_normal(SAMPLES),
        "noise": random.standard_normal(SAMPLES),
        "click": np.eye(1, SAMPLES, 1000)[0],
        "almost nothing": 1e-6 * chords,
    }


@pytest.mark.parametrize("truncation", ["rand_trunc", "fusion"], ids=["slaney", "htk"])
@pytest.mark.parametrize("fmin", [0, 50])
@pytest.mark.parametrize("name", signals())
def test_front_end_equals_that_of_transformers(name, fmin, truncation):
    extractor = ClapFeatureExtractor(truncation=truncation, frequency_min=fmin)
    audio = signals()[name].astype(np.float32)
    expected = extractor(audio, sampling_rate=RATE, return_tensors="np")["input_features"][0, 0]
    found = ClapLogMel(extractor.to_dict())(torch.from_numpy(audio)[None])[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def windows():
    return music(SAMPLES, RATE, count=3)


@pytest.fixture(scope="module", params=["unfused", "fused"])
def folder(request, small_clap, fused_clap):
    return small_clap if request.param == "unfused" else fused_clap


@pytest.fixture(scope="module")
def reference(folder):
    return ClapModel.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def reference_inputs(folder, windows):
    inputs = ClapFeatureExtractor.from_pretrained(folder)(list(windows), sampling_rate=RATE, return_tensors="pt")
    # With feature fusion the extractor marks a random window of the batch as longer than it is.
    return {"input_features": inputs["input_features"].float(), "is_longer": torch.zeros(len(windows), 1, dtype=bool)}


class TestAgainstTransformers:
    @torch.inference_mode()
    def test_projection(self, folder, windows, reference, reference_inputs):
        pooled = reference.audio_model(**reference_inputs).pooler_output
        expected = torch.nn.functional.normalize(reference.audio_projection(pooled), dim=-1)
        encoder = CLAP(model=str(folder), device="cpu")
        np.testing.assert_allclose(encoder.encode(windows)[:, 0], expected, atol=2e-6)
        assert encoder.logit_scale == pytest.approx(1 / 0.07)

    @torch.inference_mode()
    def test_pooled(self, folder, windows, reference, reference_inputs):
        expected = reference.audio_model(**reference_inputs).pooler_output
        found = CLAP(model=str(folder), output="pooled", device="cpu").encode(windows)[:, 0]
        np.testing.assert_allclose(found, expected, atol=2e-6 * expected.abs().max())

    @torch.inference_mode()
    def test_text(self, folder, reference):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokens = tokenizer(TEXTS, padding="max_length", truncation=True, max_length=77, return_tensors="pt")
        features = reference.get_text_features(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        # Up to version 4 a tensor, from 5 on an output whose pooled part is the same.
        features = getattr(features, "pooler_output", features)
        expected = torch.nn.functional.normalize(features, dim=-1)
        found = CLAP(model=str(folder), device="cpu").encode_text(TEXTS)
        np.testing.assert_allclose(found, expected, atol=2e-6)

    def test_short_audio_is_padded_as_in_training(self, small_clap, tmp_path):
        audio = music(SAMPLES * 2 // 5, RATE)[0]  # 4 s: it fits twice, and 2 s of silence follow
        soundfile.write(tmp_path / "short.wav", audio, RATE, subtype="FLOAT")
        encoder = CLAP(model=str(small_clap), device="cpu")
        spec = encoder.spec
        read = read_windows(
            tmp_path / "short.wav",
            sample_rate=spec.sample_rate,
            window_samples=spec.window_samples,
            policy=WindowPolicy(),
            padding=spec.padding,
        )
        extractor = ClapFeatureExtractor.from_pretrained(small_clap)
        expected = extractor(audio, sampling_rate=RATE, return_tensors="np")["input_features"][0, 0]
        found = encoder._front_end(torch.from_numpy(read.samples))[0].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)


class TestText:
    def test_vectors_do_not_depend_on_the_batch(self, small_clap):
        encoder = CLAP(model=str(small_clap), device="cpu")
        many = [f"tag number {i}" for i in range(70)]
        together = encoder.encode_text(many)
        for i in (0, 63, 64, 69):
            np.testing.assert_allclose(encoder.encode_text([many[i]])[0], together[i], atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
        assert encoder.encode_text([]).shape == (0, encoder.spec.dim)

    def test_pooled_output_refuses_text(self, small_clap):
        with pytest.raises(ConfigError, match="output = 'projection'"):
            CLAP(model=str(small_clap), output="pooled", device="cpu").encode_text(["jazz"])

    def test_without_tokenizer_audio_works_and_text_is_refused(self, tmp_path, windows):
        folder = save_clap(tmp_path)
        (folder / "tokenizer.json").unlink()
        encoder = CLAP(model=str(folder), device="cpu")
        assert np.isfinite(encoder.encode(windows[:1])).all()
        with pytest.raises(WeightsError, match=r"has no tokenizer.*tokenizer\.json"):
            encoder.encode_text(["jazz"])

    def test_collapsed_text_tower_is_refused(self, tmp_path, windows):
        folder = save_clap(tmp_path, collapsed=True)
        with pytest.raises(
            WeightsError, match=r"collapsed.*cosine similarity of (0\.9|1\.0).*laion/larger_clap_general"
        ):
            CLAP(model=str(folder), device="cpu")
        assert np.isfinite(CLAP(model=str(folder), output="pooled", device="cpu").encode(windows[:1])).all()


class TestIdentity:
    def test_same_weights_in_another_folder_have_the_same_fingerprint(self, small_clap, tmp_path):
        elsewhere = tmp_path / "copy"
        elsewhere.mkdir()
        for path in small_clap.iterdir():
            (elsewhere / path.name).write_bytes(path.read_bytes())
        here, there = (CLAP(model=str(folder), device="cpu").spec for folder in (small_clap, elsewhere))
        assert here.fingerprint == there.fingerprint
        assert here.location != there.location

    def test_location_is_absolute(self, small_clap, monkeypatch, tmp_path):
        monkeypatch.chdir(small_clap.parent)
        spec = CLAP(model=small_clap.name, device="cpu").spec
        monkeypatch.chdir(tmp_path)
        assert CLAP(device="cpu", **spec.location).spec == spec

    def test_other_mel_settings_have_another_fingerprint(self, small_clap, tmp_path):
        for path in small_clap.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        edit_json(tmp_path / "preprocessor_config.json", frequency_min=20)
        first, second = (CLAP(model=str(folder), device="cpu").spec for folder in (small_clap, tmp_path))
        assert first.fingerprint != second.fingerprint

    def test_outputs_have_different_fingerprints(self, small_clap):
        specs = [CLAP(model=str(small_clap), output=output, device="cpu").spec for output in ("projection", "pooled")]
        assert specs[0].fingerprint != specs[1].fingerprint
        assert [spec.dim for spec in specs] == [64, 128]

    def test_unknown_output(self):
        with pytest.raises(ConfigError, match="no output 'logits'; choose from: projection, pooled"):
            CLAP(output="logits")


class TestDamage:
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("config.json", "config.json"),
            ("preprocessor_config.json", r"preprocessor_config\.json: cannot be read"),
            ("model.safetensors", r"contains no weights\. Put model.safetensors there"),
        ],
    )
    def test_missing_file_is_named(self, tmp_path, name, message):
        folder = save_clap(tmp_path)
        (folder / name).unlink()
        with pytest.raises(WeightsError, match=message):
            CLAP(model=str(folder), device="cpu")

    def test_truncated_weights(self, tmp_path):
        folder = save_clap(tmp_path)
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1000])
        with pytest.raises(WeightsError, match="cannot be loaded"):
            CLAP(model=str(folder), device="cpu")

    def test_weights_of_another_architecture(self, tmp_path):
        folder = save_clap(tmp_path)
        config = json.loads((folder / "config.json").read_text())
        config["audio_config"]["depths"] = [2, 2, 4, 2]
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(WeightsError, match=r"lacks audio_model.*not a checkpoint of ClapModel"):
            CLAP(model=str(folder), device="cpu")

    def test_revision_of_a_folder_is_refused(self, small_clap):
        with pytest.raises(WeightsError, match="is a folder, which has no revision 'v1'"):
            CLAP(model=str(small_clap), revision="v1")

    def test_offline_the_message_says_what_to_do(self, monkeypatch, tmp_path):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(WeightsError, match=r"hf download laion/larger_clap_general .* preprocessor_config\.json"):
            CLAP()
