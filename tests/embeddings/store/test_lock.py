"""One writer at a time, also when the last one died."""

import errno
import json
import os
import socket
import subprocess
import sys

import pytest

from eno.audio.windows import WindowPolicy
from eno.embeddings.store import EmbeddingStore
from eno.embeddings.store.folder import Folder
from eno.embeddings.store.lock import LOCK_FILE, WriterLock
from eno.errors import StoreError
from tests.fakes import ProjectionEncoder


def test_second_writer_is_told_who_writes(tmp_path):
    with WriterLock(Folder(tmp_path)), pytest.raises(StoreError) as error, WriterLock(Folder(tmp_path)):
        pass
    message = str(error.value)
    assert f"process {os.getpid()} on {socket.gethostname()}" in message
    assert f"remove its {LOCK_FILE}" in message


def test_it_ends_with_the_writing_also_after_an_error(tmp_path):
    with pytest.raises(KeyError), WriterLock(Folder(tmp_path)):
        raise KeyError
    with WriterLock(Folder(tmp_path)):
        assert (tmp_path / LOCK_FILE).exists()
    assert not (tmp_path / LOCK_FILE).exists()


def test_lock_of_a_killed_process_is_taken_over(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from eno.embeddings.store.folder import Folder
from eno.embeddings.store.lock import WriterLock
with WriterLock(Folder(Path({str(tmp_path)!r}))):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    assert (tmp_path / LOCK_FILE).exists()
    with WriterLock(Folder(tmp_path)):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()


def test_lock_of_another_machine_stays(tmp_path):
    content = json.dumps({"host": "another-machine", "pid": 1, "since": "2026-01-01T00:00:00+00:00"})
    (tmp_path / LOCK_FILE).write_text(content)
    with pytest.raises(StoreError, match="another-machine"), WriterLock(Folder(tmp_path)):
        pass
    assert (tmp_path / LOCK_FILE).read_text() == content


def owner(**changes):
    mine = {"host": socket.gethostname(), "pid": os.getpid(), "since": "2001-01-01T00:00:00+00:00"}
    return json.dumps(mine | changes)


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(owner(), id="own number of an earlier start, as after a container was restarted"),
        pytest.param(owner(pid=1), id="number that now belongs to a process that started later"),
        pytest.param(owner(pid=1, since="2100-01-01T00:00:00+00:00", boot="earlier"), id="before the machine started"),
        pytest.param("", id="disk full when it was created"),
        pytest.param('{"host": "x", "pi', id="damaged"),
    ],
)
def test_lock_without_a_living_owner_is_taken_over(content, kernel, tmp_path, monkeypatch):
    if not kernel:
        monkeypatch.setattr("eno.embeddings.store.lock.fcntl", None)
    path = tmp_path / LOCK_FILE
    path.write_text(content)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    with WriterLock(Folder(tmp_path)) as lock:
        lock.check()
        assert json.loads(path.read_text())["since"][:4] >= "2026"
        with pytest.raises(StoreError, match="is being written by process"), WriterLock(Folder(tmp_path)):
            pass
        lock.check()
    assert not path.exists()


def test_empty_lock_from_before_the_clock_was_set_back_is_taken_over(tmp_path):
    (tmp_path / LOCK_FILE).touch()
    os.utime(tmp_path / LOCK_FILE, (4_000_000_000, 4_000_000_000))
    with WriterLock(Folder(tmp_path)) as lock:
        lock.check()


def test_lock_of_a_process_in_another_container_of_this_machine(tmp_path):
    code = f"""
from pathlib import Path
from eno.embeddings.store.folder import Folder
from eno.embeddings.store.lock import WriterLock
with WriterLock(Folder(Path({str(tmp_path)!r}))):
    print("locked", flush=True)
    input()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as other:
        other.stdout.readline()
        path = tmp_path / LOCK_FILE
        described = json.loads(path.read_text()) | {"pid": 2**22 + 1}  # a number that does not exist here
        path.write_text(json.dumps(described))
        with pytest.raises(StoreError, match="is being written"), WriterLock(Folder(tmp_path)):
            pass
        other.kill()
    path.write_text(json.dumps(described | {"host": "a container that was replaced"}))
    with WriterLock(Folder(tmp_path)) as lock:
        lock.check()


def test_unreadable_lock_may_be_unfinished(tmp_path):
    (tmp_path / LOCK_FILE).write_text("")
    with pytest.raises(StoreError, match="cannot be read"), WriterLock(Folder(tmp_path)):
        pass


def test_nothing_is_left_when_the_lock_cannot_be_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("eno.embeddings.store.lock.os.write", full)
        with pytest.raises(StoreError, match="No space left"), WriterLock(Folder(tmp_path)):
            pass
    assert os.listdir(tmp_path) == []


def test_nothing_is_left_when_the_store_cannot_be_prepared(tmp_path, monkeypatch):
    store = EmbeddingStore.create(tmp_path / "s", ProjectionEncoder().spec, policy=WindowPolicy())

    def fail(*_):
        raise StoreError("no space")

    with monkeypatch.context() as patch:
        patch.setattr("eno.embeddings.store.embedding_store.write_manifest", fail)
        with pytest.raises(StoreError, match="no space"), store.writing():
            pass
    with store.writing() as lock:
        lock.check()


def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(StoreError, match="cannot be written to"), WriterLock(Folder(tmp_path / "nowhere")):
        pass
