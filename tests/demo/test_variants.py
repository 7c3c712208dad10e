"""Copies hold the same recording, renditions the same tune."""

import numpy as np
import pytest
import soundfile

from eno.audio.reading import decode, probe
from eno.errors import CatalogueError, ConfigError, UnknownName
from scripts.demo import build_corpus, variants
from scripts.demo.corpus import planned_albums
from scripts.demo.variants import COPIES, RENDITIONS, write_copies, write_renditions
from tests.audio_files import music

RATE = 16_000  # at which all are compared
DURATION_S = 10.0


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """The samples of a recording, and its copies by kind."""
    root = tmp_path_factory.mktemp("copies")
    (root / "album").mkdir()
    soundfile.write(root / "album" / "one.flac", music(DURATION_S, 44_100), 44_100)
    written = write_copies(root, ["album/one.flac"], root / "copies", workers=1)
    assert [variant.kind for variant in written] == list(COPIES)
    assert all(variant.same_recording and variant.source_track_id == "album/one.flac" for variant in written)
    return decode(root / "album" / "one.flac", sample_rate=RATE), {variant.kind: variant.path for variant in written}


def _expected(kind, samples):
    match kind:
        case "trimmed-start":
            return samples[round(2.5 * RATE) :]
        case "trimmed-end":
            return samples[: -4 * RATE]
        case "trimmed-both":
            return samples[round(2.5 * RATE) : -4 * RATE]
        case "padded":
            return np.concatenate([np.zeros(2 * RATE), samples, np.zeros(3 * RATE)])
        case "gain-6db":
            return samples * 0.501
        case "gain-12db":
            return samples * 0.251
    return samples


@pytest.mark.parametrize("kind", COPIES)
def test_copy_is_the_changed_recording(copies, kind):
    samples, paths = copies
    expected, found = _expected(kind, samples), decode(paths[kind], sample_rate=RATE)
    assert abs(len(found) - len(expected)) <= 2
    common = min(len(found), len(expected))
    difference = found[:common] - expected[:common]
    lossy = paths[kind].suffix != ".flac"
    assert np.square(difference).mean() < (0.1 if lossy else 1e-3) * np.square(expected).mean()
    assert lossy == (np.square(difference).mean() > 1e-4 * np.square(expected).mean())


def test_copies_have_the_format_of_their_name(copies):
    _, paths = copies
    found = {kind: probe(path) for kind, path in paths.items()}
    for kbps in (64, 128, 320):
        assert paths[f"mp3-{kbps}"].stat().st_size == pytest.approx(kbps * 125 * DURATION_S, rel=0.03)
    assert {kind: info.sample_rate for kind, info in found.items() if info.sample_rate != 44_100} == {
        "opus": 48_000,
        "22050hz": 22_050,
        "48000hz": 48_000,
    }
    assert [kind for kind, info in found.items() if info.channels == 1] == ["mono"]
    assert {kind: found[kind].codec for kind in ("mp3-64", "ogg", "opus", "flac")} == {
        "mp3-64": "MPEG_LAYER_III",
        "ogg": "VORBIS",
        "opus": "OPUS",
        "flac": "PCM_16",
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    build_corpus(root, tracks=4, duration_s=6.0, seed=3, workers=1)
    return root


@pytest.fixture(scope="module")
def albums(corpus):
    return planned_albums(corpus, workers=1)


def _tune(performance, beat_q, beats):
    """Place in the tune, in sixteenths, and pitch class of every note of the first beats."""
    places = np.round(performance.notes[:, 0] * performance.bpm / 60 * beat_q * 4)
    first = places < beats * beat_q * 4
    return {(place, pitch % 12) for place, pitch in zip(places[first], performance.notes[first, 2], strict=True)}


def test_renditions_are_other_performances_of_the_tune(corpus, albums, monkeypatch, tmp_path):
    (album,) = albums
    ids = [f"{album.file_name}/{name}" for name in album.track_files]
    jobs = []
    monkeypatch.setattr(variants, "render", lambda job, soundfont: jobs.append(job))
    written = write_renditions(corpus, ids, tmp_path, workers=1)
    assert [(v.source_track_id, v.kind) for v in written] == [(i, kind) for i in ids for kind in RENDITIONS]
    for number, (variant, job) in enumerate(zip(written, jobs, strict=True)):
        tune, original = album.tunes[number // 4], album.performances[number // 4]
        assert job.path == variant.path
        assert not variant.same_recording
        as_written, anew = (_tune(played, tune.beat_q, beats=4) for played in (original, job.performance))
        shifts = [s for s in range(12) if {(place, (pitch + s) % 12) for place, pitch in as_written} == anew]
        assert shifts == [0] if variant.kind != "transposed" else len(shifts) == 1 and 2 <= shifts[0] <= 10
        assert not np.array_equal(original.notes[:8, 0], job.performance.notes[:8, 0])
        other_instrument = job.rendering.program.family != album.rendering.program.family
        assert other_instrument == (variant.kind == "instrument")
        assert (abs(np.log(job.performance.bpm / original.bpm)) > 0.2) == (variant.kind == "tempo")


def test_renditions_are_reproducible(corpus, albums, monkeypatch, tmp_path):
    monkeypatch.setattr(variants, "planned_albums", lambda root, workers: albums)  # which takes a while
    track_id = next(path.relative_to(corpus / "raw/audio").as_posix() for path in corpus.glob("raw/audio/*/*/*/*/*.*"))
    first, second = (
        write_renditions(corpus, [track_id], tmp_path / name, kinds=["take"], seed=5, workers=1)[0] for name in "ab"
    )
    sounds = [decode(variant.path, sample_rate=RATE) for variant in (first, second)]
    np.testing.assert_array_equal(*sounds)
    source = decode(corpus / "raw" / "audio" / track_id, sample_rate=RATE)
    assert len(sounds[0]) == len(source)
    assert abs(np.corrcoef(sounds[0], source)[0, 1]) < 0.9


def test_unknown_kinds_and_missing_tracks_are_named(corpus, albums, monkeypatch, tmp_path):
    with pytest.raises(UnknownName, match="mp3-128"):
        write_copies(corpus / "raw" / "audio", [], tmp_path, kinds=["mp3-129"])
    with pytest.raises(CatalogueError, match=r"album/none\.ogg"):
        write_copies(corpus / "raw" / "audio", ["album/none.ogg"], tmp_path)
    with pytest.raises(ConfigError, match="no finished demo corpus"):
        write_renditions(tmp_path, [], tmp_path)
    monkeypatch.setattr(variants, "planned_albums", lambda root, workers: albums)
    with pytest.raises(CatalogueError, match=r"album/none\.ogg"):
        write_renditions(corpus, ["album/none.ogg"], tmp_path)
