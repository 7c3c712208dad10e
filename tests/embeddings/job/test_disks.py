"""Disks that are full, and stores that may only be read: on a file system of their own, in a namespace of their own."""

import os
import subprocess
import sys
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
TRACKS = 60
_PRIVATE = ["unshare", "--mount", "--map-root-user", "sh", "-c"]


def may_mount():
    try:
        tried = subprocess.run([*_PRIVATE, "mount -t tmpfs tmpfs /mnt"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return tried.returncode == 0


pytestmark = pytest.mark.skipif(not may_mount(), reason="needs the right to mount in a namespace of its own")

EMBED = """
import sys
from eno.embeddings.job import embed as job
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.errors import StoreError
from tests.fakes import ProjectionEncoder

job.PART_BYTES = 40_000
store = EmbeddingStore.open(sys.argv[2])
try:
    job.embed_folder(sys.argv[1], ProjectionEncoder(dim=1500), store)
except StoreError as error:
    print(error)
    sys.exit(7)
"""


@pytest.fixture
def audio(tmp_path):
    folder = tmp_path / "audio"
    folder.mkdir()
    for i in range(TRACKS):
        soundfile.write(folder / f"{i:02d}.wav", music(1.5, 8000, seed=i), 8000)
    (folder / "00.wav").write_text("not music")
    return folder


def embed_in(mount, audio, store, copy_to=None):
    """Embed where `store` lies on something that `mount` mounts there first."""
    keep = f"; code=$?; cp -r {store} {copy_to}; exit $code" if copy_to else ""
    command = f"{mount} && {{ {sys.executable} -c '{EMBED}' {audio} {store} {keep}; }}"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run([*_PRIVATE, command], capture_output=True, text=True, env=environment, check=False)


def test_full_disk_is_an_error_and_what_was_written_stays(audio, tmp_path):
    encoder = ProjectionEncoder(dim=1500)
    empty = EmbeddingStore.create(tmp_path / "empty", encoder.spec, policy=POLICY)
    store = tmp_path / "store"
    store.mkdir()
    mount = f"mount -t tmpfs -o size=300k tmpfs {store} && cp -r {empty.path}/. {store}"
    result = embed_in(mount, audio, store, copy_to=tmp_path / "after")
    assert result.returncode == 7, result.stderr
    assert "cannot be written (No space left on device)" in result.stdout
    after = EmbeddingStore.open(tmp_path / "after")
    done = len(after.track_ids())
    assert 0 < done < TRACKS - 1
    check = verify_store(after)
    assert (check.problems, check.dead) == ([], 0)
    report = embed_folder(audio, encoder, after)  # with room again
    assert (report.embedded, report.skipped, report.failed, report.left) == (TRACKS - 1 - done, done, 1, 0)
    assert [failure.track_id for failure in after.ledger.failures()] == ["00.wav"]
    assert verify_store(after).problems == []


def test_store_that_may_only_be_read_is_refused_before_anything_is_done(audio, tmp_path):
    encoder = ProjectionEncoder(dim=1500)
    store = EmbeddingStore.create(tmp_path / "store", encoder.spec, policy=POLICY)
    vectors = np.random.default_rng(0).standard_normal((1, 1, 1500)).astype(np.float32)
    store.append(["01.wav"], np.zeros(1), vectors)
    result = embed_in(f"mount --bind -o ro {store.path} {store.path}", audio, store.path)
    assert result.returncode == 7, result.stderr
    assert "cannot be written to (Read-only file system)" in result.stdout
    assert store.track_ids() == ["01.wav"]
    read = f"""
from eno.embeddings.store.embedding_store import EmbeddingStore
print(EmbeddingStore.open("{store.path}").matrix()[1].sum())
"""
    command = f"mount --bind -o ro {store.path} {store.path} && {sys.executable} -c '{read}'"
    result = subprocess.run([*_PRIVATE, command], capture_output=True, text=True, check=False)
    assert float(result.stdout) == pytest.approx(float(vectors.astype(np.float16).astype(np.float32).sum()), rel=1e-4)
