"""The command ``eno similar``."""

import json
import re
import shutil

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from eno.cli import app, main
from eno.data.labels.encoder import LabelEncoder
from eno.errors import AudioError, ConfigError, EnoError, SimilarityError
from eno.inference.predictor import EnoPredictor
from eno.models import create_head
from eno.similarity.index.build import build_index
from tests.similarity.small_collection import RATE, OwnEncoder, build

FIRST = "Low/2001 - Things We Lost/01.wav"
RUINS = "Grouper/Ruins/0"


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    data, store = build(tmp_path_factory.mktemp("collection"), OwnEncoder())
    build_index(store)  # the index of windows is built when first needed
    return data, store


@pytest.fixture(scope="module")
def model(collection):
    data, store = collection
    names, vectors = store.matrix()
    truth = np.array([[name.startswith("Low"), name.startswith(RUINS)] for name in names], np.float32)
    head = create_head("knn")
    head.fit(vectors, truth, vectors, truth)
    EnoPredictor(OwnEncoder(), head, LabelEncoder(["Slowcore"], ["rain"])).save(data.root / "model")
    return data.root / "model"


@pytest.fixture
def similar(collection):
    """Run the command: return its result and the rows of --json; raise the error that it would print."""
    data, store = collection

    def similar(*arguments):
        command = ["similar", *map(str, arguments), "--store", str(store.path), "--data-root", str(data.root)]
        result = CliRunner().invoke(app, command)
        if isinstance(result.exception, EnoError):
            raise result.exception
        assert result.exit_code == 0, result.output
        rows = [json.loads(line) for line in result.stdout.splitlines()] if "--json" in arguments else []
        return result, rows

    return similar


def test_track(similar):
    result, _ = similar(FIRST, "-k", 3)
    assert len(re.findall(r"^ *-?\d\.\d{3} .+\.wav", result.stdout, re.MULTILINE)) == 3
    _, rows = similar(FIRST, "--json", "-k", 23, "--per-artist", 0, "--same-album")
    assert len(rows) == 23
    assert FIRST not in {row["track_id"] for row in rows}
    shared = {row["track_id"]: row["shared"] for row in rows}
    assert shared["V/Slow Songs/01.wav"] == ["Slowcore", "melancholic"]
    result, rows = similar(FIRST, "--json")
    assert [row["artist"] for row in rows].count("Low") == 2
    assert "Try --per-artist 0 or --same-album." in result.stderr


def test_file_passage_and_windows(similar, collection, tmp_path):
    shutil.copy(collection[0].audio / FIRST, tmp_path / "copy.wav")
    with pytest.raises(ConfigError, match="If you trust its code, name it: --encoder"):
        similar(tmp_path / "copy.wav")
    own = ["--encoder", "tests.similarity.small_collection:OwnEncoder"]
    assert len(similar("--text", "sad piano with rain", *own, "--json", "-k", 5)[1]) == 5
    _, rows = similar(tmp_path / "copy.wav", *own, "--json", "-k", 1)
    assert (rows[0]["track_id"], rows[0]["score"]) == (FIRST, pytest.approx(1, abs=2e-3))
    _, rows = similar(tmp_path / "copy.wav", *own, "--windows", "--from", "0:01", "--to", "3", "--json", "-k", 1)
    assert rows[0]["track_id"] == FIRST
    assert rows[0]["start_s"] > 0.5
    result, _ = similar(FIRST, "--windows", "-k", 1)
    assert re.search(r"\.wav at 0:0\d, like 0:0\d", result.stdout)


def test_filters(similar):
    conditions = ["--genre", "ambient", "--genre", "slowcore", "--year", "2005-2014", "--duration", "0:02-0:10"]
    _, rows = similar(FIRST, "--json", *conditions, "--path", "*/0[12].wav", "--where", "shelf = 'blue'")
    expected = {f"{RUINS}1.wav", f"{RUINS}2.wav", "V/Slow Songs/01.wav", "V/Slow Songs/02.wav"}
    assert {row["track_id"] for row in rows} == expected
    for options in (["--artist", "grouper"], ["--album", "Ruins"], ["--descriptor", "rain"], ["--year", "2014"]):
        assert {row["artist"] for row in similar(FIRST, "--json", *options)[1]} == {"Grouper"}


def test_albums_artists_and_subtraction(similar):
    _, by_album = similar("--like-album", "ruins", "--json")
    _, by_artist = similar("--like-artist", "Grouper", "--json")
    assert by_album == by_artist
    _, less = similar("--like-artist", "Grouper", "--minus", by_artist[0]["track_id"], "--json")
    assert by_artist[0]["track_id"] not in {row["track_id"] for row in less}


def test_tags(similar, model):
    result, rows = similar("--tags", "slowcore, rain", "--model", model, "--json", "-k", 24, "--per-artist", 0)
    assert "predicting the tags" in result.stderr
    assert len(rows) == 24
    result, rows = similar("--tags", "RAIN", "--model", model, "--json", "-k", 3, "--per-artist", 0)
    assert "predicting" not in result.stderr
    assert {row["track_id"][:-5] for row in rows} == {RUINS}
    assert all(row["shared"] == ["rain"] * (row["score"] > 0.5) for row in rows)


def test_playlist(similar, collection, tmp_path):
    data, _ = collection
    file = tmp_path / "lists" / "list.m3u8"
    result, rows = similar(FIRST, "--playlist", 0.5, "--seed", 1, "--m3u", file, "--json")
    assert rows[0]["track_id"] == FIRST
    assert sum(row["duration_s"] for row in rows) == pytest.approx(30, abs=4)
    places = file.read_text("utf-8").splitlines()[2::2]
    assert [(file.parent / place).resolve() for place in places] == [data.audio / row["track_id"] for row in rows]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    result, _ = similar(FIRST, "-k", 2, "--m3u", file, "--absolute", "--audio-root", elsewhere)
    assert "2 of 2 files are not in" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ([], ConfigError, "nothing to search for"),
        (["Takk/01"], SimilarityError, "Did you mean 'SR/Takk/01.wav'"),
        ([FIRST, "--genre", "slowcroe"], SimilarityError, "Similar names: Slowcore"),
        ([FIRST, "--where", "yaer > 3"], ConfigError, "--where 'yaer > 3'"),
        ([FIRST, "--year", "199x"], ConfigError, "expected a year"),
        ([FIRST, "--year", "-"], ConfigError, "expected a range"),
        ([FIRST, "--duration", "2:75"], ConfigError, "is not a time"),
        ([FIRST, FIRST, "--from", "1"], ConfigError, "need exactly one track or file"),
        (["--text", "rain", "--encoder", "stats"], ConfigError, "The encoder 'stats' cannot encode text"),
        (["--tags", "rain"], ConfigError, "Specify it with --model"),
        (
            [FIRST, "--index", "{index}", "--windows"],
            ConfigError,
            "an index of tracks, expected one of windows",
        ),
        ([FIRST, "--index", "nowhere"], SimilarityError, "eno index build"),
    ],
)
def test_invalid_commands(similar, collection, arguments, error, message):
    index = collection[1].path / "index" / "tracks"
    with pytest.raises(error, match=re.escape(message)):
        similar(*(str(argument).replace("{index}", str(index)) for argument in arguments))


def test_silence(similar, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(3 * RATE), RATE)
    with pytest.raises(AudioError, match="silence has no tags and no neighbours"):
        similar(tmp_path / "silence.wav", "--encoder", "tests.similarity.small_collection:OwnEncoder")


def test_an_outdated_index_is_searched_with_a_warning(collection, monkeypatch, capsys):
    data, store = collection
    shutil.copytree(store.path, data.root / "older")
    type(store).open(data.root / "older").append(["new"], np.zeros(1), np.ones((1, 1, 6), np.float32))
    command = ["eno", "similar", FIRST, "-k", "2", "--store", str(data.root / "older"), "--data-root", str(data.root)]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    assert ended.value.code == 0
    assert f"eno index add {data.root / 'older'}" in shown.err
    assert shown.out.count(".wav") == 2
    monkeypatch.setattr("sys.argv", [*command, "--genre", "x"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "error: No track has the genre 'x'." in capsys.readouterr().err
