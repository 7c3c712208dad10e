"""What the documents show runs, one line after the other, on a small collection with the files that they name."""

import csv
import itertools
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx
import mutagen
import numpy as np
import pytest
import soundfile
import torch

from eno.cnn.feature_files import prepare_features
from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.data.lute.albums import ALBUM_SCHEMA
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.models import create_head
from scripts.bench.catalogue.lute_database import write_database
from tests.audio_files import music
from tests.clearml_stub import clearml_stub
from tests.command import eno, served
from tests.docs.test_documents import DOCUMENTS, ROOT, _blocks, _shell_lines

FOLDER = ("docs/tutorials/folder.md", "docs/search.md", "docs/training.md", "docs/tags.md", "docs/tutorials/encoder.md",
          "docs/commands.md")  # fmt: skip
RESEARCH = "docs/tutorials/research.md"
README, LUTE = "README.md", "docs/tutorials/lute.md"
SERVING, CLEARML = "docs/tutorials/serving.md", "docs/tutorials/clearml.md"
OTHER_DOCUMENTS = {
    "docs/GUIDE.md": "the commands of these documents with the paths of the guide, and scripts that tests/cnn runs",
    "docs/encoders.md": "needs the weights of CLAP and MERT",
    "docs/install.md": "installs eno",
    "embeddings/CLUSTER.md": "needs several machines; tests/embeddings/job runs Ray on one",
}

NOT_RUN = {
    "mkdir": "the tests make the folder",
    "cd ": "the tests run in the folder",
    "eno serve": "runs until it is stopped; test_serving starts it",
    "pip install": "the tests run in an installation",
    "curl": "needs the service; test_serving sends it",
    "openssl": "makes a random token",
    "sudo ": "installs a unit of systemd",
    "docker ": "no container engine is here",
    "clearml-init": "asks questions",
    "eno train --clearml-queue": "needs a commit that was pushed; tests/tracking has one",
    "eno compare": "takes a minute; tests/training and tests/test_cli.py compare heads",
    "eno similar --like-artist Slowdive --where": "needs ratings, which only Lute's albums have",
    "eno similar --encoder clap": "needs the weights of CLAP",
    'eno tag song.mp3 --encoder clap --tags "shoegaze, dream pop, jazz"': "needs the weights of CLAP",
    "eno tag new/ --tags-file": "needs the weights of CLAP",
    'eno similar "Alison" --serve-url': "needs a running service; tests/serving has one",
    "eno embed --device cuda": "needs GPUs",
    "eno embed --executor ray": "takes long to start; tests/embeddings/job has it",
    "eno embed --store 's3:": "needs a server; tests/embeddings/store has one",
    "eno weights convert-laion": "needs the weights of CLAP",
    "eno embed --encoder clap": "needs the weights of CLAP",
    "eno tag --store STORE --encoder clap": "needs the weights of CLAP",
}
PYTHON = [(README, 0), ("docs/python.md", 0), ("docs/python.md", 2), ("docs/python.md", 4),
          ("docs/tutorials/encoder.md", 0), ("docs/tutorials/encoder.md", 1), (RESEARCH, 0)]  # fmt: skip
"""Blocks of Python that run as they are: document and place in it."""

PYTHON_NOT_RUN = {
    ("DATA.md", 0): "has a test of its own, with the store of the tests",
    ("docs/GUIDE.md", 0): "has a test of its own, with the folders of the tests",
    ("docs/GUIDE.md", 1): "likewise",
    ("docs/python.md", 1): "needs the weights of CLAP; tests/inference has its calls",
    ("docs/python.md", 3): "needs the Hub; tests/inference/test_sources.py pushes to a stub of it",
    ("docs/tutorials/clearml.md", 0): "needs a model in ClearML; tests/tracking loads one from a stub of it",
}
INSTEAD = {
    "eno tune --minutes 30": "eno tune --trials 1 --set mlp.max_epochs=5",
    "write-tags-undo-….jsonl": "write-tags-undo-*.jsonl",
}
_FAST = "\n[auto]\nbudget = 1\n\n[windows]\ncount = 2\n"
ARTISTS = ("Slowdive", "Lush", "Ride", "Pale Saints", "Chapterhouse", "Swervedriver",
           "Basic Channel", "Surgeon", "Regis", "Plastikman", "Jeff Mills", "Robert Hood")  # fmt: skip


def _song(path: Path, seed: int, **tags: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, music(6.0, 16_000, seed=seed) * (0.3 if seed % 2 else 1.0), 16_000)
    file = mutagen.File(path, easy=True)
    if file.tags is None:
        file.add_tags()
    file.update(tags)
    file.save()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with a collection of two genres in Music, the same in data/my-set, and a folder to work in."""
    home = tmp_path_factory.mktemp("home")
    seeds = itertools.count()
    for root in ("Music", "data/my-set"):
        for number, artist in enumerate(ARTISTS):
            gentle = number < 6
            for track, title in enumerate(("Alison", "Humphrey's", "Souvlaki") if number == 0 else ("One", "Two")):
                album = "Souvlaki" if number == 0 else f"Album {number}"
                genre = "Dream Pop" if gentle else "Techno"
                place = home / root / genre / artist / album / f"{track + 1:02} - {title}.flac"
                _song(
                    place, 2 * next(seeds) + (not gentle),
                    artist=artist, album=album, title=title, tracknumber=str(track + 1), date="1993",
                    genre="Dream Pop; Shoegaze" if gentle else genre, mood="melancholic" if gentle else "energetic",
                )  # fmt: skip
    _song(home / "Music" / "song.flac", 5, title="song")
    work = home / "music-tags"
    work.mkdir()
    for number, name in enumerate("a b c d e f g 1 2 song another wrong quiet/one new/one new/two".split()):
        _song(work / f"{name}.flac", number, title=name)
    _song(work / "new.mp3", 3, title="new")
    soundfile.write(work / "new.mp3", music(100.0, 16_000, seed=3), 16_000)
    files = [path.relative_to(home / "Music").as_posix() for path in sorted((home / "Music").rglob("*/*/*/*.flac"))]
    tables = {
        "labels.csv": [("path", "genre", "mood"), *((one, "Rock", "slow") for one in files[:9])],
        "instruments.csv": [
            ("path", "label"),
            *((one, "guitar" if one.startswith("Dream") else "drums") for one in files),
        ],
        "annotations.csv": [("path", "label"), *((one, one.split("/")[0]) for one in files)],
    }
    for name, rows in tables.items():
        with (work / name).open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    (work / "splits").mkdir()
    for split, numbers in (("train", (0, 1, 2, 6, 7, 8)), ("val", (3, 9)), ("test", (4, 5, 10, 11))):
        lines = [one for one in files if ARTISTS.index(one.split("/")[1]) in numbers]
        (work / "splits" / f"{split}.txt").write_text("\n".join(lines))
    return home


def _albums(folder: Path) -> list[dict[str, object]]:
    """The albums of the collection as Lute has them."""
    albums = []
    for number, artist in enumerate(ARTISTS):
        gentle = number < 6
        name = "Souvlaki" if number == 0 else f"Album {number}"
        files = sorted((folder / ("Dream Pop" if gentle else "Techno") / artist / name).iterdir())
        track = {"duration_seconds": 6, "rating": None, "position": None}
        albums.append(dict.fromkeys(ALBUM_SCHEMA.names) | {
            "name": name, "file_name": f"release/album/{artist}/{name}",
            "artists": [{"name": artist, "file_name": f"artist/{artist}"}],
            "primary_genres": ["Dream Pop"] if gentle else ["Techno"], "secondary_genres": ["Shoegaze"] * gentle,
            "descriptors": ["melancholic"] if gentle else ["energetic"], "release_date": "1993-01-01", "rating": 3.5,
            "tracks": [track | {"name": path.stem[5:]} for path in files],
            "languages": [], "credits": [], "duplicates": [],
        })  # fmt: skip
    return albums


def _run(path: str, cwd: Path, home: Path, **environment: str) -> list[str]:
    """Run the lines of a document, and return those that were not run."""
    left, printed = [], ""
    for line in _shell_lines(ROOT / path):
        line = line.partition(" #")[0].strip()
        if any(line.startswith(beginning) for beginning in NOT_RUN) or not line.startswith("eno "):
            left.append(line)
            continue
        for old, new in INSTEAD.items():
            line = line.replace(old, new)
        if "session.zip" in line:
            line = line.replace("session.zip", re.findall(r"tracking: session (.*?\.zip)", printed)[-1])
        line, _, output = line.partition(" > ")
        words = []
        for word in shlex.split(line)[1:]:
            word = re.sub("^~", str(home), word)
            words += sorted(map(str, cwd.glob(word))) if "*" in word else [word]
        own = {"HOME": str(home), **environment}
        if line.startswith("eno tracking import"):  # ClearML's SDK never leaves the process that uses it
            command, variables = [sys.executable, "-m", "eno", *words], os.environ | {"PYTHONPATH": str(ROOT)} | own
            done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, check=False)
        else:
            done = eno(*words, cwd=cwd, **own)
        assert done.returncode == 0, f"{path}: {line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        printed += done.stderr
        if output:
            (cwd / output).write_text(done.stdout)
        if line.startswith("eno init"):
            with (cwd / "eno.toml").open("a") as file:
                file.write(_FAST)
    unknown = [line for line in left if not any(line.startswith(beginning) for beginning in NOT_RUN)]
    assert not unknown, f"{path}: neither run nor listed in NOT_RUN: {unknown}"
    return left


@pytest.fixture(scope="module")
def folder(home):
    """A folder in which the documents about a folder of music were run."""
    work = home / "music-tags"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(work)
        (work / "my_encoders.py").write_text(_blocks(ROOT / "docs/tutorials/encoder.md", "python")[0])
        for path in FOLDER:
            _run(path, work, home)
    return work


@pytest.fixture
def arrays():
    """The names that blocks of Python use without saying where they are from: vectors, labels, a predictor."""
    rng = np.random.default_rng(0)
    X, X_val, X_new = (rng.standard_normal((rows, 8)).astype(np.float32) for rows in (60, 40, 5))
    Y, Y_val = ((some[:, :2] > 0).astype(np.float32) for some in (X, X_val))
    head = create_head("linear").fit(X, Y, X_val, Y_val)
    return {
        "X": X, "Y": Y, "X_val": X_val, "Y_val": Y_val, "X_new": X_new, "X_test": X_new,
        "artists": np.arange(40) // 2, "predictor": SimpleNamespace(head=head, labels=LabelEncoder(["a", "b"], [])),
    }  # fmt: skip


def _python(path: Path) -> list[str]:
    return _blocks(path, "python")


def test_every_document_with_shell_lines_is_known():
    shown = {str(path.relative_to(ROOT)) for path in DOCUMENTS if _shell_lines(path)}
    assert shown == {README, LUTE, RESEARCH, SERVING, CLEARML, *FOLDER, *OTHER_DOCUMENTS}


def test_a_folder_of_music(folder):
    assert (folder / "models/eno/predictor.json").is_file()


def test_every_block_of_python_is_known():
    shown = {(str(path.relative_to(ROOT)), place) for path in DOCUMENTS for place, _ in enumerate(_python(path))}
    assert shown == {*PYTHON, *PYTHON_NOT_RUN}


@pytest.mark.parametrize(("path", "place"), PYTHON)
def test_python(path, place, folder, arrays, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    exec(_python(ROOT / path)[place], arrays)


def test_the_python_that_reads_a_part_of_a_store(folder, arrays, monkeypatch):
    (store,) = (folder / "embeddings/Music").glob("musicnn-*")
    monkeypatch.chdir(folder)
    (block,) = _python(ROOT / "DATA.md")
    exec(block.replace("embeddings/mine", str(store)), arrays)
    rows = arrays["table"].select(["track_id", "start_s"]).to_pylist()
    read = {tuple(row.values()): vector for row, vector in zip(rows, arrays["vectors"], strict=True)}
    ids, starts, vectors = EmbeddingStore.open(store).windows(arrays["table"]["track_id"].unique().to_pylist())
    assert len(read) == len(ids)
    for *window, vector in zip(ids, starts, vectors, strict=True):
        np.testing.assert_array_equal(read[tuple(window)], vector)


def test_the_python_of_the_guide(folder, tmp_path, monkeypatch, capsys):
    training, prediction = _python(ROOT / "docs/GUIDE.md")
    data = DataRoot(folder / "data")
    assert not prepare_features(data, audio_roots=folder.parent / "Music", num_workers=0).failures
    trained = {}
    exec(training.replace("/mnt/nvme/data/eno", str(data.root)), trained)
    losses = np.array([line.split() for line in capsys.readouterr().out.splitlines()], float)
    assert losses.shape == (2, 2)
    torch.save(trained["model"].state_dict(), tmp_path / "best_model.pt")
    for name in ("processed/label_encoder.json", "../models", "../song.flac"):
        os.symlink(data.root / name, tmp_path / Path(name).name)
    monkeypatch.chdir(tmp_path)
    exec(prediction, {})


def test_a_research_data_set(home, tmp_path_factory):
    work = tmp_path_factory.mktemp("research")
    for name in ("annotations.csv", "splits"):
        os.symlink(home / "music-tags" / name, work / name)
    assert _run(RESEARCH, work, home) == ["eno compare --head linear --head mlp --joined"]


@pytest.mark.parametrize(("path", "export"), [(README, "lute.jsonl"), (LUTE, "lute.db")])
def test_a_collection_of_lute(path, export, home, folder, tmp_path_factory):
    work = tmp_path_factory.mktemp("lute")
    albums = _albums(home / "Music")
    if export == "lute.db":
        write_database(work / export, albums)
    else:
        (work / export).write_text("".join(f"{json.dumps(one)}\n" for one in albums))
    os.symlink(folder / "embeddings", work / "embeddings")
    os.symlink(folder / "song.flac", work / "04 - Humphrey's.ogg")
    assert {line.split()[0] for line in _run(path, work, home)} <= {"pip"}
    assert (work / "models/eno/predictor.json").is_file()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_serving(home, folder, monkeypatch):
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    left = _run(SERVING, folder, home)
    plain, open_to_all, with_socket = (shlex.split(line)[2:] for line in left if line.startswith("eno serve"))
    assert "--socket" in with_socket  # tests/serving starts it
    (folder / "token.txt").write_text("0123456789abcdef0123456789abcdef\n")
    port = _free_port()
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}")
    with served(*plain, *open_to_all, "--port", port, client=client, cwd=folder):
        assert client.get("/v1/tags").status_code == 401
        token = ["-H", f"Authorization: Bearer {(folder / 'token.txt').read_text().strip()}"]
        tagged, similar = (
            json.loads(
                subprocess.check_output([*shlex.split(line.replace("8000", str(port))), "-s", *token], cwd=folder)
            )
            for line in left
            if line.startswith("curl")
        )
    assert tagged["files"][0]["genres"] and len(similar["neighbours"]) == 5


def test_clearml(home, folder):
    with clearml_stub() as (stub, environment):
        _run(CLEARML, folder, home, **environment)
    assert len(stub.tasks) == 3  # of training, evaluation, and the session that was kept
