"""Weights that are published inside Python wheels."""

import hashlib
import subprocess

import pytest

from eno.encoders import load_encoder
from eno.encoders.musicnn import weights as musicnn_weights
from eno.encoders.wheels import fetch_wheel
from eno.errors import WeightsError

NAME = "tune-1.0-py3-none-any.whl"
CONTENT = b"not really a wheel"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ENO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ENO_WHEELS", raising=False)


def test_local_copy_is_used_offline(tmp_path, monkeypatch):
    (tmp_path / NAME).write_bytes(CONTENT)
    monkeypatch.setenv("ENO_WHEELS", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", None)
    assert fetch_wheel("tune==1.0", NAME, SHA256) == tmp_path / NAME


def test_file_with_another_hash_is_refused(tmp_path, monkeypatch):
    (tmp_path / NAME).write_bytes(CONTENT + b"!")
    monkeypatch.setenv("ENO_WHEELS", str(tmp_path))
    with pytest.raises(WeightsError, match=f"expected {SHA256}: it is not the published file"):
        fetch_wheel("tune==1.0", NAME, SHA256)


def test_missing_local_copy_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("ENO_WHEELS", str(tmp_path))
    with pytest.raises(WeightsError, match=f"{NAME}: cannot be read"):
        fetch_wheel("tune==1.0", NAME, SHA256)


def test_offline_the_message_says_what_to_do(monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "/nonexistent")
    with pytest.raises(WeightsError, match=r"musicnn==0\.1\.0 could not be downloaded .* ENO_WHEELS"):
        load_encoder("musicnn")


def test_pip_refuses_a_download_with_another_hash(tmp_path, monkeypatch):
    wheels = tmp_path / "index"
    wheels.mkdir()
    (wheels / NAME).write_bytes(CONTENT)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    with pytest.raises(WeightsError, match="could not be downloaded"):
        fetch_wheel("tune==1.0", NAME, "0" * 64)
    assert not (tmp_path / "cache" / "wheels" / NAME).exists()


def test_damaged_cache_is_named(tmp_path):
    folder = tmp_path / "cache" / "weights"
    folder.mkdir(parents=True)
    (folder / "musicnn-0.1.0-mtt.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(WeightsError, match=r"mtt\.safetensors: is damaged .* Delete it"):
        musicnn_weights.load_weights("mtt")
