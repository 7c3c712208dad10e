"""The made-up collection of the rehearsal, and some of its commands at a tiny size."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from eno.data.layout import DataRoot
from eno.embeddings.store.embedding_store import EmbeddingStore
from scripts.bench import made_collection, rehearsal
from tests.command import eno

ROOT = Path(__file__).parents[1]
TRACKS, LISTED = 600, 150
FIRST_DAY = ["import", "match", "labels", "split", "train, linear"]
SECOND_DAY = ["import, day two", "match, day two", "labels, day two", "split, day two", "retrain"]
SIZE = ["--tracks", TRACKS, "--listed", LISTED, "--labels", 20, "--windows", 2, "--dim", 16]


@pytest.fixture
def rehearse(monkeypatch):
    """The script, which runs commands in the process of the tests."""

    def run(folder, arguments):
        ran = eno(*arguments, cwd=folder)
        (folder / "output.txt").write_text(ran.stdout + ran.stderr)
        if ran.returncode:
            raise rehearsal.Failed(ran.stderr)
        return rehearsal.Usage(1.0, 2.0, 3.0)

    monkeypatch.setattr(rehearsal, "run", run)

    def with_options(*options):
        monkeypatch.setattr(sys, "argv", ["rehearsal.py", *map(str, [*SIZE, *options])])
        rehearsal.main()

    before = os.environ.get("PYTHONPATH")
    yield with_options
    assert os.environ.get("PYTHONPATH") == before  # with which later tests start commands


def genres(folder):
    with closing(sqlite3.connect(folder / "lute.db")) as database:
        return database.execute("SELECT * FROM album_genres ORDER BY 1, 2").fetchall()


def test_two_days(rehearse, tmp_path, capsys):
    folder, out = tmp_path / "made", tmp_path / "results.json"
    rehearse("--folder", folder, "--out", out, "--only", *FIRST_DAY, *SECOND_DAY)
    shown = capsys.readouterr().out
    assert "day two: 1 albums have another label, 6 tracks are new" in shown
    assert "  6 tracks are new in the splits, 0 of the others moved" in shown
    assert re.search(r"test mAP 0\.\d+ → 0\.\d+, [+-]0\.\d+ .*on the same \d+ tracks", " ".join(shown.split()))
    (found,) = json.loads(out.read_text())["runs"]
    assert found["size"] == {"tracks": TRACKS, "listed": LISTED, "labels": 20, "windows": 2, "dim": 16}
    assert list(found["commands"]) == FIRST_DAY + SECOND_DAY
    rehearse("--folder", folder, "--out", out, "--only", "labels")  # which replaces the results of the same size
    assert [list(run["commands"]) for run in json.loads(out.read_text())["runs"]] == [["labels"]]
    rehearse("--folder", folder, "--out", out, "--only", "--heads", "knn")
    assert list(json.loads(out.read_text())["runs"][0]["commands"]) == ["train, knn"]
    assert (folder / "model-knn" / "predictor.json").is_file()
    # The tags of files are damaged, but most albums are found, and they are the right ones.
    owned = (folder / "owned.txt").read_text().splitlines()
    matches = pq.read_table(DataRoot(folder).matches).to_pylist()
    matched = [row for row in matches if row["decision"] == "matched"]
    assert len(matches) == TRACKS + 6
    assert len(matched) > 0.9 * TRACKS
    assert all(row["file_name"] == owned[int(row["track_id"].split("/")[1].split()[-1])] for row in matched)


def test_commands_run_in_processes_of_their_own(tmp_path):
    out = tmp_path / "results.json"
    command = [sys.executable, "-m", "scripts.bench.rehearsal", *SIZE, "--folder", tmp_path / "made", "--out", out]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [str(one) for one in [*command, "--only", "import"]], capture_output=True, text=True, env=environment
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (found,) = json.loads(out.read_text())["runs"]
    assert list(found["commands"]) == ["import"]
    assert all(one["seconds"] > 0 and one["cpu"] > 0 and one["mib"] > 30 for one in found["commands"].values())


def test_a_command_that_fails_is_reported(rehearse, tmp_path, capsys):
    with pytest.raises(SystemExit, match=r"^failed: match$"):
        rehearse("--folder", tmp_path / "made", "--only", "match")
    shown = capsys.readouterr().out
    assert "match                     failed" in shown
    assert "Create it with: eno import lute" in shown


def test_a_collection_follows_from_its_seed(tmp_path):
    size = made_collection.Size(tracks=300, listed=60, labels=12, windows=3, dim=8)
    folders = [tmp_path / name for name in ("first", "again", "other")]
    for folder, seed in zip(folders, (0, 0, 1), strict=True):
        folder.mkdir()
        made_collection.make(folder, size, seed)
    first, again, other = (EmbeddingStore.open(folder / "store").matrix() for folder in folders)
    assert first[0] == again[0] == sorted(pq.read_table(DataRoot(folders[0]).tracks)["track_id"].to_pylist())
    np.testing.assert_array_equal(first[1], again[1])
    assert genres(folders[0]) == genres(folders[1]) != genres(folders[2])
    assert len(other[0]) == 300
    assert EmbeddingStore.open(folders[0] / "store").summary()["windows"] == 900


def test_relabelling_adds_genres_to_albums_with_tracks(tmp_path):
    size = made_collection.Size(tracks=300, listed=60, labels=12, windows=1, dim=8)
    made_collection.make(tmp_path, size, 0)
    before = set(genres(tmp_path))
    assert made_collection.relabel(tmp_path, 0.2, 0) == 6
    added = set(genres(tmp_path)) - before
    assert before < set(genres(tmp_path))
    assert 1 <= len(added) <= 6
    assert {album for album, *_ in added} <= set(range(1, 32))
