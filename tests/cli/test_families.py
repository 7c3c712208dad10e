"""Labels of a family of one's own, from a CSV file to tags in audio files."""

import csv
import json
import shutil

import mutagen
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from tests.command import eno

RATE = 16_000
INSTRUMENTS = {"tones": "flute", "noise": "maracas"}
UNKNOWN = (2, 5)  # artists of whose tracks nobody named the instruments


def succeeds(*arguments, cwd):
    result = eno(*arguments, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Twelve artists with pure tones or noise, labelled by a CSV file: all with genres, ten with instruments."""
    root = tmp_path_factory.mktemp("families")
    rng, rows = np.random.default_rng(0), []
    for artist in range(12):
        kind = "noise" if artist % 2 else "tones"
        path = root / "raw" / "audio" / f"Artist {artist}" / "Album"
        path.mkdir(parents=True)
        for track in range(3):
            t = np.arange(4 * RATE) / RATE
            tone = 0.3 * np.sin(2 * np.pi * rng.uniform(200, 800) * t) * (1 + np.sin(3 * t)) / 2
            noise = 0.2 * rng.standard_normal(len(t)) * (1 + np.sin(3 * t)) / 2
            file = path / f"{track}.flac"
            soundfile.write(file, noise if artist % 2 else tone, RATE)
            tags = mutagen.File(file)
            tags["artist"], tags["album"], tags["title"] = f"Artist {artist}", f"Album {artist}", f"Track {track}"
            tags.save()
            track_id = f"Artist {artist}/Album/{track}.flac"
            rows.append((track_id, "Harsh Noise" if artist % 2 else "Drone", "genre"))
            if artist not in UNKNOWN:
                rows.append((track_id, INSTRUMENTS[kind], "Instruments"))
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "kind"), *rows])
    printed = {}
    for command in (
        ["scan"],
        ["import", "csv", "labels.csv", "--family-column", "kind"],
        ["match"],
        ["labels", "--set", "labels.min_albums=2", "--set", "labels.min_artists=2"],
        ["split", "--set", "split.val=0.25", "--set", "split.test=0.25"],
        ["embed", "raw/audio", "--store", "store", "--set", "windows.count=1"],
        ["train", "--store", "store", "--head", "linear", "--model", "model"],
        ["evaluate", "--model", "model"],
    ):
        printed[command[0]] = succeeds(*command, "--data-root", ".", cwd=root).stdout
    return root, printed


def test_a_family_of_ones_own_goes_from_a_csv_file_to_a_vocabulary(trained):
    root, printed = trained
    assert "instruments: 2 labels: flute 15, maracas 15" in printed["import"]
    assert "kept 2 genres, 0 descriptors and 2 instruments, dropped 0" in printed["labels"]
    vocabulary = json.loads((root / "processed" / "label_encoder.json").read_text())
    assert vocabulary == {
        "format": 2, "genres": ["Drone", "Harsh Noise"], "descriptors": [],
        "others": {"instruments": ["flute", "maracas"]},
    }  # fmt: skip
    rows = pq.read_table(root / "processed" / "labels.parquet").to_pylist()
    assert {row["label"]: (row["family"], row["albums"]) for row in rows}["flute"] == ("instruments", 5)


def test_tracks_without_labels_of_a_family_do_not_count_for_it(trained):
    root, printed = trained
    assert "unknown 6 tracks without instruments; these do not count" in " ".join(printed["train"].split())
    found = pq.read_table(root / "model" / "evaluation" / "per_label.parquet").to_pylist()
    tracks = pq.read_table(root / "processed" / "splits" / "test.parquet").to_pylist()
    for kind, label in INSTRUMENTS.items():
        (row,) = [row for row in found if row["label"] == label]
        known = [track for track in tracks if track["family_labels"]]
        positive = [track for track in known if {"family": "instruments", "label": label} in track["family_labels"]]
        assert row["family"] == "instruments", kind
        assert row["prevalence"] == pytest.approx(len(positive) / len(known))
    metrics = json.loads((root / "model" / "evaluation" / "metrics.json").read_text())
    assert metrics["tracks"]["parts"]["instruments"]["map_macro"] > 0.95


def test_tags_of_every_family_are_shown(trained):
    root, _ = trained
    file = "raw/audio/Artist 1/Album/0.flac"
    row = json.loads(succeeds("tag", file, "--model", "model", "--json", cwd=root).stdout)
    assert (list(row["genres"]), row["descriptors"], list(row["instruments"])) == (["Harsh Noise"], {}, ["maracas"])
    text = succeeds("tag", file, "--model", "model", cwd=root).stdout
    assert "instruments  maracas" in text
    lines = succeeds("tag", "--store", "store", "--model", "model", "--format", "csv", cwd=root).stdout.splitlines()
    assert {row["family"] for row in csv.DictReader(lines)} == {"genre", "instruments"}
    beets = succeeds("tag", file, "--model", "model", "--format", "beets", cwd=root)
    assert "genres=Harsh Noise" in beets.stdout
    assert "Left out instruments: --format beets has genres and moods only." in " ".join(beets.stderr.split())
    assert "2 genres, 0 descriptors, 2 instruments" in succeeds("info", "model", cwd=root).stdout


def test_tags_are_written_to_the_field_that_the_user_chooses(trained, tmp_path):
    root, _ = trained
    file = tmp_path / "maracas.flac"
    file.write_bytes((root / "raw" / "audio" / "Artist 1" / "Album" / "0.flac").read_bytes())
    command = ["write-tags", file, "--model", root / "model", "--write", "--undo-file", tmp_path / "undo.jsonl"]
    left = succeeds(*command, cwd=tmp_path)
    assert "Left out the family instruments, which has no field. Choose one: --field" in " ".join(left.stderr.split())
    assert mutagen.File(file)["genre"] == ["Harsh Noise"]
    chosen = succeeds(*command, "--field", "instruments=INSTRUMENTS", cwd=tmp_path)
    assert "Left out" not in chosen.stderr
    assert mutagen.File(file)["instruments"] == ["maracas"]
    undone = succeeds("write-tags", "--undo", tmp_path / "undo.jsonl", cwd=tmp_path)
    assert "2 of 2 files have their previous tags again" in undone.stdout
    assert {"genre", "instruments"}.isdisjoint(mutagen.File(file).keys())


def test_written_tags_are_not_imported_as_labels(trained, tmp_path):
    root, _ = trained
    shutil.copytree(root, tmp_path / "library")
    here = {"cwd": tmp_path / "library"}
    options = ["--model", "model", "--data-root", ".", "--write", "--include-unfamiliar"]
    succeeds("write-tags", "raw/audio/Artist 1", *options, **here)
    succeeds("scan", "--data-root", ".", **here)
    result = eno("import", "tags", "--data-root", ".", **here)
    assert "no labels were found; for example Artist 1/Album/0.flac: the genre Harsh Noise, which eno predicted" in (
        " ".join(result.stderr.split())
    )


def test_tagged_lines_of_every_family_can_be_written(trained, tmp_path):
    root, _ = trained
    file = tmp_path / "noise.flac"
    file.write_bytes((root / "raw" / "audio" / "Artist 3" / "Album" / "0.flac").read_bytes())
    lines = succeeds("tag", file, "--model", root / "model", "--json", cwd=tmp_path).stdout
    (tmp_path / "tags.jsonl").write_text(lines)
    written = ["write-tags", "--from", "tags.jsonl", "--write", "--genres-only"]
    assert "Left out" not in succeeds(*written, cwd=tmp_path).stderr
    succeeds(*written[:-1], "--field", "instruments=grouping", cwd=tmp_path)
    assert mutagen.File(file)["grouping"] == ["maracas"]


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("instruments", "expected two names, such as --field instruments=grouping"),
        ("instruments=title", "'title' is no field for tags: it has another meaning"),
        ("instruments=é", "expected 2 to 50 letters"),
        ("genres=style", "The family genre has its own field"),
        ("tags=style", "cannot be the name of a family of labels: it has another meaning"),
    ],
)
def test_fields_that_cannot_be_used_are_refused(trained, field, message):
    root, _ = trained
    result = eno("write-tags", "raw/audio", "--model", "model", "--field", field, cwd=root)
    assert result.returncode == 1
    assert message in " ".join(result.stderr.split())
