import json
import os
import signal
import time
from io import BytesIO

import librosa
import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch
import torchaudio.transforms as T

from eno.cnn import feature_files, features
from eno.cnn.feature_files import FeatureFailure, prepare_features, read_failures
from eno.cnn.features import AudioFeatureExtractor, frames_in
from eno.data.layout import DataRoot
from eno.data.splits.artist_split import SPLIT_SCHEMA, write_splits
from eno.errors import AudioError, CatalogueError, ConfigError
from tests.audio_files import music, write


def guides_recipe(waveform, rate, *, resample=False):

    if resample:
        waveform = T.Resample(rate, 16_000)(waveform)
    waveform = waveform.mean(dim=0, keepdim=True)
    mel = T.MelSpectrogram(sample_rate=16_000, n_mels=128, n_fft=2048, hop_length=512)(waveform)
    return torch.log(mel + 1e-9)


class TestExtractor:
    def test_equals_the_recipe_of_the_guide_at_16_khz(self, tmp_path):
        path = write(tmp_path, "wav-16", music(3.0, 16_000), 16_000)
        samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
        found = AudioFeatureExtractor().extract(path)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, guides_recipe(torch.from_numpy(samples.T), 16_000), rtol=1e-5, atol=1e-5)

    def test_is_close_to_the_recipe_with_resampling_by_torchaudio(self, tmp_path):
        path = write(tmp_path, "wav-16", music(3.0, 44_100), 44_100)
        samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
        expected = guides_recipe(torch.from_numpy(samples.T), 44_100, resample=True)
        found = AudioFeatureExtractor().extract(path)
        frames = min(found.shape[-1], expected.shape[-1])
        # The filters differ near 8 kHz, in the topmost bands.
        difference = (found - expected[..., :frames])[..., :118, :].abs()
        assert frames == found.shape[-1]
        assert difference.mean() < 0.01
        assert torch.quantile(difference, 0.99) < 0.1

    def test_agrees_with_librosa(self):
        samples = music(2.0, 16_000)[:, 0]
        power = np.abs(librosa.stft(samples, n_fft=2048, hop_length=512, pad_mode="reflect")) ** 2
        mel = librosa.filters.mel(sr=16_000, n_fft=2048, n_mels=128, htk=True, norm=None) @ power
        found = AudioFeatureExtractor().from_waveform(samples)
        np.testing.assert_allclose(found[0].numpy(), np.log(mel + 1e-9), atol=2e-3)

    def test_written_in_blocks_as_numpy_writes_the_whole(self, monkeypatch, tmp_path):
        path = write(tmp_path, "flac", music(5.0, 16_000), 16_000)
        whole, written = BytesIO(), BytesIO()
        np.save(whole, AudioFeatureExtractor().extract(path).numpy())
        monkeypatch.setattr(features, "_FRAMES_AT_ONCE", 33)
        AudioFeatureExtractor().extract_to(path, written)
        first, second = (np.load(BytesIO(one.getvalue())) for one in (whole, written))
        np.testing.assert_allclose(first, second, atol=1e-5)  # the FFT of other frames rounds differently
        monkeypatch.undo()
        written = BytesIO()
        AudioFeatureExtractor().extract_to(path, written)
        assert written.getvalue() == whole.getvalue()

    def test_long_audio_is_computed_in_chunks(self, monkeypatch):
        samples = music(4.0, 16_000)[:, 0]
        whole = AudioFeatureExtractor().from_waveform(samples)
        monkeypatch.setattr(features, "_FRAMES_AT_ONCE", 50)
        torch.testing.assert_close(AudioFeatureExtractor().from_waveform(samples), whole, rtol=1e-6, atol=1e-6)

    def test_a_batch_equals_its_rows(self):
        batch = torch.from_numpy(music(1.0, 16_000).T.copy())
        found = AudioFeatureExtractor(n_mels=64).from_waveform(batch)
        assert found.shape == (2, 64, frames_in(16_000)) == (2, 64, 32)
        for row, samples in zip(found, batch, strict=True):
            torch.testing.assert_close(AudioFeatureExtractor(n_mels=64).from_waveform(samples)[0], row)

    def test_silence_is_finite_and_short_audio_is_rejected(self):
        assert (AudioFeatureExtractor().from_waveform(np.zeros(8000)) == torch.log(torch.tensor(1e-9))).all()
        with pytest.raises(ValueError, match="expected more than 1024"):
            AudioFeatureExtractor().from_waveform(np.zeros(1024))

    @pytest.mark.parametrize("options", [{"n_mels": 0}, {"sample_rate": 100}])
    def test_settings_out_of_range(self, options):
        with pytest.raises(ConfigError, match=f"{next(iter(options))} is"):
            AudioFeatureExtractor(**options)

    def test_a_silent_file(self, tmp_path):
        path = write(tmp_path, "flac", np.zeros((32_000, 1)), 16_000)
        with pytest.raises(AudioError, match="silent"):
            AudioFeatureExtractor().extract(path)

    def test_a_long_file_reports_progress(self, tmp_path, monkeypatch):
        monkeypatch.setattr(features, "_FRAMES_AT_ONCE", 20)
        noted = []
        monkeypatch.setattr(features, "note_progress", lambda: noted.append(1))
        AudioFeatureExtractor().extract(write(tmp_path, "flac", music(4, 16_000), 16_000))
        assert len(noted) >= 6

    def test_a_file_without_audio(self, tmp_path):
        (tmp_path / "x.mp3").write_bytes(b"no music")
        with pytest.raises(AudioError, match=r"x\.mp3"):
            AudioFeatureExtractor().extract(tmp_path / "x.mp3")


@pytest.fixture
def collection(tmp_path):
    """Four tracks in three splits; one is damaged, and one has a name that is not UTF-8."""
    root = DataRoot(tmp_path)
    album = root.audio / "album"
    album.mkdir(parents=True)
    for number, name in enumerate(["a.wav", "b.wav", os.fsdecode(b"\xe9.wav")]):
        soundfile.write(os.fsencode(album / name), music(1.0, 16_000, seed=number), 16_000)
    (album / "broken.mp3").write_bytes(b"no music")
    ids = ["album/a.wav", "album/b.wav", "album/\\xe9.wav", "album/broken.mp3"]
    rows = [{"track_id": one, "file_name": "album", "primary_genres": ["jazz"]} for one in ids]
    parts = np.array(["train", "val", "test", "train"])
    write_splits(root.splits, pa.Table.from_pylist(rows, schema=SPLIT_SCHEMA), parts)
    return root


class TestPrepare:
    def test_report_and_failures(self, collection):
        shown = []
        report = prepare_features(collection, num_workers=0, on_progress=lambda *numbers: shown.append(numbers))
        assert (report.found, report.made, report.skipped, len(report.failures)) == (4, 3, 0, 1)
        assert shown == [(1, 4), (2, 4), (3, 4), (4, 4)]
        assert read_failures(collection) == report.failures
        assert report.failures[0].track_id == "album/broken.mp3"
        stored = np.load(collection.features / "album" / "a.wav.npy")
        expected = AudioFeatureExtractor().extract(collection.audio / "album" / "a.wav")
        np.testing.assert_array_equal(stored, expected.numpy())
        assert (collection.features / "album" / "\\xe9.wav.npy").is_file()
        assert not list(collection.features.rglob("*.tmp"))

    def test_a_second_run_computes_only_missing_and_outdated_features(self, collection):
        prepare_features(collection, num_workers=0)
        album = collection.audio / "album"
        soundfile.write(album / "a.wav", music(2.0, 16_000), 16_000)
        later = (collection.features / "album" / "a.wav.npy").stat().st_mtime + 10
        os.utime(album / "a.wav", (later, later))
        (collection.features / "album" / "b.wav.npy").unlink()
        (album / "broken.mp3").unlink()
        write(album, "flac", music(1.0, 16_000), 16_000).rename(album / "broken.mp3")
        report = prepare_features(collection, num_workers=0)
        assert (report.found, report.made, report.skipped, report.failures) == (4, 3, 1, [])
        assert np.load(collection.features / "album" / "a.wav.npy").shape == (1, 128, frames_in(32_000))
        assert read_failures(collection) == []

    def test_audio_that_is_replaced_by_an_older_file_is_computed_again(self, collection):
        prepare_features(collection, num_workers=0)
        audio = collection.audio / "album" / "a.wav"
        before = audio.stat()
        soundfile.write(audio, music(2.0, 16_000), 16_000)
        os.utime(audio, (before.st_mtime - 1000, before.st_mtime - 1000))
        assert prepare_features(collection, num_workers=0).made == 1
        assert np.load(collection.features / "album" / "a.wav.npy").shape == (1, 128, frames_in(32_000))
        assert prepare_features(collection, num_workers=0).made == 0

    def test_features_of_an_earlier_version_are_not_computed_again(self, collection):
        prepare_features(collection, num_workers=0)
        (collection.features / "sources.jsonl").unlink()
        assert prepare_features(collection, num_workers=0).made == 0
        audio = collection.audio / "album" / "a.wav"
        os.utime(audio, (0, 0))  # noticed, because the second run has recorded the files
        assert prepare_features(collection, num_workers=0).made == 1

    def test_an_interrupted_run_keeps_what_it_has_made(self, collection, monkeypatch):
        def stop(done, total):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            prepare_features(collection, num_workers=0, on_progress=stop)
        assert prepare_features(collection, num_workers=0).skipped == 1

    def test_several_audio_folders(self, collection, tmp_path):
        (tmp_path / "other" / "album").mkdir(parents=True)
        (collection.audio / "album" / "b.wav").rename(tmp_path / "other" / "album" / "b.wav")
        report = prepare_features(collection, num_workers=0, audio_roots=[collection.audio, tmp_path / "other"])
        assert [failure.track_id for failure in report.failures] == ["album/broken.mp3"]

    def test_other_settings_are_rejected(self, collection):
        prepare_features(collection, num_workers=0)
        with pytest.raises(CatalogueError, match=r"features\.json.*n_mels is 128 there and 64 now.*remove the folder"):
            prepare_features(collection, n_mels=64, num_workers=0)
        (collection.features / "features.json").write_text("{")
        with pytest.raises(CatalogueError, match=r"features\.json: is damaged"):
            prepare_features(collection, num_workers=0)

    def test_failures_of_other_splits_are_kept(self, collection):
        prepare_features(collection, num_workers=0)
        prepare_features(collection, num_workers=0, splits=("val",))
        assert [one.track_id for one in read_failures(collection)] == ["album/broken.mp3"]
        (collection.features / "failures.jsonl").write_text("[1]\n")
        with pytest.raises(CatalogueError, match=r"failures\.jsonl: is damaged"):
            read_failures(collection)

    def test_a_full_disk_is_reported_as_the_reason(self, collection, monkeypatch):
        def full(file, header):
            file.write(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(features.np.lib.format, "write_array_header_1_0", full)
        report = prepare_features(collection, num_workers=0)
        assert {one.reason for one in report.failures} >= {"features cannot be computed (No space left on device)"}
        assert not [path for path in collection.features.rglob("*") if path.suffix in (".npy", ".tmp")]

    def test_a_file_that_crashes_its_worker_does_not_affect_others(self, collection, monkeypatch):
        monkeypatch.setattr(feature_files, "_extract", _killed_by_b)
        report = prepare_features(collection, num_workers=2)
        assert report.made == 3
        assert report.failures == [
            FeatureFailure("album/b.wav", str(collection.audio / "album" / "b.wav"), report.failures[0].reason)
        ]
        assert "crashed the process that decoded it 2 times (killed by SIGKILL)" in report.failures[0].reason

    def test_a_file_that_hangs_does_not_affect_others(self, collection, monkeypatch):
        monkeypatch.setattr(feature_files, "_extract", _hangs_at_broken)
        report = prepare_features(collection, num_workers=2, file_timeout_s=1.5)
        assert (report.made, [one.track_id for one in report.failures]) == (3, ["album/broken.mp3"])
        assert "no progress for 1.5 s" in report.failures[0].reason

    def test_the_number_of_processes_does_not_matter(self, collection):
        prepare_features(collection, num_workers=0)
        alone = np.load(collection.features / "album" / "b.wav.npy")
        for path in collection.features.rglob("*.npy"):
            path.unlink()
        report = prepare_features(collection, num_workers=2)
        assert (report.made, len(report.failures)) == (3, 1)
        np.testing.assert_allclose(np.load(collection.features / "album" / "b.wav.npy"), alone, atol=1e-5)

    def test_failures_are_json_lines(self, collection):
        prepare_features(collection, num_workers=0)
        lines = (collection.features / "failures.jsonl").read_text().splitlines()
        assert [set(json.loads(line)) for line in lines] == [{"track_id", "path", "reason"}]


def _hangs_at_broken(extractor, job):
    while job.track_id == "album/broken.mp3":
        time.sleep(0.02)
    return feature_files._extract(extractor, job)


def _killed_by_b(extractor, job):
    if job.track_id == "album/b.wav":
        os.kill(os.getpid(), signal.SIGKILL)
