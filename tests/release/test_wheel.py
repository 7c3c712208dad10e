"""The wheel has every file of eno and tags a file; the version is the same everywhere."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import soundfile
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


def required(distribution, extras, seen):
    """Yield all distributions that one needs with some extras, directly or not, on this machine."""
    for requirement in map(Requirement, distribution.requires or ()):
        applies = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": one}) for one in ("", *extras)
        )
        key = (canonicalize_name(requirement.name), *sorted(requirement.extras))
        if applies and key not in seen:
            seen.add(key)
            needed = importlib.metadata.distribution(requirement.name)
            yield needed
            yield from required(needed, requirement.extras, seen)


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A virtual environment with the wheel, its extra stats, what they require, and nothing else; its programs.

    What it requires is linked from the environment of the tests, so that no network is needed.
    """
    folder = tmp_path_factory.mktemp("environment")
    run("-m", "venv", "--without-pip", folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    (metadata,) = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" in name}
    eno = importlib.metadata.PathDistribution(zipfile.Path(wheel, f"{metadata}/"))
    for distribution in required(eno, {"stats"}, set()):
        for name in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
            if not (packages / name).exists():
                (packages / name).symlink_to(distribution.locate_file(name))
    run("-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet", "--no-deps", "--no-index", wheel)
    return folder / "bin"


def test_wheel_tags_a_file_in_an_empty_environment(environment, tmp_path):
    encoder, labels = load_encoder("stats"), LabelEncoder(["Ambient"], ["rain"])
    samples = chords(encoder.spec.window_samples, encoder.spec.sample_rate, count=4)
    vectors = encoder.encode(samples).reshape(4, -1)
    head = create_head("knn", k=(1,))
    head.fit(vectors, [[1, 0], [0, 1], [1, 0], [0, 1]], vectors, [[1, 0], [0, 1], [1, 0], [0, 1]])
    EnoPredictor(encoder, head, labels, policy=WindowPolicy(count=1)).save(tmp_path / "model")
    soundfile.write(tmp_path / "song.wav", samples[0], encoder.spec.sample_rate)
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [environment / "eno", "tag", "--model", tmp_path / "model", "--json", "song.wav"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ambient" in done.stdout
    code = "import importlib.util; print(*(importlib.util.find_spec(name) is not None for name in ('eno', 'pytest')))"
    command = [environment / "python", "-c", code]
    assert subprocess.check_output(command, text=True, cwd=tmp_path, env=variables) == "True False\n"


def test_version_is_the_same_everywhere():
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\n## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
