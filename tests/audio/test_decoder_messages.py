"""What C libraries print about damaged files stays off the terminal, and its meaning goes into the reason."""

import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from eno.audio.track_decoding import TrackRequest, track_pool
from eno.audio.windows import WindowPolicy
from eno.audio.workers.handle import TaskFailed
from eno.audio.workers.pool import WorkerPool
from eno.embeddings.store.embedding_store import EmbeddingStore
from tests.audio_files import music, write
from tests.fakes import ProjectionEncoder


@pytest.fixture
def damaged(tmp_path):
    """An MP3 file about which libmpg123 prints several lines."""
    (tmp_path / "audio").mkdir()
    path = write(tmp_path / "audio", "mp3", music(6, 44_100), 44_100)
    content = bytearray(path.read_bytes())
    third = len(content) // 3
    content[third : third + len(content) // 5] = np.random.default_rng(0).bytes(len(content) // 5)
    path.write_bytes(content)
    return path


PROBE = """
import os, sys
from eno.audio.decoder_messages import decoder_messages_hidden
from eno.audio.reading import decode
from eno.errors import AudioError
with decoder_messages_hidden():
    try:
        decode(sys.argv[1], sample_rate=16_000)
    except AudioError as error:
        print("caught", error.reason, file=sys.stderr)
    os.write(2, b"from another library\\n")
    print("of Python", file=sys.stderr)
print("afterwards", file=sys.stderr)
"""


def run_python(*arguments, **options):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False, **options
    )


def test_they_are_hidden_in_the_process_of_a_command_and_nothing_else_is(damaged):
    lines = [line for line in run_python("-c", PROBE, damaged).stderr.splitlines() if "replaced by silence" not in line]
    assert lines[0].startswith("caught is truncated or damaged: only 4.9")
    assert lines[1:] == ["of Python", "from another library", "afterwards"]


def test_embedding_a_damaged_file_prints_nothing_foreign_and_the_ledger_has_the_cause(damaged, tmp_path):
    write(damaged.parent, "flac", music(2, 44_100), 44_100)
    store = tmp_path / "store"
    command = ["-m", "eno", "embed", damaged.parent, "--store", store, "--encoder", "stats", "--tracking", "off"]
    result = run_python(*command, cwd=tmp_path, env=os.environ | {"COLUMNS": "500"})
    assert result.returncode == 1
    foreign = [line for line in result.stderr.splitlines() if not line.startswith(("embedding with stats", "error: "))]
    assert [line for line in foreign if "replaced by silence" not in line] == []
    (failure,) = EmbeddingStore.open(store).ledger.failures()
    assert failure.track_id == "mp3.mp3"
    assert failure.reason.startswith("is truncated or damaged: only 4.9")
    assert "(the decoder reported: Illegal Audio-MPEG-Header 0x" in failure.reason


def crash(message):
    os.write(2, f"something before\n{message}\n".encode())
    os.abort()


def test_the_last_line_of_a_crash_is_in_the_reason(capfd):
    with WorkerPool(crash, workers=1, attempts=1) as pool:
        (event,) = pool.run(["malloc(): corrupted top size"])
    assert isinstance(event, TaskFailed)
    assert "(killed by SIGABRT: malloc(): corrupted top size)" in event.reason
    assert capfd.readouterr().err == ""


def test_log_messages_of_workers_reach_the_logger_of_the_parent(tmp_path, caplog):
    samples = music(2, 16_000, 1)[:, 0]
    samples[:10] = np.nan

    soundfile.write(tmp_path / "nan.wav", samples, 16_000, subtype="FLOAT")
    with track_pool(ProjectionEncoder().spec, WindowPolicy(), workers=1) as pool:
        for event in pool.run([TrackRequest(str(tmp_path / "nan.wav"), None)]):
            if hasattr(event, "release"):
                event.release()
    assert "nan.wav: 10 NaN or infinite samples" in caplog.text
