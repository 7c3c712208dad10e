"""Fixtures of the tests of the demo corpus."""

import importlib.util

import pytest

from scripts.demo.soundfont import find_soundfont, move_root_keys

if any(importlib.util.find_spec(package) is None for package in ("music21", "pretty_midi", "symusic")):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def soundfont(tmp_path_factory):
    path = tmp_path_factory.mktemp("soundfont") / "corrected.sf2"
    path.write_bytes(move_root_keys(find_soundfont().read_bytes()))
    return path
