"""The job on a Ray of two CPUs on this machine: as a user runs it, and with an actor that is killed."""

import json
import os
import signal
import subprocess
import sys
import time
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
report = embed_folder(sys.argv[1], encoder, store, executor=executor, on_progress=lambda at: print(at.done, flush=True))
print(json.dumps([report.found, report.embedded, report.skipped, report.failed, report.left]))
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


def start(audio, store):
    environment = os.environ | {"RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(audio), str(store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def ended(output):
    """The report; Ray prints before and after it."""
    return next(json.loads(line) for line in output.splitlines() if line.startswith("["))


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
    process = start(audio, tmp_path / "store")
    try:
        assert process.stdout.readline()  # at work
        victims = actors()
        assert victims
        os.kill(victims[0], signal.SIGKILL)
        output, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert ended(output) == [TRACKS, TRACKS - 1, 0, 1, 0]
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
    # The same store goes on here and there.
    soundfile.write(audio / "new.wav", music(2, 8000, seed=99), 8000)
    again = start(audio, tmp_path / "store")
    output, errors = again.communicate(timeout=300)
    assert ended(output) == [TRACKS + 1, 1, TRACKS - 1, 1, 0], errors
