"""The shell lines of the documents run, one after the other, on a small collection with the files that they name."""

import csv
import itertools
import os
import re
import shlex
from pathlib import Path

import mutagen
import pytest
import soundfile

from tests.audio_files import music
from tests.command import eno
from tests.docs.test_documents import ROOT, _blocks, _shell_lines

FOLDER = ("docs/tutorials/folder.md", "docs/search.md", "docs/training.md", "docs/tags.md", "docs/tutorials/encoder.md")
RESEARCH = ("docs/tutorials/research.md",)

NOT_RUN = {
    "mkdir": "the tests make the folder",
    "cd ": "the tests run in the folder",
    "eno serve": "runs until it is stopped; tests/serving starts it",
    "eno compare": "takes a minute; tests/training and tests/test_cli.py compare heads",
    "eno similar --like-artist Slowdive --where": "needs ratings, which only Lute's albums have",
    "eno similar --encoder clap": "needs the weights of CLAP",
    'eno tag song.mp3 --encoder clap --tags "shoegaze, dream pop, jazz"': "needs the weights of CLAP",
    "eno tag new/ --tags-file": "needs the weights of CLAP",
    'eno similar "Alison" --serve-url': "needs a running service; tests/serving has one",
}
INSTEAD = {
    "eno tune --minutes 30": "eno tune --minutes 0.05",
    "write-tags-undo-….jsonl": "write-tags-undo-*.jsonl",
}
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
            for track, title in enumerate(
                ("Alison", "Humphrey's", "Souvlaki") if number == 0 else ("One", "Two", "Three")
            ):
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
    for number, name in enumerate("a b c d e f g song new/one new/two".split()):
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


def _run(path: str, cwd: Path, home: Path) -> list[str]:
    """Run the lines of a document, and return those that were not run."""
    left = []
    for line in _shell_lines(ROOT / path):
        line = line.partition(" #")[0].strip()
        if any(line.startswith(beginning) for beginning in NOT_RUN) or not line.startswith("eno "):
            left.append(line)
            continue
        for old, new in INSTEAD.items():
            line = line.replace(old, new)
        words = []
        for word in shlex.split(line)[1:]:
            word = re.sub("^~", str(home), word)
            words += sorted(map(str, cwd.glob(word))) if "*" in word else [word]
        done = eno(*words, cwd=cwd, HOME=str(home))
        assert done.returncode == 0, f"{path}: {line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        if line.startswith("eno init"):
            with (cwd / "eno.toml").open("a") as file:
                file.write("\n[auto]\nbudget = 3\n\n[windows]\ncount = 2\n")
    return left


def test_a_folder_of_music(home, monkeypatch):
    work = home / "music-tags"
    monkeypatch.syspath_prepend(work)
    (work / "my_encoders.py").write_text(_blocks(ROOT / "docs/tutorials/encoder.md", "python")[0])
    left = [line for path in FOLDER for line in _run(path, work, home)]
    assert {next((one for one in NOT_RUN if line.startswith(one)), line) for line in left} <= NOT_RUN.keys()


def test_a_research_data_set(home, tmp_path_factory):
    work = tmp_path_factory.mktemp("research")
    for name in ("annotations.csv", "splits"):
        os.symlink(home / "music-tags" / name, work / name)
    assert _run(RESEARCH[0], work, home) == ["eno compare --head linear --head mlp --joined"]
