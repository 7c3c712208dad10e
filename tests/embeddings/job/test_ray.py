"""The job on a Ray of two CPUs on this machine: as a user runs it, and with an actor that is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from eno.audio.windows import WindowPolicy
from eno.embeddings.job.embed import embed_folder
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.maintenance import verify_store
from tests.audio_files import music
from tests.fakes import ProjectionEncoder

POLICY = WindowPolicy(count=3)
TRACKS = 24

# Ray imports what it runs elsewhere by name, so the encoder is one that load_encoder finds.
RUN = """
import json, sys, time
import ray
from eno.audio.windows import WindowPolicy
from eno.embeddings.job.embed import embed_folder
from eno.embeddings.job.ray_job import RayExecutor
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.encoders import load_encoder

encoder = load_encoder("tests.embeddings.job.test_ray:SlowProjection")
store = EmbeddingStore.open_or_create(sys.argv[2], encoder.spec, policy=WindowPolicy(count=3), dtype="float32")
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
executor = RayExecutor(encoder.spec, store.policy, device="cpu", max_actors=2, share=4)
for _ in sys.stdin:  # starting Ray takes long, so several runs share it
    report = embed_folder(
        sys.argv[1], encoder, store, executor=executor, on_progress=lambda at: print(at.done, flush=True)
    )
    print(json.dumps([report.found, report.embedded, report.skipped, report.failed, report.left]), flush=True)
"""


class SlowProjection(ProjectionEncoder):
    def __init__(self):
        super().__init__()
        from dataclasses import replace

        self.spec = replace(self.spec, name="tests.embeddings.job.test_ray:SlowProjection", options={})

    def encode(self, windows):
        time.sleep(0.3)
        return super().encode(windows)


@pytest.fixture
def audio(tmp_path):
    folder = tmp_path / "audio"
    folder.mkdir()
    for i in range(TRACKS):
        soundfile.write(folder / f"{i:02d}.wav", music(2, 8000, seed=i), 8000)
    (folder / "03.wav").write_text("not music")
    os.rename(folder / "05.wav", folder / os.fsdecode(b"caf\xe9.wav"))
    return folder


@contextmanager
def ray_runs(audio, store, log):
    """Start a process that embeds the audio each time that it receives a line."""
    environment = os.environ | {"RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", RUN, str(audio), str(store)]
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
    try:
        yield process
        process.communicate(timeout=300)
        assert process.returncode == 0, log.read_text()
    finally:
        process.kill()


def begin(process):
    print("go", file=process.stdin, flush=True)


def report_of(process):
    """Wait for the report of a run; other lines are progress and messages of Ray."""
    return next(json.loads(line) for line in process.stdout if line.startswith("["))


def counts(report):
    return [report.found, report.embedded, report.skipped, report.failed, report.left]


def actors():
    """Processes that Ray runs encoders in."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::MapWorker(MapBatches(_Embedder))"):
            found.append(int(folder.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for Ray's processes in /proc")
def test_actor_that_is_killed_costs_nothing_but_time(audio, tmp_path):
    with ray_runs(audio, tmp_path / "store", tmp_path / "errors.txt") as process:
        begin(process)
        next(line for line in process.stdout if line.strip().isdigit())  # progress: work is under way
        victims = actors()
        assert victims
        os.kill(victims[0], signal.SIGKILL)
        assert report_of(process) == [TRACKS, TRACKS - 1, 0, 1, 0]
        store = EmbeddingStore.open(tmp_path / "store")
        check = verify_store(store)
        assert (check.problems, check.dead, check.tracks) == ([], 0, TRACKS - 1)
        assert r"caf\xe9.wav" in store.track_ids()
        local = EmbeddingStore.create(tmp_path / "local", SlowProjection().spec, policy=POLICY, dtype="float32")
        embed_folder(audio, SlowProjection(), local)
        assert store.ledger.failures() == local.ledger.failures()
        assert store.tracks().drop_columns("part").equals(local.tracks().drop_columns("part"))
        np.testing.assert_array_equal(store.windows()[1], local.windows()[1])
        np.testing.assert_allclose(store.windows()[2], local.windows()[2], rtol=1e-5, atol=1e-5)
        # Runs without and with Ray continue the same store.
        soundfile.write(audio / "new.wav", music(2, 8000, seed=99), 8000)
        assert counts(embed_folder(audio, SlowProjection(), store)) == [TRACKS + 1, 1, TRACKS - 1, 1, 0]
        soundfile.write(audio / "newer.wav", music(2, 8000, seed=100), 8000)
        begin(process)
        assert report_of(process) == [TRACKS + 2, 1, TRACKS, 1, 0]
