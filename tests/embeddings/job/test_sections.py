"""Tracks that are sections of a long file, from the scan to the store."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from eno.audio.windows import WindowPolicy
from eno.cnn.feature_files import feature_path, prepare_features
from eno.cnn.features import AudioFeatureExtractor
from eno.data.layout import DataRoot
from eno.data.library.outlines import own_audio
from eno.data.library.scanning import scan
from eno.data.splits.artist_split import SPLIT_SCHEMA
from eno.data.splits.stratify import SPLITS
from eno.data.tables import write_table
from eno.duplicates.audio_reader import AudioReader
from eno.embeddings.job.embed import embed_folder
from eno.embeddings.job.pipeline import LocalExecutor
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.maintenance import compact_store, verify_store
from eno.library import Library
from tests.audio_files import music
from tests.command import eno
from tests.fakes import ProjectionEncoder

RATE, POLICY = 8000, WindowPolicy(count=3)


def write_sheet(root, starts):
    lines = ['FILE "mix.wav" WAVE']
    for number, start in enumerate(starts, 1):
        lines += [f"TRACK {number:02d} AUDIO", f"INDEX 01 00:{start:02d}:00"]
    (root.audio / "mix.cue").write_text("\n".join(lines))


@pytest.fixture
def root(tmp_path):
    root = DataRoot(tmp_path / "data")
    root.audio.mkdir(parents=True)
    soundfile.write(root.audio / "mix.flac", music(12, RATE, 1), RATE)
    soundfile.write(root.audio / "song.flac", music(2, RATE, 1, seed=5), RATE)
    write_sheet(root, [0, 4, 9])
    scan(root.audio, root.tracks, workers=0)
    return root


@pytest.fixture
def store(tmp_path):
    return EmbeddingStore.create(tmp_path / "store", ProjectionEncoder().spec, policy=POLICY, dtype="float32")


def embed(root, store):
    encoder = ProjectionEncoder()
    report = embed_folder(own_audio(root), encoder, store, executor=LocalExecutor(encoder, POLICY, workers=1))
    assert verify_store(store).problems == []
    return report.embedded, report.skipped, report.vanished


def parts_as_files(folder, limits):
    """What a store would hold if the tracks were files."""
    samples, _ = soundfile.read(folder / "mix.flac", dtype="int16")
    cut = folder.parent / "cut"
    cut.mkdir()
    for number, (begin, end) in enumerate(limits, 1):
        soundfile.write(cut / f"{number}.flac", samples[begin * RATE : end * RATE], RATE)
    store = EmbeddingStore.create(cut / "store", ProjectionEncoder().spec, policy=POLICY, dtype="float32")
    embed_folder(cut, ProjectionEncoder(), store)
    return store.matrix()[1]


def test_sections_are_embedded_like_files(root, store):
    assert embed(root, store) == (4, 0, 0)
    ids, vectors = store.matrix()
    assert list(ids) == ["mix.flac#01", "mix.flac#02", "mix.flac#03", "song.flac"]
    expected = parts_as_files(root.audio, [(0, 4), (4, 9), (9, 12)])
    np.testing.assert_allclose(vectors[:3], expected, rtol=1e-5, atol=1e-5)
    assert embed(root, store) == (0, 4, 0)


def test_only_sections_whose_limits_changed_are_embedded_again(root, store):
    embed(root, store)
    write_sheet(root, [0, 4, 8])
    scan(root.audio, root.tracks, workers=0)
    assert embed(root, store) == (2, 2, 0)
    expected = parts_as_files(root.audio, [(0, 4), (4, 8), (8, 12)])
    np.testing.assert_allclose(store.matrix()[1][:3], expected, rtol=1e-5, atol=1e-5)
    compact_store(store)
    assert embed(root, store) == (0, 4, 0)


def test_a_touched_file_is_not_embedded_again_and_a_renamed_one_is_recognised(root, store):
    embed(root, store)
    os.utime(root.audio / "mix.flac", ns=(1, 1))
    scan(root.audio, root.tracks, workers=0)
    assert embed(root, store) == (0, 4, 0)
    for suffix in ("flac", "cue"):
        (root.audio / f"mix.{suffix}").rename(root.audio / f"set.{suffix}")
    scan(root.audio, root.tracks, workers=0)
    assert embed(root, store) == (0, 4, 3)
    assert list(store.matrix()[0]) == ["set.flac#01", "set.flac#02", "set.flac#03", "song.flac"]


def test_without_the_sheet_the_file_is_one_track_again(root, store):
    embed(root, store)
    (root.audio / "mix.cue").unlink()
    scan(root.audio, root.tracks, workers=0)
    assert embed(root, store) == (1, 1, 3)
    assert list(store.matrix()[0]) == ["mix.flac", "song.flac"]


def test_a_library_knows_the_sections(root):
    library = Library.open(data_root=root.root)
    assert library.audio_roots == own_audio(root)
    assert library.audio_roots.section("mix.flac#02") == (4, 9)


def test_features_of_the_cnn_are_those_of_the_section(root):
    for split in SPLITS:
        table = pa.Table.from_pylist([{"track_id": "mix.flac#02"}] * (split == "train"), schema=SPLIT_SCHEMA)
        write_table(root.splits / f"{split}.parquet", table)
    assert prepare_features(root, num_workers=0).made == 1
    samples, _ = soundfile.read(root.audio / "mix.flac", dtype="int16")
    cut = root.root / "cut.flac"
    soundfile.write(cut, samples[4 * RATE : 9 * RATE], RATE)
    expected = AudioFeatureExtractor().extract(cut).numpy()
    np.testing.assert_array_equal(np.load(feature_path(root, "mix.flac#02")), expected)
    assert prepare_features(root, num_workers=0).skipped == 1
    write_sheet(root, [0, 4, 8])
    scan(root.audio, root.tracks, workers=0)
    assert prepare_features(root, num_workers=0).made == 1
    assert np.load(feature_path(root, "mix.flac#02")).shape[-1] < expected.shape[-1]


def test_duplicates_are_looked_for_in_sections(root):
    with ThreadPoolExecutor(1) as pool:
        reader = AudioReader(own_audio(root), pool, known={})
        recordings = reader.recordings(["mix.flac#01", "mix.flac#02"])
        qualities = reader.qualities(["mix.flac#02"])
        assert reader.durations(["mix.flac#02"], lambda *_: None) == {"mix.flac#02": 5}
    assert {name: len(one.samples) for name, one in recordings.items()} == {
        "mix.flac#01": 4 * RATE,
        "mix.flac#02": 5 * RATE,
    }
    whole_kbps = (root.audio / "mix.flac").stat().st_size * 8 / 1000 / 12
    assert qualities["mix.flac#02"].kbps == pytest.approx(whole_kbps)


def test_a_section_that_failed_is_tried_again_when_its_limits_change(root, store):
    soundfile.write(root.audio / "mix.flac", np.concatenate([np.zeros(4 * RATE), music(8, RATE, 1)[:, 0]]), RATE)
    scan(root.audio, root.tracks, workers=0)
    assert embed(root, store) == (3, 0, 0)
    (failure,) = store.ledger.failures()
    assert failure.track_id == "mix.flac#01" and "silent" in failure.reason
    assert failure.path == f"{root.audio / 'mix.flac'}#t=0.000,4.000"
    assert embed(root, store) == (0, 3, 0)
    assert store.ledger.failures() == [failure]
    write_sheet(root, [0, 5, 9])
    scan(root.audio, root.tracks, workers=0)
    assert embed(root, store) == (2, 2, 0)
    assert store.ledger.failures() == []


def test_embedding_before_a_scan_warns_of_sheets(root):
    root.tracks.unlink()
    options = ("--data-root", root.root, "--encoder", "tests.similarity.small_collection:OwnEncoder")
    for expected, command in ((True, "embed"), (None, "scan"), (False, "embed")):
        run = eno(command, *(options if command == "embed" else options[:2]), cwd=root.root)
        assert run.returncode == 0, run.stderr
        assert expected is None or ("There are CUE sheets" in run.stderr) == expected
