"""Checkpoints of laion_clap, against stored results of its network and against its code."""

import importlib
import pickle
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from eno.cli import app
from eno.encoders import load_encoder
from eno.encoders.clap import laion
from eno.encoders.clap.encoder import CLAP
from eno.encoders.clap.laion_checkpoint import convert_laion, read_laion_checkpoint
from eno.errors import ConfigError, MissingExtra, WeightsError
from tests.checkpoints import GOLDEN, music, music_statistics, save_tokenizer, spread_weights
from tests.encoders.laion_clap_package import laion_clap

NANO = GOLDEN / "laion_nano.pt"
TEXT_HEADS = 4
_OLD_CODE = pytest.mark.filterwarnings("ignore:torch.meshgrid")
TEXTS = ["shoegaze", "a slow piano piece with much reverb", "techno"]


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "laion_nano.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def nano(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nano")
    save_tokenizer(folder / "tokenizer")
    convert_laion(NANO, folder, tokenizer=str(folder / "tokenizer"), text_heads=TEXT_HEADS)
    return folder


class TestAgainstGoldenNumbers:
    def test_audio(self, nano, golden):
        windows = golden["waveform_int16"].astype(np.float32) / 32768
        projected = CLAP(model=str(nano), device="cpu").encode(windows)[:, 0]
        np.testing.assert_allclose(projected, golden["audio_embedding"], atol=1e-5)
        pooled = CLAP(model=str(nano), output="pooled", device="cpu").encode(windows)[:, 0]
        np.testing.assert_allclose(pooled, golden["audio_pooled"], atol=1e-5)

    @pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16], ids=str)
    def test_checkpoint_in_half_precision(self, golden, tmp_path, precision):
        weights = {name: value.to(precision) for name, value in read_laion_checkpoint(NANO).items()}
        torch.save(weights, tmp_path / "half.pt")
        convert_laion(tmp_path / "half.pt", tmp_path / "out", tokenizer=None, text_heads=TEXT_HEADS)
        windows = golden["waveform_int16"].astype(np.float32) / 32768
        projected = CLAP(model=str(tmp_path / "out"), device="cpu").encode(windows)[:, 0]
        assert (projected * golden["audio_embedding"]).sum(axis=1).min() > 0.99

    def test_front_end(self, nano, golden):
        windows = torch.from_numpy(golden["waveform_int16"].astype(np.float32) / 32768)
        # torchlibrosa computes in single precision: its weak bands are rounded.
        found = CLAP(model=str(nano), device="cpu")._front_end(windows)
        np.testing.assert_allclose(found, golden["logmel"], atol=3e-4)

    @torch.inference_mode()
    def test_text(self, nano, golden):
        network = CLAP(model=str(nano), device="cpu")._network
        tokens = {name: torch.from_numpy(golden[name]) for name in ("input_ids", "attention_mask")}
        projected = network.text_projection(network.text_model(**tokens).pooler_output)
        found = torch.nn.functional.normalize(projected, dim=-1)
        np.testing.assert_allclose(found, golden["text_embedding"], atol=1e-5)


class TestConversion:
    def test_every_tensor_is_mapped_or_unused(self, nano):
        unused = ("tscam_conv", "head.", "_transform.", "attn_mask", "spectrogram_extractor", "logmel_extractor")

        def fingerprints(weights):
            return Counter((tuple(value.shape), value.numpy().tobytes()) for value in weights)

        source = [
            part
            for name, value in read_laion_checkpoint(NANO).items()
            if not any(kind in name for kind in unused)
            for part in (value.chunk(3) if ".qkv." in name else [value])
        ]
        # Compared by content; the names are checked by the outputs of the network.
        assert fingerprints(source) == fingerprints(load_file(nano / "model.safetensors").values())

    @pytest.mark.parametrize("module_prefix", [True, False])
    @pytest.mark.parametrize("position_ids", [True, False])
    def test_with_and_without_prefix_and_position_ids(self, nano, tmp_path, module_prefix, position_ids):
        weights = read_laion_checkpoint(NANO)
        if position_ids:
            weights["text_branch.embeddings.position_ids"] = torch.arange(514)[None]
        weights = {"module." * module_prefix + name: value for name, value in weights.items()}
        torch.save({"epoch": 3, "state_dict": weights} if module_prefix else weights, tmp_path / "other.pt")
        convert_laion(tmp_path / "other.pt", tmp_path / "out", tokenizer=None, text_heads=TEXT_HEADS)
        first, second = (load_file(folder / "model.safetensors") for folder in (nano, tmp_path / "out"))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)

    def test_unknown_tensor_is_named_and_nothing_is_written(self, tmp_path):
        weights = read_laion_checkpoint(NANO) | {"vision_branch.conv.weight": torch.ones(2)}
        torch.save(weights, tmp_path / "more.pt")
        with pytest.raises(WeightsError, match=r"unknown tensors: vision_branch\.conv\.weight"):
            convert_laion(tmp_path / "more.pt", tmp_path / "out", tokenizer=None)
        assert not (tmp_path / "out").exists()

    def test_unexpected_tensor_of_the_network_is_found_when_loading(self, tmp_path):
        weights = read_laion_checkpoint(NANO) | {"audio_branch.layers.0.blocks.0.norm3.weight": torch.ones(16)}
        torch.save(weights, tmp_path / "more.pt")
        convert_laion(tmp_path / "more.pt", tmp_path / "out", tokenizer=None, text_heads=TEXT_HEADS)
        with pytest.raises(WeightsError, match=r"unexpected weights: .*norm3\.weight"):
            CLAP(model=str(tmp_path / "out"), device="cpu")

    def test_fusion_is_refused_by_name(self, tmp_path):
        weights = read_laion_checkpoint(NANO) | {"audio_branch.patch_embed.mel_conv2d.weight": torch.ones(2)}
        torch.save(weights, tmp_path / "630k-fusion-best.pt")
        with pytest.raises(WeightsError, match=r"630k-fusion-best\.pt: was trained with feature fusion.*630k-audioset"):
            convert_laion(tmp_path / "630k-fusion-best.pt", tmp_path / "out", tokenizer=None)

    def test_other_mel_bands_are_refused(self, tmp_path):
        weights = read_laion_checkpoint(NANO)
        weights["audio_branch.logmel_extractor.melW"] = weights["audio_branch.logmel_extractor.melW"].roll(1, 0)
        torch.save(weights, tmp_path / "mel.pt")
        with pytest.raises(WeightsError, match="other mel bands"):
            convert_laion(tmp_path / "mel.pt", tmp_path / "out", tokenizer=None)

    def test_missing_tokenizer(self, tmp_path, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(WeightsError, match=r"tokenizer cannot be loaded.*--tokenizer FOLDER.*--no-text"):
            convert_laion(NANO, tmp_path / "out", tokenizer=str(tmp_path / "nothing"))
        assert not (tmp_path / "out").exists()


class _Exploit:
    def __reduce__(self):
        return print, ("code was run",)


class TestSafety:
    def test_code_in_a_checkpoint_is_named_and_not_run(self, tmp_path, capsys):
        torch.save({"state_dict": {"a": torch.ones(1)}, "optimizer": _Exploit()}, tmp_path / "evil.pt")
        with pytest.raises(
            WeightsError,
            match=r"evil\.pt: is refused because it contains a Python object, (__builtin__\.|builtins\.)?print",
        ):
            read_laion_checkpoint(tmp_path / "evil.pt")
        assert "code was run" not in capsys.readouterr().out

    def test_numpy_scalars_are_allowed_and_arrays_of_objects_are_not(self, tmp_path):
        assert read_laion_checkpoint(NANO)  # its epoch is one
        torch.save({"state_dict": {}, "history": np.array([{}], dtype=object)}, tmp_path / "array.pt")
        with pytest.raises(WeightsError, match=r"is refused.*_reconstruct"):
            read_laion_checkpoint(tmp_path / "array.pt")

    def test_allowed_types_are_reset_after_reading(self, tmp_path):
        read_laion_checkpoint(NANO)
        with pytest.raises(pickle.UnpicklingError):
            torch.load(NANO, weights_only=True)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "damaged"),
            (b"not a checkpoint", "damaged|refused"),
            (NANO.read_bytes()[:100_000], "damaged"),
        ],
    )
    def test_damaged_file(self, tmp_path, content, message):
        (tmp_path / "bad.pt").write_bytes(content)
        with pytest.raises(WeightsError, match=message):
            read_laion_checkpoint(tmp_path / "bad.pt")

    def test_missing_file_and_other_checkpoints(self, tmp_path):
        with pytest.raises(WeightsError, match=r"gone\.pt: cannot be read"):
            read_laion_checkpoint(tmp_path / "gone.pt")
        torch.save({"state_dict": {"conv.weight": torch.ones(2)}}, tmp_path / "other.pt")
        with pytest.raises(WeightsError, match="lacks audio_branch"):
            read_laion_checkpoint(tmp_path / "other.pt")
        torch.save([1, 2], tmp_path / "list.pt")
        with pytest.raises(WeightsError, match="no dictionary of weights"):
            read_laion_checkpoint(tmp_path / "list.pt")


_SIZES = [
    pytest.param(("HTSAT-tiny", False), id="HTSAT-tiny-short-text"),
    *(pytest.param((size, True), id=size, marks=pytest.mark.full_size) for size in ("HTSAT-tiny", "HTSAT-base")),
]


@pytest.fixture(scope="module", params=_SIZES)
def original(request, tmp_path_factory):
    """A network of laion_clap; its checkpoint and the converted one."""
    size, full_size = request.param
    with laion_clap(tmp_path_factory.mktemp("laion_clap"), full_size=full_size) as package:
        yield save_laion(package.CLAP_Module(enable_fusion=False, amodel=size, device="cpu").eval(), tmp_path_factory)


def save_laion(module, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    spread_weights(module.model, seed=3)
    music_statistics(module.model.audio_branch.bn0)
    weights = {f"module.{name}": value for name, value in module.model.state_dict().items()}
    torch.save({"epoch": np.int64(15), "name": "random", "state_dict": weights}, folder / "checkpoint.pt")
    save_tokenizer(folder / "tokenizer")
    convert_laion(folder / "checkpoint.pt", folder / "converted", tokenizer=str(folder / "tokenizer"))
    return module, folder


@pytest.fixture(scope="module")
def converted(original):
    return CLAP(model=str(original[1] / "converted"), device="cpu")


@pytest.fixture(scope="module")
def windows():
    return music(480_000, 48_000, count=3)


@_OLD_CODE
class TestAgainstItsOwnCode:
    """Networks of laion_clap with random weights, saved in its layout, converted, and compared."""

    @torch.inference_mode()
    def test_same_mel_spectrogram_same_embedding(self, original, converted, windows):
        network = original[0].model
        branch = network.audio_branch
        mel = converted._front_end(torch.from_numpy(windows))
        front_end = branch.spectrogram_extractor, branch.logmel_extractor
        branch.spectrogram_extractor = branch.logmel_extractor = torch.nn.Identity()
        hidden = network.encode_audio({"waveform": mel[:, None]}, device="cpu")["embedding"]
        branch.spectrogram_extractor, branch.logmel_extractor = front_end
        expected = torch.nn.functional.normalize(network.audio_projection(hidden), dim=-1)
        np.testing.assert_allclose(converted.encode(windows)[:, 0], expected, atol=1e-5)

    @torch.inference_mode()
    def test_from_the_waveform(self, original, converted, windows):
        expected = original[0].get_audio_embedding_from_data(torch.from_numpy(windows), use_tensor=True)
        np.testing.assert_allclose(converted.encode(windows)[:, 0], expected, atol=1e-4)

    @torch.inference_mode()
    def test_text(self, original, converted):
        expected = original[0].get_text_embedding(TEXTS)
        np.testing.assert_allclose(converted.encode_text(TEXTS), expected, atol=1e-5)

    def test_encoder_laion_returns_the_same_vectors(self, original, converted, windows):
        encoder = load_encoder("laion", model=str(original[1] / "checkpoint.pt"), device="cpu")
        together = encoder.encode(windows)
        np.testing.assert_allclose(together, converted.encode(windows), atol=1e-4)
        np.testing.assert_allclose(encoder.encode_text(TEXTS), converted.encode_text(TEXTS), atol=1e-5)
        assert encoder.logit_scale == pytest.approx(converted.logit_scale)
        # The contract, which test_contract.py checks for the others.
        np.testing.assert_allclose(encoder.encode(windows[1:2]), together[1:2], atol=1e-6)
        assert np.isfinite(encoder.encode(np.zeros_like(windows[:1]))).all()
        assert together.dtype == np.float32
        # On request, audio is rounded to 16 bits as by the package.
        encoder._int16 = True
        with torch.inference_mode():
            expected = original[0].get_audio_embedding_from_data(list(windows))
        np.testing.assert_allclose(encoder.encode(windows)[:, 0], expected, atol=1e-6)


class TestMissingPackage:
    def test_message_names_the_extra(self, monkeypatch, tmp_path):
        monkeypatch.setitem(sys.modules, "laion_clap", None)
        with pytest.raises(
            MissingExtra, match=r"package laion-clap, which is not installed.*pip install '\.\[laion\]'"
        ):
            laion._import_package()

    @pytest.mark.parametrize(
        ("error", "expected", "message"),
        [
            (
                ModuleNotFoundError("No module named 'wandb'", name="wandb"),
                MissingExtra,
                "laion-clap needs the package wandb",
            ),
            (
                RuntimeError("operator torchvision::nms does not exist"),
                ConfigError,
                "torchvision built for another",
            ),
            (OSError("couldn't connect to the hub"), WeightsError, "could not download roberta-base.*couldn't connect"),
        ],
    )
    def test_errors_inside_the_package_are_explained(self, monkeypatch, error, expected, message):
        def fail(name):
            raise error

        monkeypatch.setattr(importlib, "import_module", fail)
        with pytest.raises(expected, match=message):
            laion._import_package()


def test_command(tmp_path, monkeypatch):
    monkeypatch.setattr("eno.encoders.text.MAX_MEAN_COSINE", 1.0)  # this small network hardly tells texts apart
    save_tokenizer(tmp_path / "tokenizer")
    command = ["weights", "convert-laion", str(NANO), str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*command, "--tokenizer", str(tmp_path / "tokenizer")], catch_exceptions=False)
    assert result.exit_code == 0
    assert "encoder clap-" in result.output
    assert f"clap.model={tmp_path / 'out'}" in result.output.replace("\n", "")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"config.json", "preprocessor_config.json", "model.safetensors", "tokenizer.json"} <= written
