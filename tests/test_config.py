from pathlib import Path

import pytest

from eno.config import Settings, load_settings
from eno.errors import ConfigError


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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("encodr = 'musicnn'", r"eno\.toml: unknown key 'encodr'\. Did you mean 'encoder'\?"),
        ("[windows]\ncuont = 4", r"unknown key 'windows\.cuont'\. Did you mean 'count'\? Known here: count, hop_s"),
        ("[windos]\ncount = 4", r"unknown key 'windos'\. Did you mean 'windows'"),
        ("[windows]\ncount = 0", r"eno\.toml: windows\.count = 0: input should be greater than or equal to 1"),
        ("[musicnn]\ncheckpoint = 'vgg'", r"musicnn\.checkpoint = 'vgg': input should be 'mtt', 'msd' or 'both'"),
        ("encoder = ", r"eno\.toml: is not valid TOML"),
    ],
)
def test_mistakes_in_the_file_are_named(content, message):
    Path("eno.toml").write_text(content)
    with pytest.raises(ConfigError, match=message):
        load_settings()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("windows.count", "expected section.key=value"),
        ("encoder.name=x", "encoder = .*: input should be a valid string"),
        ("windows.count=many", r"--set: windows\.count = 'many'"),
        ("mlp.layers=3", r"--set: unknown key 'mlp\.layers'"),
    ],
)
def test_mistakes_in_overrides_are_named(override, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(overrides=[override])
