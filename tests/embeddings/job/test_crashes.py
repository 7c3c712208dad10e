"""Runs that are killed at any moment: what they leave behind is whole, and the next run goes on."""

import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from eno.audio.windows import WindowPolicy
from eno.embeddings.job.embed import embed_folder
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.maintenance import verify_store
from tests.audio_files import music
from tests.fakes import ProjectionEncoder

KILLS, TRACKS = 25, 300
POLICY = WindowPolicy(count=2)

# Flushes often, so that kills meet it while it writes; says when work is under way.
RUN = """
import sys, time
from eno.embeddings.job import embed as job
from eno.embeddings.store.embedding_store import EmbeddingStore
from tests.fakes import ProjectionEncoder

class Slow(ProjectionEncoder):
    def encode(self, windows):
        time.sleep(0.12)
        return super().encode(windows)

job._FLUSH_S = 0.03
store = EmbeddingStore.open(sys.argv[2])
job.embed_folder(sys.argv[1], Slow(), store, on_progress=lambda *_: print("at work", flush=True))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    root = tmp_path_factory.mktemp("audio")
    for i in range(TRACKS - 2):
        soundfile.write(root / f"{i:03d}.wav", music(0.7, 8000, seed=i), 8000)
    (root / "bad 1.wav").write_text("not music")
    (root / "bad 2.flac").touch()
    return root


def test_store_after_many_kills_is_that_of_an_undisturbed_run(library, tmp_path):
    undisturbed = EmbeddingStore.create(tmp_path / "undisturbed", ProjectionEncoder().spec, policy=POLICY)
    embed_folder(library, ProjectionEncoder(), undisturbed)
    store = EmbeddingStore.create(tmp_path / "killed", ProjectionEncoder().spec, policy=POLICY)
    random = np.random.default_rng(0)
    command = [sys.executable, "-c", RUN, str(library), str(store.path)]
    progress = []
    for _ in range(KILLS):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"at work\n"  # or it ended before it could be killed
        time.sleep(random.uniform(0, 0.3))
        process.kill()
        process.communicate()
        # Whatever the moment: what is there is whole, and nothing that was there is gone.
        check = verify_store(store)
        assert (check.problems, check.dead) == ([], 0)
        progress.append(len(store.track_ids()))
        assert progress == sorted(progress)
    assert 10 < progress[-1] < TRACKS
    assert len(set(progress)) > KILLS / 2
    (store.path / "parts" / ".000099.parquet.1.tmp").write_bytes(b"half")  # as a kill while writing leaves it
    report = embed_folder(library, ProjectionEncoder(), store)
    assert (report.skipped, report.failed, report.left) == (progress[-1], 2, 0)
    check = verify_store(store)
    assert (check.problems, check.dead) == ([], 0)
    ids, starts, vectors = store.windows()
    expected_ids, expected_starts, expected_vectors = undisturbed.windows()
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_array_equal(starts, expected_starts)
    np.testing.assert_allclose(vectors, expected_vectors, rtol=2e-3, atol=1e-3)  # float16 rounding
    assert store.ledger.failures() == undisturbed.ledger.failures()
    leftovers = {path.name for path in store.path.rglob("*") if path.is_file() and path.suffix != ".parquet"}
    assert leftovers == {"manifest.json", "failures.jsonl", "parts.json"}, leftovers
