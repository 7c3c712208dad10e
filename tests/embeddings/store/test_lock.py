"""One writer at a time, also when the last one died."""

import json
import os
import socket
import subprocess
import sys

import pytest

from eno.embeddings.store.folder import Folder
from eno.embeddings.store.lock import LOCK_FILE, WriterLock
from eno.errors import StoreError


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


@pytest.mark.parametrize("content", ["", '{"host": "another-machine", "pid": 1, "since": "2026-01-01T00:00:00+00:00"}'])
def test_lock_of_another_machine_stays(tmp_path, content):
    (tmp_path / LOCK_FILE).write_text(content)
    with pytest.raises(StoreError, match=r"another-machine|cannot be read"), WriterLock(Folder(tmp_path)):
        pass
    assert (tmp_path / LOCK_FILE).read_text() == content


def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(StoreError, match="cannot be written to"), WriterLock(Folder(tmp_path / "nowhere")):
        pass
