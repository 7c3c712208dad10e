"""Files that hang, kill or change under the processes that decode them; results that do not depend on these."""

import os
import signal
import threading
import time

import numpy as np
import pytest
import soundfile

from eno.audio.reading import read_windows
from eno.audio.track_decoding import TrackRequest, decode_track, track_pool
from eno.audio.windows import WindowPolicy
from eno.audio.workers.handle import TaskFailed
from eno.audio.workers.heartbeat import Heartbeat, note_progress, use_heartbeat
from eno.audio.workers.worker import WorkerSettings, _Worker
from eno.embeddings.job.embed import embed_folder
from eno.embeddings.job.pipeline import LocalExecutor
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.errors import AudioError
from tests.audio_files import music
from tests.fakes import ProjectionEncoder, with_hanging_files

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
    for name in ("2 hangs.wav", "hangs.mp3"):
        (audio / name).touch()
    store, encoder = store_at(tmp_path / "store"), ProjectionEncoder()
    report = embed_folder(audio, encoder, store, executor=WithHangingFiles(encoder, POLICY, file_timeout_s=2))
    assert (report.embedded, report.failed) == (9, 2)
    for failure in store.ledger.failures():
        assert failure.track_id in ("2 hangs.wav", "hangs.mp3")
        assert failure.reason.startswith("no progress for 2 s while it was decoded")
        assert "--file-timeout" in failure.reason
    report = run(audio, store)  # tries them again although they have not changed
    assert (report.skipped, report.failed) == (9, 2)
    assert {failure.reason for failure in store.ledger.failures()} == {
        "is empty (0 bytes); copy it again from its source"
    }


class WithHangingFiles(LocalExecutor):
    def pool(self):
        return with_hanging_files(super().pool())


def test_silence_is_not_stored(audio, tmp_path):
    """The store holds windows with sound only, at the right times; a silent track fails, once."""
    late = np.concatenate([np.zeros(8000), music(1, 8000, channels=1).reshape(-1)])
    soundfile.write(audio / "0.wav", late, 8000, subtype="FLOAT")
    soundfile.write(audio / "silent.wav", np.zeros(16_000), 8000)
    store = store_at(tmp_path / "store", WindowPolicy(hop_s=0.5))
    report = run(audio, store)
    assert (report.embedded, report.failed) == (9, 1)
    (failure,) = store.ledger.failures()
    assert failure.reason == "its 4 windows are silent, and silence has no tags and no neighbours"
    _, starts, vectors = store.windows(["0.wav"])
    assert starts.tolist() == [1, 1.5]
    expected = ProjectionEncoder().encode(late[8000:].astype(np.float32).reshape(2, 4000))
    np.testing.assert_allclose(vectors, expected, rtol=1e-4, atol=1e-4)
    os.utime(audio / "0.wav", ns=(1, 1))  # the same samples with another time: nothing is embedded again
    assert run(audio, store).skipped == 9


def test_pipes_and_devices_are_not_opened(audio, tmp_path):
    os.mkfifo(audio / "pipe.wav")
    (audio / "link.mp3").symlink_to("pipe.wav")
    (audio / "device.flac").symlink_to("/dev/zero")
    store = store_at(tmp_path / "store")
    assert run(audio, store, workers=1).failed == 3
    assert {failure.track_id: failure.reason for failure in store.ledger.failures()} == {
        "pipe.wav": "is a named pipe, not an audio file",
        "link.mp3": "is a named pipe, not an audio file",
        "device.flac": "is a device, not an audio file",
    }


class Suspending(ProjectionEncoder):
    """Suspends all processes while it computes, as a laptop does that sleeps."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds, self.pools = seconds, []

    def encode(self, windows):
        workers = [worker.process.pid for pool in self.pools for worker in pool._workers]
        self.pools = []  # only once
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(self.seconds if workers else 0)
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        return super().encode(windows)


def test_sleep_longer_than_the_limit_is_not_the_files_fault(audio, tmp_path):
    encoder, store = Suspending(4), store_at(tmp_path / "store", WindowPolicy(hop_s=0.1))

    class Executor(LocalExecutor):
        def pool(self):
            encoder.pools.append(super().pool())
            return encoder.pools[-1]

    executor = Executor(encoder, store.policy, workers=3, file_timeout_s=3)
    report = embed_folder(audio, encoder, store, executor=executor)
    assert (report.embedded, report.failed) == (9, 0)


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
    """The file hangs until its worker is killed."""
    (audio / "deadly hangs.wav").touch()
    encoder, killed = ProjectionEncoder(), []

    class Executor(LocalExecutor):
        def pool(self):
            pool = with_hanging_files(super().pool())
            threading.Thread(target=kill, args=(pool,), daemon=True).start()
            return pool

    def kill(pool):
        while len(killed) < 2:
            time.sleep(0.02)
            for worker in list(pool._workers):
                under_way = worker.jobs[0][1].track.id if worker.ready and worker.jobs else ""
                if under_way == "deadly hangs.wav" and worker.process.pid not in killed:
                    time.sleep(0.2)
                    killed.append(worker.process.pid)
                    os.kill(worker.process.pid, signal.SIGKILL)

    store = store_at(tmp_path / "store")
    report = embed_folder(audio, encoder, store, executor=Executor(encoder, POLICY, workers=2))
    assert (report.embedded, report.failed) == (9, 1)
    (failure,) = store.ledger.failures()
    assert failure.track_id == "deadly hangs.wav"
    assert "crashed the process that decoded it 2 times (killed by SIGKILL)" in failure.reason


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


def request(path):
    return TrackRequest(str(path), None)


def test_file_that_is_modified_while_it_is_read_fails(audio):
    path = audio / "3.wav"
    values = decode_track(ProjectionEncoder().spec, POLICY, request(path))
    assert next(values).duration_s == pytest.approx(2.1)
    os.utime(path, ns=(1, 1))
    with pytest.raises(AudioError, match="was modified while it was being read; the next run tries it again"):
        list(values)


class Pipe:
    """Stands for the pipe of a worker that is given some tasks and is then closed."""

    def __init__(self, *tasks):
        self.sent, self.tasks = [], list(enumerate(tasks))

    def poll(self):
        return False

    def send(self, message):
        self.sent.append(message)

    def recv(self):
        if not self.tasks:
            raise EOFError
        return ("task", *self.tasks.pop(0))


class Stderr:
    def clear(self):
        pass

    def reported(self):
        return ""


def run_worker_on(pipe, work, slot_windows=8):
    settings = WorkerSettings(work=work, slots=2, slot_shape=(slot_windows, 4000), nice=0, memory_bytes=None)
    one = _Worker(pipe, np.zeros(2 * slot_windows * 4000, np.float32), Heartbeat(), settings, Stderr())
    with pytest.raises(EOFError):
        one.run()
    return one


def test_damaged_files_keep_no_slots(audio):
    def two_windows(_):
        yield np.ones(4000, np.float32)
        yield np.ones(4000, np.float32)
        raise AudioError("x", "is damaged")

    one = run_worker_on(pipe := Pipe(*"abcde"), two_windows)
    assert len(one._free) == 2
    assert pipe.sent == [("ready",), *(("failed", job, "is damaged") for job in range(5))]


def test_errors_of_any_kind_are_those_of_their_file(audio, monkeypatch):
    def exhausted(_):
        raise MemoryError("too much")

    run_worker_on(pipe := Pipe("3.wav"), exhausted)
    assert pipe.sent == [("ready",), ("failed", 0, "cannot be decoded (MemoryError: too much)")]


def test_consumer_that_is_slow_is_not_the_files_fault(audio):
    with track_pool(ProjectionEncoder().spec, WindowPolicy(hop_s=0.1), workers=1, file_timeout_s=0.5) as pool:
        events = []
        for event in pool.run([request(path) for path in sorted(audio.iterdir())]):
            events.append(event)
            if hasattr(event, "release"):
                time.sleep(0.2)
                event.release()
    assert not any(isinstance(event, TaskFailed) for event in events)


def test_long_computation_that_goes_on_does_not_hang():
    heartbeat = Heartbeat()
    assert heartbeat.stalled_s() == -np.inf  # nothing to do
    heartbeat.progress()
    for _ in range(3):
        heartbeat.tick()
    assert heartbeat.stalled_s() == pytest.approx(0.3)
    with heartbeat.paused():
        heartbeat.tick()
        assert heartbeat.stalled_s() == -np.inf
    assert heartbeat.stalled_s() == pytest.approx(0.3)
    note_progress()  # in a process that is no worker
    assert heartbeat.stalled_s() == pytest.approx(0.3)
    use_heartbeat(heartbeat)
    note_progress()
    assert heartbeat.stalled_s() == 0


def test_no_more_workers_start_than_there_are_files(audio):
    with track_pool(ProjectionEncoder().spec, POLICY, workers=8) as pool:
        assert pool._workers == []
        list(pool.run([]))
        assert pool._workers == []
        for event in pool.run([request(audio / "1.wav")]):
            if hasattr(event, "release"):
                event.release()
        assert len(pool._workers) == 1


def test_decoders_end_with_the_process_that_started_them(audio):
    pool = track_pool(ProjectionEncoder().spec, POLICY, workers=2)
    pool.start()
    pids = [worker.process.pid for worker in pool._workers]
    pool.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
