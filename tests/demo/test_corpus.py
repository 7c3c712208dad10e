"""The demo corpus: reproducible, resumable, and in the layout of a user's own music."""

import importlib.util
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from eno.data.lute.albums import ALBUM_SCHEMA
from eno.data.lute.importing import import_lute
from eno.errors import ConfigError, MissingExtra
from scripts.demo import CorpusSummary, build_corpus
from scripts.demo.album import slug
from scripts.demo.plan import plan_albums

SMALL = {"tracks": 13, "duration_s": 5.0, "seed": 3}


class _Interrupted(Exception):
    pass


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A corpus whose build was interrupted and lost two files, and the other files of the interrupted build."""
    root = tmp_path_factory.mktemp("demo") / "corpus"

    def interrupt(stage, done, total):
        if stage == "rendering" and done == 5:
            raise _Interrupted

    with pytest.raises(_Interrupted):
        build_corpus(root, **SMALL, workers=2, on_progress=interrupt)
    assert not (root / "corpus.json").exists()
    first, second, *others = _audio(root)
    first.unlink()
    second.unlink()
    kept = {path: path.stat().st_mtime_ns for path in others}
    summary = build_corpus(root, **SMALL, workers=1)
    assert summary == CorpusSummary(root, albums=2, tracks=13, reused=False)
    return root, kept


def _audio(root):
    return sorted(path for path in (root / "raw" / "audio").rglob("*") if path.suffix in (".ogg", ".flac"))


def _albums(root):
    import_lute(root / "raw" / "metadata" / "lute.jsonl", root / "albums.parquet", strict=True)
    return pq.read_table(root / "albums.parquet")


def test_layout_and_metadata(corpus):
    root, _ = corpus
    table = _albums(root)
    assert table.schema.equals(ALBUM_SCHEMA)
    albums = table.to_pylist()
    found = {path.relative_to(root / "raw" / "audio").as_posix() for path in _audio(root)}
    for album in albums:
        files = sorted(name for name in found if name.startswith(album["file_name"] + "/"))
        assert len(files) == len(album["tracks"])
        assert album["file_name"].split("/")[2] == slug(album["artists"][0]["name"])
        for number, (name, track) in enumerate(zip(files, album["tracks"], strict=True), 1):
            assert name.split("/")[-1].startswith(f"{number:02d} - ")
            assert track["position"] == str(number)
            assert track["duration_seconds"] == 5
        assert album["rating"] is None
        assert album["credits"][0]["roles"][0] in ("Composer", "Collection")
    assert sum(len(album["tracks"]) for album in albums) == len(found) == 13
    assert not list(root.rglob("*.tmp"))


def test_audio_has_level_length_and_fade(corpus):
    root, _ = corpus
    for path in _audio(root):
        audio, rate = sf.read(path, always_2d=True)
        assert rate == 44_100
        assert len(audio) == 5 * rate
        assert 0.6 < np.abs(audio).max() < 0.85
        assert np.sqrt((audio**2).mean()) > 0.02
        assert np.abs(audio[-100:]).max() < 0.02, "no fade at the end"


def test_interrupted_build_is_continued(corpus):
    root, kept = corpus
    assert len(kept) >= 3
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert not (root / "corpus.unfinished.json").exists()


def test_corpus_depends_on_the_seed_not_on_the_workers(corpus, tmp_path):
    root, _ = corpus
    build_corpus(tmp_path, **SMALL, workers=1)
    assert _albums(tmp_path).equals(_albums(root))
    again, first = _audio(tmp_path), _audio(root)
    assert [path.relative_to(tmp_path) for path in again] == [path.relative_to(root) for path in first]
    for one, other in zip(again, first, strict=True):
        assert np.array_equal(sf.read(one)[0], sf.read(other)[0]), one.name


def test_a_finished_corpus_is_reused(corpus):
    root, _ = corpus
    summary = build_corpus(root, **SMALL)
    assert summary.reused
    assert (summary.albums, summary.tracks) == (2, 13)
    manifest = json.loads((root / "corpus.json").read_text("utf-8"))
    assert set(manifest) >= {
        "version",
        "seed",
        "tracks",
        "duration_s",
        "music21",
        "symusic",
        "soundfont_sha256",
    }
    with pytest.raises(ConfigError, match="seed 3 instead of 4"):
        build_corpus(root, **{**SMALL, "seed": 4})


def test_folder_with_other_music_is_refused(tmp_path):
    (tmp_path / "raw" / "audio").mkdir(parents=True)
    with pytest.raises(ConfigError, match="another folder"):
        build_corpus(tmp_path, **SMALL)


def test_invalid_arguments_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="tracks=0"):
        build_corpus(tmp_path, tracks=0)
    with pytest.raises(ConfigError, match="tunes"):
        plan_albums(1_000_000, duration_s=30.0, seed=0)


@pytest.mark.parametrize("package", ["music21", "symusic", "pretty_midi"])
def test_a_missing_package_names_the_extra(package, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == package else find(name, *rest))
    with pytest.raises(MissingExtra, match=rf"{package}.*\.\[demo\]"):
        build_corpus(tmp_path, **SMALL)
