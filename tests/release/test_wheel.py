"""The wheel has every file of eno and tags a file; the version is the same everywhere."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import soundfile

from eno.audio.windows import WindowPolicy
from eno.data.labels.encoder import LabelEncoder
from eno.encoders import load_encoder
from eno.inference.predictor import EnoPredictor
from eno.models import create_head
from eno.testing.encoders import chords
from eno.version import __version__

ROOT = Path(__file__).parents[2]


def run(*arguments, **options):
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy, so that the repository stays as it is, with the setuptools that is installed."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "eno", source / "eno", ignore=shutil.ignore_patterns("__pycache__"))
    run("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", out, source)
    (built,) = out.glob("*.whl")
    return built


def test_wheel_has_every_file(wheel):
    assert wheel.name.startswith(f"eno_music-{__version__}-")
    files = (path for path in (ROOT / "eno").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    expected = {path.relative_to(ROOT).as_posix() for path in files}
    assert expected == {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("eno/")}


def test_wheel_tags_a_file(wheel, tmp_path):
    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", tmp_path / "installed", wheel)
    encoder, labels = load_encoder("stats"), LabelEncoder(["Ambient"], ["rain"])
    samples = chords(encoder.spec.window_samples, encoder.spec.sample_rate, count=4)
    vectors = encoder.encode(samples).reshape(4, -1)
    head = create_head("knn", k=(1,))
    head.fit(vectors, [[1, 0], [0, 1], [1, 0], [0, 1]], vectors, [[1, 0], [0, 1], [1, 0], [0, 1]])
    EnoPredictor(encoder, head, labels, policy=WindowPolicy(count=1)).save(tmp_path / "model")
    soundfile.write(tmp_path / "song.wav", samples[0], encoder.spec.sample_rate)
    # The installed package comes before the repository's.
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    code = "import eno; print(eno.__file__); from eno.cli import main; main()"
    arguments = ("tag", "--model", tmp_path / "model", "--json", "song.wav")
    printed = run("-c", code, *arguments, cwd=tmp_path, env=environment)
    assert str(tmp_path / "installed") in printed
    assert "Ambient" in printed


def test_version_is_the_same_everywhere():
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\n## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
