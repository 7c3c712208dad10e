"""A library: where everything is, and where the work stands."""

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from typer.testing import CliRunner

from eno import Library, embed_folder
from eno.audio.windows import WindowPolicy
from eno.cli import app
from eno.config import load_settings
from eno.data.labels.encoder import LabelEncoder
from eno.data.splits.artist_split import SPLIT_SCHEMA, write_splits
from eno.data.tables import write_table
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.errors import ConfigError, EnoError
from tests.fakes import ProjectionEncoder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder beside a small folder of music."""
    monkeypatch.delenv("ENO_CONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    music = tmp_path / "Music"
    rng = np.random.default_rng(0)
    for name in ("Slowdive/Souvlaki/01 - Alison.flac", "Slowdive/Souvlaki/02 - Machine Gun.flac", "Low/Words.flac"):
        (music / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(music / name, 0.1 * rng.standard_normal(16_000 * 4), 16_000)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


class TestInit:
    def test_writes_settings_that_can_be_read_and_names_the_next_command(self, folder):
        result = run("init", folder / "Music")
        assert result.exit_code == 0, result.output
        assert "3 audio files" in result.output
        assert "next      eno embed" in result.output
        assert load_settings().audio_roots == (folder / "Music",)

    def test_with_lute_the_next_step_is_its_import(self, folder):
        (folder / "lute.db").touch()
        result = run("init", folder / "Music", "--lute", folder / "lute.db")
        assert f"eno import lute {folder / 'lute.db'}" in result.output.replace("\n", "")
        assert load_settings().lute == str(folder / "lute.db")

    def test_does_not_replace_settings_unless_told(self, folder):
        Path("eno.toml").write_text("encoder = 'stats'\n")
        assert "already exists" in str(run("init", folder / "Music").exception)
        assert load_settings().encoder == "stats"
        assert run("init", folder / "Music", "--force").exit_code == 0
        assert load_settings().encoder == "musicnn"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["missing"], "is not a folder"),
            ([], "eno init /path/to/music"),
            (["../Music", "--lute", "missing.db"], "no such file"),
        ],
    )
    def test_mistakes(self, folder, arguments, message):
        result = run("init", *arguments)
        assert isinstance(result.exception, EnoError)
        assert message in str(result.exception)
        assert not Path("eno.toml").exists()

    def test_the_usual_folder_of_music_is_found(self, folder):
        (folder / "home").mkdir()
        (folder / "Music").rename(folder / "home" / "Music")
        assert "3 audio files" in run("init").output


def _store(place, name="fake"):
    encoder = ProjectionEncoder()
    store = EmbeddingStore.open_or_create(place, encoder.spec, policy=WindowPolicy(count=2))
    return store


class TestStore:
    def test_the_only_store_is_the_current_one(self, folder):
        _store("embeddings/Music/fake-1")
        assert Library.open().store_place() == "embeddings/Music/fake-1"
        assert Library.open(store="elsewhere").store_place() == "elsewhere"

    def test_of_several_the_one_of_the_encoder(self, folder):
        _store("embeddings/Music/fake-1")
        _store("embeddings/Music/musicnn-1")
        assert Library.open().store_place() == "embeddings/Music/musicnn-1"
        with pytest.raises(ConfigError, match=r"several stores(.|\n)*fake-1(.|\n)*musicnn-1"):
            Library.open(encoder="stats").store_place()

    def test_without_one_the_message_says_how_to_make_it(self, folder):
        with pytest.raises(ConfigError, match="Create one with 'eno embed'"):
            Library.open().store()


def test_changed_labels_need_no_new_split(folder):
    library = Library.open(store="store", data_root=".")
    names = [f"{one}.mp3" for one in "abc"]
    _store("store").append(names, np.zeros(3), np.eye(3, 6, dtype=np.float32)[:, None])
    rows = [{"track_id": name, "file_name": name[0], "primary_genres": ["rock"]} for name in names]
    write_splits(library.data.splits, pa.Table.from_pylist(rows, SPLIT_SCHEMA), np.array(["train"] * 3))
    write_table(library.data.albums, pa.table({
        "file_name": ["a", "b", "c"], "primary_genres": [["jazz"], ["rock"], []],
        "secondary_genres": pa.nulls(3), "descriptors": pa.nulls(3),
    }))  # fmt: skip
    LabelEncoder(["jazz", "rock"], []).save(library.data.label_encoder)
    train = library.collection().tracks("train")
    assert train.Y.toarray().tolist() == [[1, 0], [0, 1], [0, 0]]
    assert library.collection().unlabelled() == {"genres": 1}


class TestPredictor:
    @pytest.fixture
    def requested(self, monkeypatch):
        names = []

        def download(name, *, revision, allow_patterns):
            names.append((name, revision))
            return "snapshot"

        monkeypatch.setattr("huggingface_hub.snapshot_download", download)
        return names

    def test_a_name_on_the_hub_is_downloaded(self, folder, requested):
        assert Library.open(model="someone/tagger@v2").predictor_folder() == Path("snapshot")
        Path("eno.toml").write_text("model = 'someone/tagger'\n")
        Path("below").mkdir()
        os.chdir("below")
        assert Library.open().predictor_folder() == Path("snapshot")
        assert requested == [("someone/tagger", "v2"), ("someone/tagger", None)]

    def test_a_folder_is_not(self, folder, requested):
        Path("someone/tagger").mkdir(parents=True)
        assert Library.open(model="someone/tagger").predictor_folder() == Path("someone/tagger")
        assert Library.open().predictor_folder() == Path("models/eno")  # even if it does not exist yet
        assert requested == []


class TestTracks:
    def test_by_path_by_its_end_or_by_title(self, folder):
        assert run("init", folder / "Music").exit_code == 0
        assert run("scan").exit_code == 0
        library = Library.open()
        assert len(library.tracks) == 3
        for name in ("Slowdive/Souvlaki/01 - Alison.flac", "souvlaki/01 - alison.flac", "01 - Alison.flac"):
            assert library.find_track(name) == "Slowdive/Souvlaki/01 - Alison.flac"
        with pytest.raises(EnoError):
            library.find_track("When the Sun Hits")


class TestSearch:
    def test_the_encoder_is_loaded_when_a_file_needs_it(self, folder, monkeypatch):
        library, encoder = Library.open(audio_roots=folder / "Music", store="store"), ProjectionEncoder()
        embed_folder(folder / "Music", encoder, _store("store"))
        loaded = []
        monkeypatch.setattr(Library, "encoder_of", lambda self, spec, name=None: loaded.append(spec) or encoder)
        assert len(library.sounds_like.like("Low/Words.flac", k=2)) == 2
        assert not loaded
        other = folder / "new.flac"
        shutil.copy(folder / "Music" / "Low" / "Words.flac", other)
        assert library.sounds_like.like(other, k=1)[0].track_id == "Low/Words.flac"
        assert loaded == [encoder.spec]


class TestStatus:
    def test_a_fresh_library(self, folder):
        run("init", folder / "Music")
        result = run("status")
        assert result.exit_code == 0, result.output
        assert "next      eno embed" in result.output
        rows = [json.loads(line) for line in run("status", "--json").output.splitlines()]
        assert [row["name"] for row in rows] == [
            "scanned", "imported", "matched", "labelled", "split", "embedded", "indexed", "trained",
        ]  # fmt: skip
        assert all(row["due"] and row["changed"] is None for row in rows)

    def test_a_damaged_index_does_not_hide_the_other_steps(self, folder):
        run("init", folder / "Music")
        library = Library.open(store="store")
        _store("store").append(["a.mp3", "b.mp3"], [0.0, 0.0], np.eye(2, 6, dtype=np.float32)[:, None])
        library.index()
        next(Path("store/index/tracks").glob("rows-*")).unlink()
        steps = {step.name: step for step in library.status()}
        assert (steps["indexed"].detail, steps["indexed"].command) == ("cannot be read", "eno index build")
        assert steps["indexed"].due
        assert not steps["embedded"].due

    def test_a_step_is_outdated_once_one_before_it_was_done_again(self, folder):
        run("init", folder / "Music")
        data = Library.open().data
        run("scan")
        data.matches.touch()
        os.utime(data.matches, (1_000_000_000, 1_000_000_000))
        steps = {step.name: step for step in Library.open().status()}
        assert steps["matched"].stale
        assert steps["matched"].changed == datetime.fromtimestamp(1_000_000_000, UTC)
        assert not steps["scanned"].due
        assert steps["scanned"].detail == "3 tracks"
        data.matches.touch()
        assert not {step.name: step for step in Library.open().status()}["matched"].due


def test_unknown_settings_are_named():
    with pytest.raises(ConfigError, match="Unknown setting 'audio_root'"):
        Library.open(audio_root="Music")


def test_a_list_of_files_or_a_single_file_may_take_the_place_of_folders(folder):
    first, second, *_ = sorted((folder / "Music").rglob("*.*"))
    Path("list.txt").write_text(f"{first}\n\n{second.relative_to(folder / 'Music')}\n")
    roots = Library.open(audio_roots=[folder / "Music"], files="list.txt").audio_roots
    assert roots.files == (first, second)
    roots = Library.open(audio_roots=[first]).audio_roots
    assert (roots.folders, roots.files) == ((first.parent,), (first,))
    result = run("init", folder / "Music", "--files", "list.txt")
    assert "2 audio files in list.txt" in result.output
    assert Library.open().audio_roots.files == (first, second)
