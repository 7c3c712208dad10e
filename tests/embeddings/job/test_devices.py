"""Several devices, each with a process of its own; devices that are not there, or too small."""

import json
import logging
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from eno.audio.windows import WindowPolicy
from eno.embeddings.job.device_processes import DevicesExecutor
from eno.embeddings.job.embed import embed_folder
from eno.embeddings.job.pipeline import LocalExecutor
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.maintenance import verify_store
from eno.encoders.torch_encoder import TorchEncoder
from eno.errors import ConfigError, EnoError
from tests.audio_files import music
from tests.command import eno
from tests.fakes import ProjectionEncoder

POLICY = WindowPolicy(count=3)
TRACKS = 30


class Linear(TorchEncoder):
    """A projection in PyTorch, on a device whose memory takes `fits` windows at a time."""

    def __init__(self, *, device="auto", dtype="auto", batch_size=16, fits=1000):
        super().__init__(device=device, dtype=dtype, batch_size=batch_size)
        fake = ProjectionEncoder()
        self.spec = replace(fake.spec, name="tests.embeddings.job.test_devices:Linear", options={})
        self.fits, self.batches = fits, []
        self._projection = torch.from_numpy(fake.projection).to(self.device)

    def _forward(self, audio):
        if len(audio) > self.fits:
            raise torch.OutOfMemoryError("tried to allocate 2 GiB")
        self.batches.append(len(audio))
        return (audio @ self._projection).unsqueeze(1)


class Slow(Linear):
    def __init__(self, **options):
        super().__init__(**options)
        self.spec = replace(self.spec, name="tests.embeddings.job.test_devices:Slow")

    def _forward(self, audio):
        time.sleep(0.5)
        return super()._forward(audio)


class Failing(Linear):
    def __init__(self, **options):
        super().__init__(**options)
        self.spec = replace(self.spec, name="tests.embeddings.job.test_devices:Failing")

    def _forward(self, audio):
        raise RuntimeError("CUDA error: unspecified launch failure")


@pytest.fixture
def audio(tmp_path):
    folder = tmp_path / "audio"
    folder.mkdir()
    for i in range(TRACKS):
        soundfile.write(folder / f"{i:02d}.wav", music(1.5, 8000, seed=i), 8000)
    (folder / "07.wav").write_text("not music")
    return folder


def store_of(path, encoder):
    return EmbeddingStore.open_or_create(path, encoder.spec, policy=POLICY, dtype="float32")


def devices(encoder):
    return DevicesExecutor(encoder.spec, POLICY, ["cpu", "cpu"], workers=2)


def test_shares_of_several_processes_make_the_store_of_one(audio, tmp_path):
    encoder = Linear(device="cpu")
    store, alone = store_of(tmp_path / "s", encoder), store_of(tmp_path / "alone", encoder)
    report = embed_folder(audio, encoder, store, executor=devices(encoder))
    assert (report.embedded, report.failed, report.left) == (TRACKS - 1, 1, 0)
    embed_folder(audio, encoder, alone)
    assert store.ledger.failures() == alone.ledger.failures()
    assert store.tracks().drop_columns("part").equals(alone.tracks().drop_columns("part"))
    np.testing.assert_allclose(store.windows()[2], alone.windows()[2], rtol=1e-4, atol=1e-5)


def children(pid):
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_device_whose_process_is_killed_ends_the_run_and_loses_nothing(audio, tmp_path):
    encoder = Slow(device="cpu", batch_size=8)
    store = store_of(tmp_path / "s", encoder)
    killed = []

    def kill_one(progress):
        if progress.done - progress.failed and not killed:
            named = [pid for pid in children(os.getpid()) if children(pid)]  # those that have decoders
            killed.append(named[0])
            os.kill(named[0], signal.SIGKILL)

    with pytest.raises(EnoError, match="process of device cpu was killed"):
        embed_folder(audio, encoder, store, executor=devices(encoder), on_progress=kill_one)
    done = len(store.track_ids())
    assert 0 < done < TRACKS
    assert verify_store(store).problems == []
    report = embed_folder(audio, encoder, store)
    assert (report.embedded, report.skipped, report.failed) == (TRACKS - 1 - done, done, 1)


def test_error_of_an_encoder_is_told_with_its_device(audio, tmp_path):
    encoder = Failing(device="cpu")
    with pytest.raises(EnoError, match="Device cpu: RuntimeError: CUDA error: unspecified launch failure"):
        embed_folder(audio, encoder, store_of(tmp_path / "s", encoder), executor=devices(encoder))


def test_interrupt_ends_all_processes_with_what_they_have(audio, tmp_path):
    encoder = Slow(device="cpu", batch_size=8)
    store = store_of(tmp_path / "s", encoder)
    asked = []

    def ask(_progress):
        if not asked:
            asked.append(os.kill(os.getpid(), signal.SIGINT))

    report = embed_folder(audio, encoder, store, executor=devices(encoder), on_progress=ask)
    assert 0 < report.left < TRACKS
    assert len(store.track_ids()) == report.embedded > 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:0,cuda:1", "cpu,cuda:7", "gpu"])
def test_device_that_is_not_there_is_an_error(audio, tmp_path, device):
    result = eno("embed", audio, "--encoder", "stats", "--device", device, cwd=tmp_path)
    assert result.returncode == 1
    assert "cannot be used" in " ".join(result.stderr.split())
    assert "sees 0 GPUs" in " ".join(result.stderr.split())


class TestOutOfMemory:
    def test_halves_the_batch_says_so_and_goes_on(self, audio, tmp_path, caplog):
        encoder, plenty = Linear(device="cpu", batch_size=64, fits=5), Linear(device="cpu")
        store, expected = store_of(tmp_path / "s", encoder), store_of(tmp_path / "plenty", plenty)
        with caplog.at_level(logging.WARNING):
            embed_folder(audio, encoder, store, executor=LocalExecutor(encoder, POLICY, workers=1))
        assert encoder.batch_size == 4
        assert max(encoder.batches) == 4
        said = [record.getMessage() for record in caplog.records if "ran out of memory" in record.getMessage()]
        assert said == [f"cpu ran out of memory: the batch size is now {size}" for size in (32, 16, 8, 4)]
        embed_folder(audio, plenty, expected)
        np.testing.assert_allclose(store.windows()[2], expected.windows()[2], rtol=1e-4, atol=1e-5)

    def test_one_window_that_does_not_fit_is_an_error(self):
        encoder = Linear(device="cpu", fits=0)
        with pytest.raises(ConfigError, match="A single window does not fit the memory of cpu"):
            encoder.encode(np.zeros((3, 4000), np.float32))


def test_progress_as_lines_of_json(audio, tmp_path):
    result = eno("embed", audio, "--encoder", "stats", "--store", tmp_path / "s", "--json-log", cwd=tmp_path)
    lines = [json.loads(line) for line in result.stderr.splitlines() if line.startswith("{")]
    assert lines[-1]["event"] == "end"
    assert [lines[-1][name] for name in ("found", "embedded", "failed", "left")] == [TRACKS, TRACKS - 1, 1, 0]
    assert [failure["track_id"] for failure in lines[-1]["failures"]] == ["07.wav"]
    last = [line for line in lines if line["event"] == "progress"][-1]
    assert (last["done"], last["total"], last["failed"], last["eta_s"]) == (TRACKS, TRACKS, 1, 0)
    assert last["tracks_per_s"] == pytest.approx(last["done"] / last["seconds"])
