"""Files that hang, kill or change under the processes that decode them; results that do not depend on these."""

import os
import signal
import threading
import time

import numpy as np
import pytest
import soundfile

from eno.audio.reading import read_windows
from eno.audio.windows import WindowPolicy
from eno.embeddings.job import decode_worker
from eno.embeddings.job.decode_worker import DecodeSettings
from eno.embeddings.job.decoding import DecodePool
from eno.embeddings.job.embed import embed_folder
from eno.embeddings.job.pipeline import LocalExecutor
from eno.embeddings.job.results import Failed
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.errors import AudioError
from tests.audio_files import music
from tests.fakes import ProjectionEncoder

POLICY = WindowPolicy(count=3)


@pytest.fixture
def audio(tmp_path):
    folder = tmp_path / "audio"
    folder.mkdir()
    for i in range(9):
        soundfile.write(folder / f"{i}.wav", music(1.5 + 0.2 * i, 8000, seed=i), 8000, subtype="FLOAT")
    return folder


def store_at(path, policy=POLICY):
    return EmbeddingStore.create(path, ProjectionEncoder().spec, policy=policy, dtype="float32")


def run(audio, store, **options):
    encoder = ProjectionEncoder()
    executor = LocalExecutor(encoder, store.policy, **options)
    report = embed_folder(audio, encoder, store, executor=executor)
    assert report.found == report.embedded + report.skipped + report.failed
    return report


@pytest.mark.parametrize("policy", [POLICY, WindowPolicy(hop_s=0.1)], ids=["three windows", "more than a slot holds"])
def test_results_are_those_of_one_file_after_the_other_with_any_number_of_workers(audio, tmp_path, policy):
    stores = []
    for workers in (1, 3):
        stores.append(store_at(tmp_path / f"{workers}", policy))
        run(audio, stores[-1], workers=workers)
    encoder = ProjectionEncoder()
    ids, starts, vectors = stores[0].windows()
    for name in sorted(os.listdir(audio)):
        windows = read_windows(audio / name, sample_rate=8000, window_samples=4000, policy=policy)
        np.testing.assert_array_equal(starts[ids == name], windows.starts_s)
        np.testing.assert_allclose(vectors[ids == name], encoder.encode(windows.samples), rtol=1e-4, atol=1e-4)
    others = stores[1].windows()
    np.testing.assert_array_equal(others[0], ids)
    np.testing.assert_array_equal(others[1], starts)
    np.testing.assert_allclose(others[2], vectors, rtol=1e-5, atol=1e-5)  # windows beside others in the batch


def test_file_that_hangs_fails_and_the_others_go_on(audio, tmp_path):
    for name in ("2 pipe.wav", "pipe.mp3"):
        os.mkfifo(audio / name)  # opening one waits for a writer that never comes
    store = store_at(tmp_path / "store")
    report = run(audio, store, workers=2, file_timeout_s=1.5)
    assert (report.embedded, report.failed) == (9, 2)
    for failure in store.ledger.failures():
        assert failure.track_id in ("2 pipe.wav", "pipe.mp3")
        assert failure.reason.startswith("gave nothing for 1.5 s while it was decoded")
        assert "--file-timeout" in failure.reason


def test_worker_that_is_killed_is_replaced_and_its_file_tried_again(audio, tmp_path):
    killed = []

    class Killing(ProjectionEncoder):
        def encode(self, windows):
            if len(killed) < 2:
                worker = pools[0]._workers[0]
                killed.append(worker.process.pid)
                os.kill(worker.process.pid, signal.SIGKILL)
            return super().encode(windows)

    pools = []

    class Executor(LocalExecutor):
        def pool(self):
            pools.append(super().pool())
            return pools[-1]

    store, encoder = store_at(tmp_path / "store"), Killing()
    report = embed_folder(audio, encoder, store, executor=Executor(encoder, POLICY, workers=1))
    assert (report.embedded, report.failed) == (9, 0)
    assert len(set(killed)) == 2
    undisturbed = store_at(tmp_path / "undisturbed")
    run(audio, undisturbed)
    np.testing.assert_allclose(store.windows()[2], undisturbed.windows()[2], rtol=1e-5, atol=1e-5)


def test_file_that_kills_its_worker_every_time_fails(audio, tmp_path):
    """The named pipe stands for a file that crashes the decoder: whoever opens it is killed meanwhile."""
    os.mkfifo(audio / "deadly.wav")
    encoder, killed = ProjectionEncoder(), []

    class Executor(LocalExecutor):
        def pool(self):
            pool = super().pool()
            threading.Thread(target=kill, args=(pool,), daemon=True).start()
            return pool

    def kill(pool):
        while len(killed) < 2:
            time.sleep(0.02)
            for worker in list(pool._workers):
                under_way = worker.jobs[0][1].track.id if worker.ready and worker.jobs else ""
                if under_way == "deadly.wav" and worker.process.pid not in killed:
                    time.sleep(0.2)
                    killed.append(worker.process.pid)
                    os.kill(worker.process.pid, signal.SIGKILL)

    store = store_at(tmp_path / "store")
    report = embed_folder(audio, encoder, store, executor=Executor(encoder, POLICY, workers=2))
    assert (report.embedded, report.failed) == (9, 1)
    (failure,) = store.ledger.failures()
    assert failure.track_id == "deadly.wav"
    assert "ended the process that decoded it 2 times (exit code -9)" in failure.reason


def test_file_replaced_before_it_was_read_is_that_of_the_next_run_too(audio, tmp_path):
    class Replacing(ProjectionEncoder):
        def encode(self, windows):
            soundfile.write(tmp_path / "new.wav", samples, 8000, subtype="FLOAT")
            if not replaced:
                (tmp_path / "new.wav").replace(audio / "8.wav")
                replaced.append(1)
            return super().encode(windows)

    samples, replaced = music(2, 8000, seed=50), []
    store, encoder = store_at(tmp_path / "store"), Replacing()
    embed_folder(audio, encoder, store, executor=LocalExecutor(encoder, POLICY, workers=1))
    windows = read_windows(audio / "8.wav", sample_rate=8000, window_samples=4000, policy=POLICY)
    np.testing.assert_allclose(store.windows(["8.wav"])[2], encoder.encode(windows.samples), rtol=1e-4, atol=1e-4)
    assert run(audio, store).skipped == 9


class Pipe:
    def __init__(self):
        self.sent = []

    def send(self, message):
        self.sent.append(message)


def test_file_that_changes_while_it_is_read_fails_and_keeps_its_slots(audio, monkeypatch):
    settings = DecodeSettings(ProjectionEncoder().spec, POLICY, slots=2, slot_windows=8, nice=0)
    memory = np.zeros(int(np.prod(settings.slot_shape)), np.float32)
    worker, path = decode_worker._Worker(pipe := Pipe(), memory, settings), audio / "3.wav"
    open_windows = decode_worker.open_windows

    def touched(*arguments, **options):
        os.utime(path, ns=(1, 1))
        return open_windows(*arguments, **options)

    monkeypatch.setattr(decode_worker, "open_windows", touched)
    with pytest.raises(AudioError, match="was changed while it was read; the next run takes it again"):
        worker._decode(0, str(path), None)
    assert [kind for kind, *_ in pipe.sent] == ["windows"]
    path.write_bytes(path.read_bytes()[:8000])
    for _ in range(5):
        with pytest.raises(AudioError):
            worker._decode(0, str(path), None)
    assert len(worker._free) == 1  # the other one was sent and has not come back


def test_errors_of_any_kind_are_those_of_their_file(audio, tmp_path, monkeypatch):
    settings = DecodeSettings(ProjectionEncoder().spec, POLICY, slots=2, slot_windows=8, nice=0)
    worker = decode_worker._Worker(pipe := Pipe(), np.zeros(64_000, np.float32), settings)
    worker._tracks.append((7, str(audio / "3.wav"), None))

    def exhausted(*_arguments, **_options):
        raise MemoryError("too much")

    monkeypatch.setattr(decode_worker, "open_windows", exhausted)
    pipe.recv = lambda: (_ for _ in ()).throw(EOFError)
    with pytest.raises(EOFError):
        worker.run()
    assert pipe.sent == [("ready",), ("failed", 7, "cannot be decoded (MemoryError: too much)")]


def test_consumer_that_is_slow_is_not_the_files_fault(audio):
    with DecodePool(ProjectionEncoder().spec, WindowPolicy(hop_s=0.1), workers=1, file_timeout_s=0.5) as pool:
        tasks = [decode_worker_task(path) for path in sorted(audio.iterdir())]
        events = []
        for event in pool.run(tasks, lambda: False):
            events.append(event)
            if hasattr(event, "release"):
                time.sleep(0.2)
                event.release()
    assert not any(isinstance(event, Failed) for event in events)


def decode_worker_task(path):
    from eno.data.library.files import Track
    from eno.embeddings.job.results import Task

    return Task(Track(path.name, str(path.parent), path.name))


def test_decoders_end_with_the_process_that_started_them(audio):
    pool = DecodePool(ProjectionEncoder().spec, POLICY, workers=2)
    pids = [worker.process.pid for worker in pool._workers]
    pool.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
