"""Files that are added, changed, touched, removed and put back between runs."""

import os
import shutil

import numpy as np
import pytest
import soundfile

from eno.audio.windows import WindowPolicy
from eno.embeddings.job.embed import embed_folder
from eno.embeddings.job.pipeline import LocalExecutor
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.maintenance import compact_store, verify_store
from eno.errors import AudioError, StoreError
from tests.audio_files import music
from tests.fakes import ProjectionEncoder

POLICY = WindowPolicy(count=3)
NAMES = [f"{letter}.wav" for letter in "abcdef"]


def write(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, music(2, 8000, seed=seed), 8000)


@pytest.fixture
def audio(tmp_path):
    for i, name in enumerate(NAMES):
        write(tmp_path / "audio" / name, i)
    return tmp_path / "audio"


class Counting(ProjectionEncoder):
    """Counts the windows it was given."""

    def __init__(self):
        super().__init__()
        self.windows = 0

    def encode(self, windows):
        self.windows += len(windows)
        return super().encode(windows)


@pytest.fixture
def store(tmp_path, audio):
    store = EmbeddingStore.create(tmp_path / "store", ProjectionEncoder().spec, policy=POLICY, dtype="float32")
    embed_folder(audio, ProjectionEncoder(), store)
    return store


def run(audio, store):
    """Run again; the report, and how many tracks were encoded."""
    encoder = Counting()
    report = embed_folder(audio, encoder, store, executor=LocalExecutor(encoder, POLICY, workers=1))
    assert report.found == report.embedded + report.skipped + report.failed + report.left
    assert verify_store(store).problems == []
    assert report.failures == store.ledger.failures()
    return report, encoder.windows // 3


def fresh(audio, tmp_path):
    """What a store of these files would hold."""
    store = EmbeddingStore.create(tmp_path / "fresh", ProjectionEncoder().spec, policy=POLICY, dtype="float32")
    embed_folder(audio, ProjectionEncoder(), store)
    return store


def assert_same(one, other):
    for found, expected in zip(one.windows(), other.windows(), strict=True):
        if found.dtype == object:
            assert found.tolist() == expected.tolist()
        else:
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_nothing_new(audio, store):
    before = store.parts.all()
    assert run(audio, store)[1] == 0
    assert store.parts.all() == before


def test_changed_file_is_embedded_anew_and_replaces_what_was_there(audio, store, tmp_path):
    write(audio / "c.wav", 99)
    report, encoded = run(audio, store)
    assert (report.embedded, report.skipped, report.changed, encoded) == (1, 5, 1, 1)
    assert_same(store, fresh(audio, tmp_path))
    assert verify_store(store).dead == 3
    assert run(audio, store)[1] == 0
    compact_store(store)
    assert_same(store, EmbeddingStore.open(tmp_path / "fresh"))
    assert run(audio, store)[0].skipped == 6


def test_touched_and_retagged_files_are_not_encoded_again(audio, store):
    before = store.windows()[2]
    os.utime(audio / "a.wav", ns=(1, 1))
    with (audio / "b.wav").open("ab") as file:
        file.write(b"LIST\x04\x00\x00\x00INFO")  # a chunk behind the audio, as taggers write it
    report, encoded = run(audio, store)
    assert (report.embedded, report.skipped, report.changed, encoded) == (0, 6, 0, 0)
    np.testing.assert_array_equal(store.windows()[2], before)
    stamps = {row["track_id"]: (row["size"], row["mtime_ns"]) for row in store.tracks().to_pylist()}
    for name in NAMES:
        status = os.stat(audio / name)
        assert stamps[name] == (status.st_size, status.st_mtime_ns)


def test_vanished_files_no_longer_count_and_count_again_when_they_are_back(audio, store, tmp_path):
    before = store.windows()
    for name in ("a.wav", "f.wav"):
        (audio / name).rename(tmp_path / name)
    report, encoded = run(audio, store)
    assert (report.found, report.skipped, report.vanished, encoded) == (4, 4, 2, 0)
    assert store.track_ids() == NAMES[1:5]
    assert store.matrix()[0] == NAMES[1:5]
    with pytest.raises(StoreError, match=r"1 tracks are not in this store, for example a\.wav"):
        store.windows(["a.wav"])
    for name in ("a.wav", "f.wav"):
        (tmp_path / name).rename(audio / name)
    report, encoded = run(audio, store)
    assert (report.skipped, report.vanished, encoded) == (6, 0, 0)
    for one, other in zip(store.windows(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_vanished_files_are_gone_for_good_after_compaction(audio, store, tmp_path):
    (audio / "a.wav").rename(tmp_path / "a.wav")
    run(audio, store)
    compact_store(store)
    assert run(audio, store)[0].vanished == 0
    (tmp_path / "a.wav").rename(audio / "a.wav")
    report, encoded = run(audio, store)
    assert (report.embedded, encoded) == (1, 1)
    assert_same(store, fresh(audio, tmp_path))


def test_file_that_comes_back_as_another_one(audio, store, tmp_path):
    (audio / "a.wav").unlink()
    run(audio, store)
    write(audio / "a.wav", 50)
    report, _ = run(audio, store)
    assert (report.embedded, report.changed) == (1, 1)
    assert_same(store, fresh(audio, tmp_path))


def test_file_that_breaks_no_longer_counts_until_it_is_mended(audio, store, tmp_path):
    good = (audio / "d.wav").read_bytes()
    (audio / "d.wav").write_text("not music")
    report, _ = run(audio, store)
    assert (report.failed, report.skipped) == (1, 5)
    assert "d.wav" not in store.track_ids()
    report, _ = run(audio, store)  # known by now
    assert (report.failed, report.skipped) == (1, 5)
    assert "d.wav" not in store.track_ids()
    (audio / "d.wav").write_bytes(good)
    report, encoded = run(audio, store)
    assert (report.failed, report.skipped, encoded) == (0, 6, 0)  # sounds as it did
    assert store.track_ids() == NAMES
    assert_same(store, fresh(audio, tmp_path))


def test_failed_file_that_is_removed_leaves_the_ledger(audio, store):
    (audio / "x.wav").write_text("not music")
    assert run(audio, store)[0].failed == 1
    (audio / "x.wav").unlink()
    assert run(audio, store)[0].failed == 0
    assert store.ledger.failures() == []


def test_interrupted_run_over_changed_files_goes_on(audio, store, tmp_path):
    for i, name in enumerate(NAMES):
        write(audio / name, 30 + i)

    class Interrupted(Counting):
        def encode(self, windows):
            if self.windows:
                raise KeyboardInterrupt
            return super().encode(windows)

    encoder = Interrupted()
    report = embed_folder(audio, encoder, store, executor=LocalExecutor(encoder, POLICY, workers=1))
    assert 0 < report.left < 6
    assert verify_store(store).problems == []
    report, _ = run(audio, store)
    assert report.left == 0
    assert_same(store, fresh(audio, tmp_path))


def test_store_is_not_emptied_by_another_folder_or_an_empty_one(audio, store, tmp_path):
    write(tmp_path / "elsewhere" / "other.wav", 1)
    with pytest.raises(StoreError, match=r"holds 6 tracks, for instance a\.wav, and none of them is in this folder"):
        run(tmp_path / "elsewhere", store)
    (tmp_path / "not mounted").mkdir()
    (audio / "a.wav").unlink()
    (audio / "bad.wav").write_text("not music")
    run(audio, store)
    failures = store.ledger.failures()
    assert len(failures) == 1
    encoder = ProjectionEncoder()
    assert embed_folder(tmp_path / "not mounted", encoder, store).found == 0
    assert store.track_ids() == NAMES[1:]
    assert store.ledger.failures() == failures


def test_collection_that_moves_as_a_whole_is_not_embedded_again(audio, store, tmp_path):
    shutil.copytree(audio, tmp_path / "moved")  # keeps times
    assert run(tmp_path / "moved", store)[1] == 0


def test_stores_that_know_no_files_take_those_there_are_for_theirs(audio, tmp_path):
    store = EmbeddingStore.create(tmp_path / "old", ProjectionEncoder().spec, policy=POLICY, dtype="float32")
    known = fresh(audio, tmp_path)
    store.append(*known.windows())
    report, encoded = run(audio, store)
    assert (report.skipped, encoded) == (6, 0)
    assert store.tracks()["size"].to_pylist() == known.tracks()["size"].to_pylist()
    write(audio / "b.wav", 77)
    assert run(audio, store)[0].changed == 1


def test_several_folders(audio, store, tmp_path, caplog):
    write(tmp_path / "more" / "g.wav", 7)
    write(tmp_path / "more" / "a.wav", 8)  # hidden by the one in the first folder
    report, encoded = run([audio, tmp_path / "more"], store)
    assert (report.found, report.embedded, report.skipped, encoded) == (7, 1, 6, 1)
    assert "1 files have the same path in several audio folders, for example a.wav" in caplog.text
    (tmp_path / "more" / "a.wav").unlink()
    (tmp_path / "more" / "g.wav").rename(tmp_path / "g.wav")  # as if the folder were not mounted
    report, encoded = run([audio, tmp_path / "more"], store)
    assert (report.vanished, encoded, len(store.track_ids())) == (0, 0, 7)
    assert "more contains no audio files and may not be mounted. 1 tracks that may be there are not" in caplog.text
    (tmp_path / "more").rmdir()
    with pytest.raises(AudioError, match="more: is not a folder"):
        embed_folder([audio, tmp_path / "more"], ProjectionEncoder(), store)
    report, _ = run(audio, store)
    assert (report.vanished, len(store.track_ids())) == (1, 6)


class TestRenamedFiles:
    def test_vectors_follow_files_to_other_names_and_folders_without_being_encoded_again(self, audio, store, tmp_path):
        (audio / "new" / "folder").mkdir(parents=True)
        for name in NAMES[:3]:
            (audio / name).rename(audio / "new" / "folder" / f"renamed {name}")
        report, encoded = run(audio, store)
        assert encoded == 0
        assert (report.embedded, report.skipped, report.vanished) == (0, 6, 3)
        assert report.moved == {f"new/folder/renamed {name}": name for name in NAMES[:3]}
        assert_same(store, fresh(audio, tmp_path))
        report, encoded = run(audio, store)
        assert (encoded, report.moved, report.skipped) == (0, {}, 6)

    def test_a_whole_collection_may_move_into_another_folder(self, audio, store, tmp_path):
        audio.rename(tmp_path / "inner")
        audio.mkdir()
        (tmp_path / "inner").rename(audio / "inner")
        report, encoded = run(audio, store)
        assert (encoded, len(report.moved)) == (0, 6)
        assert_same(store, fresh(audio, tmp_path))

    def test_another_file_of_the_same_size_is_encoded(self, audio, store, tmp_path):
        before = (audio / "a.wav").stat()
        (audio / "a.wav").unlink()
        write(audio / "x.wav", 99)
        os.utime(audio / "x.wav", ns=(before.st_atime_ns, before.st_mtime_ns))
        assert (audio / "x.wav").stat().st_size == before.st_size
        report, encoded = run(audio, store)
        assert (encoded, report.embedded, report.moved) == (1, 1, {})
        assert_same(store, fresh(audio, tmp_path))

    def test_a_file_that_is_renamed_back_keeps_its_vectors(self, audio, store, tmp_path):
        (audio / "a.wav").rename(audio / "z.wav")
        run(audio, store)
        (audio / "z.wav").rename(audio / "a.wav")
        _, encoded = run(audio, store)
        assert encoded == 0
        assert_same(store, fresh(audio, tmp_path))
