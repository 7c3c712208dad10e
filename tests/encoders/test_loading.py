"""Names and options, users' own encoders, and checkpoints in the hub's cache."""

import inspect
import json
import re
import shutil
import subprocess
import sys
import typing

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file

from eno import EnoPredictor, LabelEncoder
from eno.encoders import ENCODERS, is_own, load_encoder
from eno.encoders.cards import CARDS, is_present
from eno.encoders.checkpoints import locate
from eno.encoders.torch_encoder import keep_norms_float32
from eno.errors import ConfigError, ModelError, UnknownName, WeightsError
from eno.models.heads.mlp import MLPHead
from eno.registry import import_class
from tests.checkpoints import music, save_clap

OWN = """
import numpy as np
from eno import EncoderSpec

class Loudness:
    def __init__(self, *, floor_db=-60.0):
        self.floor_db = floor_db
        self.spec = EncoderSpec(
            name="my_encoders:Loudness", options={"floor_db": floor_db}, revision="1", weights_sha256="",
            sample_rate=16_000, window_samples=16_000, layers=("level",), pooling="mean", dim=1,
        )

    def encode(self, windows):
        power = np.mean(np.square(windows), axis=1) + 1e-12
        return np.maximum(10 * np.log10(power), self.floor_db).astype(np.float32)[:, None, None]
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "my_encoders.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_encoders:Loudness"
    sys.modules.pop("my_encoders", None)


class TestOwnEncoder:
    def test_runs_with_its_options(self, own):
        encoder = load_encoder(own, floor_db=-20.0)
        levels = encoder.encode(np.stack([np.ones(16_000), np.zeros(16_000)]))[:, 0, 0]
        np.testing.assert_allclose(levels, [0.0, -20.0], atol=1e-6)
        assert is_own(own)
        assert not is_own("hf:me/model")

    def test_unknown_option_is_named(self, own):
        with pytest.raises(ConfigError, match="no option 'ceiling'; it has: floor_db"):
            load_encoder(own, ceiling=3)

    def test_spec_must_have_the_same_name(self, tmp_path, monkeypatch):
        (tmp_path / "renamed.py").write_text(OWN)
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ConfigError, match="its spec has name='my_encoders:Loudness'; expected name='renamed:"):
            load_encoder("renamed:Loudness")

    @pytest.mark.parametrize("name", ["nowhere:Loudness", "my_encoders:Quietness", "my_encoders:"])
    def test_failed_import_is_explained(self, own, name):
        with pytest.raises(ConfigError, match=f"Encoder '{name}' cannot be imported"):
            load_encoder(name)

    def test_a_saved_predictor_cannot_choose_which_code_runs(self, own, tmp_path):
        encoder = load_encoder(own)
        X = np.random.default_rng(0).standard_normal((20, 1)).astype(np.float32)
        head = MLPHead(max_epochs=1, device="cpu").fit(X, (X > 0).astype(np.float32))
        EnoPredictor(encoder, head, LabelEncoder([], ["loud"])).save(tmp_path / "model")
        sys.modules.pop("my_encoders")
        with pytest.raises(
            ModelError, match=r"needs the encoder 'my_encoders:Loudness'.*--encoder my_encoders:Loudness"
        ):
            EnoPredictor.load(tmp_path / "model")
        assert "my_encoders" not in sys.modules
        again = EnoPredictor.load(tmp_path / "model", encoder=load_encoder(own), device="cpu")
        np.testing.assert_array_equal(again.predict_vectors(X), head.predict_proba(X))


class TestNames:
    def test_unknown_name_lists_all_choices(self):
        with pytest.raises(
            UnknownName, match=r"'clapp'. Did you mean 'clap'\?.*<module>:<class>, clap, hf, hf:<id or folder>"
        ):
            load_encoder("clapp")

    def test_listing_names_imports_nothing_heavy(self):
        code = "import sys, eno.encoders; assert not {'torch', 'transformers', 'librosa'} & set(sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_dtype(self):
        with pytest.raises(ConfigError, match="Unknown dtype 'float16'; choose from: auto, float32, bfloat16"):
            load_encoder("musicnn", dtype="float16")

    @pytest.mark.parametrize("name", ENCODERS)
    def test_options_have_types_that_resolve_and_a_help_text(self, name):
        encoder_class = import_class(ENCODERS[name])
        hints = typing.get_type_hints(encoder_class.__init__, include_extras=True)
        for option in set(inspect.signature(encoder_class).parameters) - {"device", "dtype"}:
            TypeAdapter(hints[option])
            entry = re.search(rf"^ +{option} : .*\n +(\S.*)", encoder_class.__doc__, re.MULTILINE)
            assert entry, f"{option} is not documented"
            assert len(entry[1]) > 10

    def test_every_encoder_has_a_card(self):
        assert {card.encoder for card in CARDS} == set(ENCODERS) - {"hf"}

    def test_presence(self, tmp_path, small_clap):
        assert is_present("stats", "")
        assert is_present("clap", str(small_clap))
        assert not is_present("clap", str(tmp_path / "nothing"))
        assert not is_present("laion", str(tmp_path / "nothing.pt"))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub cache with two commits of one repository, offline."""
    commits = {"a" * 40: "nano", "b" * 40: "nano"}
    repository = tmp_path / "hub" / "models--me--clap"
    for commit in commits:
        save_clap(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("b" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return repository


class TestHub:
    def test_recorded_revision_loads_the_same_commit(self, hub):
        encoder = load_encoder("clap", model="me/clap", device="cpu")
        assert encoder.spec.location == {"model": "me/clap", "revision": "b" * 40}
        assert locate("me/clap", "a" * 40).folder.name == "a" * 40
        again = load_encoder("clap", device="cpu", **encoder.spec.options, **encoder.spec.location)
        assert again.spec == encoder.spec

    def test_unknown_revision(self, hub):
        with pytest.raises(WeightsError, match="cannot be downloaded from the hub"):
            locate("me/clap", "v3")

    def test_pickled_weights_are_converted_once(self, hub, monkeypatch):
        snapshot = hub / "snapshots" / ("b" * 40)
        from safetensors.torch import load_file

        weights = load_file(snapshot / "model.safetensors")
        expected = load_encoder("clap", model="me/clap", device="cpu").encode_text(["jazz"])
        (snapshot / "model.safetensors").unlink()
        torch.save(weights, snapshot / "pytorch_model.bin")
        first = locate("me/clap")
        assert first.folder != snapshot
        assert not (snapshot / "model.safetensors").exists()
        found = load_encoder("clap", model="me/clap", device="cpu").encode_text(["jazz"])
        np.testing.assert_allclose(found, expected, atol=1e-6)  # memory alignment changes the order of sums
        monkeypatch.setattr(torch, "load", None)
        assert locate("me/clap") == first

    def test_code_in_pickled_weights_is_not_run(self, hub, capsys):
        class Exploit:
            def __reduce__(self):
                return print, ("code was run",)

        snapshot = hub / "snapshots" / ("b" * 40)
        (snapshot / "model.safetensors").unlink()
        torch.save({"a": Exploit()}, snapshot / "pytorch_model.bin")
        with pytest.raises(WeightsError, match="is refused"):
            locate("me/clap")
        assert "code was run" not in capsys.readouterr().out

    def test_predictor_loads_weights_from_another_folder(self, hub, tmp_path):
        encoder = load_encoder("clap", model="me/clap", device="cpu")
        predictor = EnoPredictor.zero_shot(encoder, ["jazz", "techno"])
        predictor.save(tmp_path / "model")
        copy = save_clap(tmp_path / "copy")
        for name in ("config.json", "preprocessor_config.json"):
            (copy / name).write_bytes((hub / "snapshots" / ("b" * 40) / name).read_bytes())
        again = EnoPredictor.load(tmp_path / "model", device="cpu", model=str(copy))
        assert again.specs[0].fingerprint == encoder.spec.fingerprint


def test_norms_stay_in_float32_under_autocast():
    network = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 8)).eval()
    keep_norms_float32(network)
    seen = []
    network[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    network[1].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        network(torch.randn(2, 8))
    assert seen == [torch.bfloat16, torch.float32]


@pytest.mark.parametrize("pickled", [False, True])
def test_checkpoints_in_several_files(tmp_path, pickled):
    whole = save_clap(tmp_path / "whole")
    folder = tmp_path / "shards"
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    weights = list(load_file(whole / "model.safetensors").items())
    stem, suffix = ("pytorch_model", "bin") if pickled else ("model", "safetensors")
    places = {}
    for number in (1, 2):
        name = f"{stem}-0000{number}-of-00002.{suffix}"
        part = dict(weights[number - 1 :: 2])
        places |= dict.fromkeys(part, name)
        torch.save(part, folder / name) if pickled else save_file(part, folder / name, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": places}
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps(index))
    one, several = (load_encoder("clap", model=str(path), device="cpu") for path in (whole, folder))
    windows = music(one.spec.window_samples, one.spec.sample_rate)
    # Not exactly equal: kernels may round differently where the weights lie differently in memory.
    np.testing.assert_allclose(one.encode(windows), several.encode(windows), atol=1e-6)
