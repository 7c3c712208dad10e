"""Settings: the file, overrides, and the options of encoders and heads, which come from their signatures."""

import inspect
from pathlib import Path

import pytest

from eno.config import Settings, load_settings, option_defaults
from eno.encoders import ENCODERS
from eno.errors import ConfigError
from eno.models import HEADS
from eno.registry import import_class


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ENO_CONFIG", raising=False)


def test_without_a_file_the_defaults_hold():
    assert load_settings() == Settings()


def test_file_then_overrides():
    Path("eno.toml").write_text('encoder = "musicnn"\n[windows]\ncount = 4\n[mlp]\nhidden = [64, 32]\n')
    settings = load_settings(overrides=["windows.count=16", "mlp.dropout=0.3", "data_root=/srv/music"])
    assert settings.windows.count == 16
    assert settings.data_root == Path("/srv/music")
    assert settings.options_of("mlp") == {"hidden": (64, 32), "dropout": 0.3}
    assert settings.options_of("musicnn") == {}
    assert settings.options_of("encoder") == {}


def test_named_file_and_environment(tmp_path, monkeypatch):
    (tmp_path / "a.toml").write_text("device = 'cpu'\n")
    monkeypatch.setenv("ENO_CONFIG", "a.toml")
    assert load_settings().device == "cpu"
    assert load_settings(tmp_path / "a.toml").device == "cpu"
    with pytest.raises(ConfigError, match=r"b\.toml: cannot be read"):
        load_settings(tmp_path / "b.toml")


def test_a_file_in_a_folder_above_is_found_and_its_paths_are_relative_to_it(tmp_path, monkeypatch):
    Path("eno.toml").write_text('audio_roots = ["music"]\nlute = "grpc://lute:50051"\n[labels]\naliases = "a.csv"\n')
    (tmp_path / "notes" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "notes" / "deep")
    settings = load_settings()
    assert settings.audio_roots == (tmp_path / "music",)
    assert settings.data_root == tmp_path / "data"
    assert settings.embeddings == str(tmp_path / "embeddings")
    assert settings.model == tmp_path / "models" / "eno"
    assert settings.labels.aliases == tmp_path / "a.csv"
    assert settings.lute == "grpc://lute:50051"
    assert settings.store is None


def test_calibration_album_is_still_read_in_its_former_place():
    Path("eno.toml").write_text('[calibration]\nalbum = "max"\nrule = "scut"\n')
    assert load_settings().album == "max"
    assert load_settings().options_of("calibration") == {"rule": "scut"}


@pytest.mark.parametrize("name", sorted((HEADS | ENCODERS).keys() - {"probabilities", "zero_shot"}))
def test_options_are_those_of_the_signature(name):
    parameters = inspect.signature(import_class((HEADS | ENCODERS)[name])).parameters
    filled_in = {"device", "dtype", "options", "checkpoint"} - ({"checkpoint"} if name == "musicnn" else set())
    expected = {one.name: one.default for one in parameters.values() if one.kind is inspect.Parameter.KEYWORD_ONLY}
    for option, default in option_defaults(name).items():
        wanted = expected.pop(option)
        assert default == (None if wanted is inspect.Parameter.empty else wanted)
    assert expected.keys() <= filled_in


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("encodr = 'musicnn'", r"eno\.toml: unknown key 'encodr'\. Did you mean 'encoder'\?"),
        ("[windows]\ncuont = 4", r"unknown key 'windows\.cuont'\. Did you mean 'count'\? Known here: count, hop_s"),
        ("[windos]\ncount = 4", r"unknown key 'windos'\. Did you mean 'windows'"),
        ("[windows]\ncount = 0", r"eno\.toml: windows\.count = 0: input should be greater than or equal to 1"),
        ("mlp = 3", r"eno\.toml: mlp = 3: expected a section"),
        ("encoder = ", r"eno\.toml: is not valid TOML"),
    ],
)
def test_mistakes_in_the_file_are_named(content, message):
    Path("eno.toml").write_text(content)
    with pytest.raises(ConfigError, match=message):
        load_settings()


@pytest.mark.parametrize(
    ("content", "section", "message"),
    [
        ("[musicnn]\ncheckpoint = 'vgg'", "musicnn", r"eno\.toml: musicnn\.checkpoint = 'vgg': input should be 'mtt'"),
        ("[mlp]\ndropuot = 0.1", "mlp", r"unknown key 'mlp\.dropuot'\. Did you mean 'dropout'"),
        ("[mlp]\ndropout = 2", "mlp", r"mlp\.dropout = 2: input should be less than 1"),
        ("[calibration]\nrule = 'best'", "calibration", r"calibration\.rule = 'best'"),
        ("[blend]\nheads = ['mlp']\n[mlp]\ndropout = 2", "blend", r"mlp\.dropout = 2"),
    ],
)
def test_mistakes_in_options_are_named_when_they_are_used(content, section, message):
    Path("eno.toml").write_text(content)
    settings = load_settings()
    with pytest.raises(ConfigError, match=message):
        settings.options_of(section)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("windows.count", "expected section.key=value"),
        ("encoder.name=x", "--set: encoder = .*: input should be a valid string"),
        ("windows.count=many", r"--set: windows\.count = 'many'"),
        ("windws.count=4", r"--set: unknown key 'windws'"),
    ],
)
def test_mistakes_in_overrides_are_named(override, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(overrides=[override])


def test_a_mistake_in_an_overridden_option_names_the_command_line():
    with pytest.raises(ConfigError, match=r"--set: unknown key 'mlp\.layers'"):
        load_settings(overrides=["mlp.layers=3"]).options_of("mlp")
