import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from eno.audio.reading import read_windows
from eno.audio.windows import WindowPolicy
from eno.embeddings.job import embed as job
from eno.embeddings.job.embed import embed_folder
from eno.embeddings.job.pipeline import LocalExecutor
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.errors import AudioError, FingerprintMismatch, StoreError
from tests.audio_files import music, write
from tests.fakes import ProjectionEncoder

POLICY = WindowPolicy(count=3)
GOOD = [f"album {album}/{track:02d}.wav" for album in range(3) for track in range(4)]


@pytest.fixture
def library(tmp_path):
    """Twelve good tracks."""
    for i, name in enumerate(GOOD):
        path = tmp_path / "audio" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, music(1.5 + 0.1 * i, 8000, seed=i), 8000, subtype="FLOAT")
    return tmp_path / "audio"


@pytest.fixture
def encoder():
    return ProjectionEncoder()


@pytest.fixture
def store(tmp_path, encoder):
    return EmbeddingStore.create(tmp_path / "store", encoder.spec, policy=POLICY, dtype="float32")


def counts(report):
    assert report.found == report.embedded + report.skipped + report.failed + report.left
    return report.embedded, report.skipped, report.failed, report.left


def test_every_window_has_the_vector_of_its_audio(library, encoder, store):
    assert counts(embed_folder(library, encoder, store)) == (12, 0, 0, 0)
    ids, starts, vectors = store.windows()
    assert sorted(set(ids)) == GOOD
    for name in GOOD:
        windows = read_windows(library / name, sample_rate=8000, window_samples=4000, policy=POLICY)
        rows = ids == name
        np.testing.assert_array_equal(starts[rows], windows.starts_s)
        expected = np.stack([window @ encoder.projection for window in windows.samples])
        np.testing.assert_allclose(vectors[rows][:, 0], expected, rtol=1e-4, atol=1e-4)


def test_parts_are_of_bounded_size(library, encoder, store, monkeypatch):
    monkeypatch.setattr(job, "PART_BYTES", 5 * 3 * 6 * 4)  # five tracks of three windows of six values in float32
    embed_folder(library, encoder, store)
    rows = [len(store.parts.read(part).starts_s) for part in store.parts.all()]
    assert rows == [15, 15, 6]


def test_second_run_at_once_is_refused_and_does_nothing(library, encoder, store):
    with store.writing(), pytest.raises(StoreError, match="is being written by process"):
        embed_folder(library, encoder, store)
    assert store.track_ids() == []
    assert counts(embed_folder(library, encoder, store)) == (12, 0, 0, 0)


def test_bad_files_are_in_the_ledger_and_the_others_go_on(library, encoder, store):
    (library / "empty.mp3").touch()
    (library / "text.flac").write_text("not music" * 100)
    (library / "folder.ogg").mkdir()
    (library / "dangling.wav").symlink_to("gone.wav")
    (library / os.fsdecode(b"caf\xe9.mp3")).write_bytes(b"")
    write(library, "flac", music(2, 8000), 8000)
    (library / "flac.flac").write_bytes((library / "flac.flac").read_bytes()[:5000])
    soundfile.write(library / "tick.wav", np.ones(1), 8000)
    report = embed_folder(library, encoder, store)
    assert counts(report) == (12, 0, 6, 0)
    reasons = {failure.track_id: failure.reason for failure in store.ledger.failures()}
    assert reasons == {failure.track_id: failure.reason for failure in report.failures}
    assert sorted(reasons) == sorted(
        [r"caf\xe9.mp3", "dangling.wav", "empty.mp3", "flac.flac", "text.flac", "tick.wav"]
    )
    assert "is empty" in reasons["empty.mp3"]
    assert "link to gone.wav" in reasons["dangling.wav"]
    assert store.track_ids() == GOOD


def test_second_run_does_nothing_and_a_new_file_is_added(library, encoder, store):
    embed_folder(library, encoder, store)
    encoder.encode = None  # would raise
    assert counts(embed_folder(library, encoder, store)) == (0, 12, 0, 0)
    soundfile.write(library / "new.wav", music(1, 8000), 8000)
    assert counts(embed_folder(library, ProjectionEncoder(), store)) == (1, 12, 0, 0)


def test_failed_files_are_tried_again_on_request(library, encoder, store, monkeypatch):
    (library / "late.wav").touch()
    embed_folder(library, encoder, store)
    assert counts(embed_folder(library, encoder, store)) == (0, 12, 1, 0)
    samples = music(1, 8000)
    stamp = os.stat(library / "late.wav").st_mtime_ns
    soundfile.write(library / "late.wav", samples, 8000)
    ledger = store.ledger.failures()
    size = (library / "late.wav").stat().st_size
    os.utime(library / "late.wav", ns=(stamp, stamp))
    store.ledger.write_failures([replace(ledger[0], size=size)])  # as if the share had been away
    assert counts(embed_folder(library, encoder, store)) == (0, 12, 1, 0)
    assert counts(embed_folder(library, encoder, store, retry_failed=True)) == (1, 12, 0, 0)
    assert store.ledger.failures() == []


def test_failed_files_that_have_changed_are_tried_again(library, encoder, store):
    (library / "late.wav").touch()
    assert counts(embed_folder(library, encoder, store)) == (12, 0, 1, 0)
    soundfile.write(library / "late.wav", music(1, 8000), 8000)
    assert counts(embed_folder(library, encoder, store)) == (1, 12, 0, 0)
    assert store.ledger.failures() == []


class SmallBatches(ProjectionEncoder):
    """Takes eight windows at a time, and says what it was called for."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def encode(self, windows):
        self.calls += 1
        return super().encode(windows)


@pytest.mark.parametrize("stop_after", [0, 1, 3])
def test_interrupted_run_saves_what_it_has_and_goes_on(tmp_path, library, encoder, store, stop_after):
    undisturbed = EmbeddingStore.create(tmp_path / "whole", encoder.spec, policy=POLICY, dtype="float32")
    embed_folder(library, encoder, undisturbed)

    class Interrupted(SmallBatches):
        def encode(self, windows):
            if self.calls == stop_after:
                raise KeyboardInterrupt
            return super().encode(windows)

    embedded, skipped, failed, left = counts(embed_folder(library, Interrupted(), store))
    assert (skipped, failed) == (0, 0)
    assert embedded + left == 12
    assert 8 * max(0, stop_after - 1) // 3 - 1 <= embedded <= 8 * stop_after // 3  # windows of a track: 3
    assert len(store.track_ids()) == embedded
    assert counts(embed_folder(library, encoder, store)) == (left, embedded, 0, 0)
    for one, other in zip(store.windows(), undisturbed.windows(), strict=True):
        np.testing.assert_allclose(
            one, other, rtol=1e-4, atol=1e-5
        ) if one.dtype != object else np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("signal_name", ["SIGINT", "SIGTERM"])
def test_first_interrupt_finishes_what_is_under_way(library, store, signal_name):
    class Interrupted(SmallBatches):
        def encode(self, windows):
            if self.calls == 0:
                os.kill(os.getpid(), getattr(signal, signal_name))
            return super().encode(windows)

    before = signal.getsignal(signal.SIGINT)
    encoder = Interrupted()
    embedded, _, _, left = counts(embed_folder(library, encoder, store, executor=one_worker(encoder)))
    assert encoder.calls > 1  # it went on
    assert 0 < left < 12
    assert len(store.track_ids()) == embedded
    assert signal.getsignal(signal.SIGINT) == before


def one_worker(encoder, **options):
    return LocalExecutor(encoder, POLICY, workers=1, **options)


def test_crash_of_the_encoder_loses_nothing_that_was_done(library, store):
    class Crashing(SmallBatches):
        def encode(self, windows):
            if self.calls == 4:
                raise MemoryError
            return super().encode(windows)

    with pytest.raises(MemoryError):
        embed_folder(library, Crashing(), store)
    assert len(store.track_ids()) >= 3 * 8 // 3 - 1


def test_work_is_saved_from_time_to_time(library, encoder, store, monkeypatch):
    monkeypatch.setattr(job, "_FLUSH_S", 0.0)
    embed_folder(library, encoder, store)
    assert store.summary()["parts"] == 12
    assert store.track_ids() == GOOD


def test_file_that_vanishes_during_the_run(library, encoder, store):
    class Removing(ProjectionEncoder):
        def encode(self, windows):
            (library / GOOD[-1]).unlink(missing_ok=True)
            return super().encode(windows)

    removing = Removing()
    assert counts(embed_folder(library, removing, store, executor=one_worker(removing))) == (11, 0, 1, 0)
    (failure,) = store.ledger.failures()
    assert failure.track_id == GOOD[-1]
    assert failure.reason == "no such file"


def test_vectors_that_are_not_finite_are_a_failure_of_their_track(library, store):
    class Overflowing(ProjectionEncoder):
        def encode(self, windows):
            return np.where(windows[:, :1, None] == marked, np.nan, super().encode(windows))

    first = read_windows(library / GOOD[5], sample_rate=8000, window_samples=4000, policy=POLICY).samples[1]
    marked = first[0]
    report = embed_folder(library, Overflowing(), store)
    assert counts(report) == (11, 0, 1, 0)
    (failure,) = report.failures
    assert failure.track_id == GOOD[5]
    assert "NaN" in failure.reason


def test_encoder_must_be_that_of_the_store(library, store):
    with pytest.raises(FingerprintMismatch):
        embed_folder(library, ProjectionEncoder(seed=1), store)


def test_missing_folder(tmp_path, encoder, store):
    with pytest.raises(AudioError, match="missing: is not a folder"):
        embed_folder(tmp_path / "missing", encoder, store)


def test_progress_reaches_the_end(library, encoder, store):
    (library / "empty.mp3").touch()
    seen = []
    embed_folder(library, encoder, store, on_progress=seen.append)
    assert [at.done for at in seen] == list(range(1, 14))
    assert {at.total for at in seen} == {13}
    last = seen[-1]
    assert last.failed == 1
    assert last.audio_s == pytest.approx(sum(1.5 + 0.1 * i for i in range(12)))
    assert last.eta_s == 0
    middle = seen[6]
    assert middle.eta_s == pytest.approx(middle.seconds / middle.done * 6)
    assert middle.audio_hours_per_hour == pytest.approx(middle.audio_s / middle.seconds)
