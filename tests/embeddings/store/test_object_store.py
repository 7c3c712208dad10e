"""A store in S3, held by an S3-compatible server process on this machine."""

import os
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
import soundfile
from pyarrow import fs
from typer.testing import CliRunner

from eno.audio.windows import WindowPolicy
from eno.cli import app
from eno.embeddings.job.embed import embed_folder
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.folder import Folder
from eno.embeddings.store.lock import WriterLock
from eno.embeddings.store.maintenance import compact_store, export_store, verify_store
from eno.errors import StoreError
from tests.audio_files import music
from tests.fakes import ProjectionEncoder

POLICY = WindowPolicy(count=3)


@pytest.fixture(scope="module")
def server():
    """The address of a server; it keeps all in memory."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def uri(server, monkeypatch, request, tmp_path):
    for name, value in {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "x"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ENO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("eno.embeddings.store.folder._SETTLE_S", 0.1)
    fs.S3FileSystem(endpoint_override=server, scheme="http", allow_bucket_creation=True).create_dir("bucket")
    return f"s3://bucket/{request.node.name}/store?endpoint_override={server}&scheme=http"


@pytest.fixture
def audio(tmp_path):
    folder = tmp_path / "audio"
    folder.mkdir()
    for i in range(12):
        soundfile.write(folder / f"{i:02d}.wav", music(2, 8000, seed=i), 8000)
    (folder / "bad.wav").write_text("not music")
    return folder


def test_the_whole_life_of_a_store(uri, audio, tmp_path, monkeypatch):
    encoder = ProjectionEncoder()
    monkeypatch.setattr("eno.embeddings.job.embed.PART_BYTES", 100)
    store = EmbeddingStore.open_or_create(uri, encoder.spec, policy=POLICY)
    report = embed_folder(audio, encoder, store)
    assert (report.embedded, report.failed) == (12, 1)
    local = EmbeddingStore.create(tmp_path / "local", encoder.spec, policy=POLICY)
    embed_folder(audio, encoder, local)
    store = EmbeddingStore.open(uri)
    assert store.ledger.failures() == local.ledger.failures()
    assert len(store.parts.all()) > 3

    def same():
        for one, other in zip(
            (*store.windows(), store.matrix()[1]), (*local.windows(), local.matrix()[1]), strict=True
        ):
            if one.dtype == object:
                assert one.tolist() == other.tolist()
            else:
                np.testing.assert_allclose(one, other, rtol=2e-3, atol=1e-3)

    same()
    assert list((tmp_path / "cache" / "stores").rglob("*.npy"))
    (audio / "03.wav").unlink()
    soundfile.write(audio / "04.wav", music(2, 8000, seed=44), 8000)
    for one in (store, local):
        report = embed_folder(audio, encoder, one)
        assert (report.embedded, report.skipped, report.changed, report.vanished) == (1, 10, 1, 1)
    same()
    assert compact_store(store).parts_after == 1
    same()
    check = verify_store(store)
    assert (check.problems, check.dead, check.tracks) == ([], 0, 11)
    assert export_store(store, tmp_path / "export") == 11


def test_commands_take_the_address(uri, audio):
    encoder = ProjectionEncoder()
    embed_folder(audio, encoder, EmbeddingStore.create(uri, encoder.spec, policy=POLICY))
    info = CliRunner().invoke(app, ["store", "info", uri])
    assert "12 tracks, 36 windows, 1 failures" in info.output
    assert CliRunner().invoke(app, ["store", "verify", uri]).output.splitlines()[-1] == "no problems"


def test_second_writer_is_refused_and_a_dead_one_is_explained(uri):
    folder = Folder(uri)
    with WriterLock(folder), pytest.raises(StoreError, match=f"process {os.getpid()}") as caught, WriterLock(folder):
        pass
    assert "endpoint_override" not in str(caught.value)  # an address may hold secrets
    with WriterLock(folder):
        pass


def test_of_two_who_lock_at_once_one_is_refused(uri, monkeypatch):
    """Both see no lock; the second to write is the one that has it."""
    first, second = Folder(uri), Folder(uri)
    order = []
    write = Folder.write

    def interleaved(folder, name, content):
        write(folder, name, content)
        if folder is first:
            assert second.create(name, b"second") is True
            order.append("second")

    exists = Folder.exists
    monkeypatch.setattr(Folder, "exists", lambda folder, name: folder is first and exists(folder, name))
    monkeypatch.setattr(Folder, "write", interleaved)
    assert first.create("writer.lock", b"first") is False
    assert order == ["second"]


def test_lost_lock_stops_the_writing(uri, audio):
    class Stolen(ProjectionEncoder):
        def encode(self, windows):
            store.folder.write("writer.lock", b"{}")
            return super().encode(windows)

    encoder = Stolen()
    store = EmbeddingStore.create(uri, encoder.spec, policy=POLICY)
    with pytest.raises(StoreError, match="of this run was removed or replaced"):
        embed_folder(audio, encoder, store)
    assert store.parts.all() == []


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("s3://no-such-bucket/store", "cannot be"),
        ("nonsense://somewhere", "cannot be reached"),
    ],
)
def test_places_that_cannot_be_had(uri, place, reason):
    spec = ProjectionEncoder().spec
    if place.startswith("s3"):
        place += "?" + uri.partition("?")[2]
    with pytest.raises(StoreError, match=reason):
        EmbeddingStore.create(place, spec, policy=POLICY)
