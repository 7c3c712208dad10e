"""The encoder queue: decoding in worker processes, batching, and isolation of errors."""

import tempfile
import threading
import time

import numpy as np
import pytest
import soundfile

from eno.audio.reading import read_windows
from eno.audio.windows import WindowPolicy
from eno.errors import AudioError
from eno.serving.batching import EncoderQueue
from eno.serving.decoding import DecodeTask, read_upload, upload_pool
from eno.serving.errors import Problem
from eno.serving.service import RequestLimit
from eno.serving.uploads import UploadFolder
from tests.audio_files import music
from tests.fakes import ProjectionEncoder, with_hanging_files

RATE = 8000


class SlowEncoder(ProjectionEncoder):
    """Waits for an event, and records the size of each batch."""

    def __init__(self):
        super().__init__()
        self.may, self.entered, self.batches = threading.Event(), threading.Event(), []
        self.may.set()

    def encode(self, windows):
        self.entered.set()
        assert self.may.wait(30)
        self.batches.append(len(windows))
        return super().encode(windows)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("songs")
    for i in range(6):
        soundfile.write(folder / f"{i}.wav", music(2.0 + i, RATE, seed=i), RATE)
    return [folder / f"{i}.wav" for i in range(6)]


@pytest.fixture
def queue():
    queue = EncoderQueue(SlowEncoder(), decoders=2, decode_timeout_s=1.0, max_duration_s=60)
    queue.start()
    yield queue
    queue.encoders[0].may.set()
    queue.close()


def encoding(queue, path, policy):
    return queue.encode_file(path, [(encoder, policy) for encoder in queue.encoders], None)


def vectors(queue, path, policy):
    spec = queue.encoders[0].spec
    windows = read_windows(path, sample_rate=RATE, window_samples=spec.window_samples, policy=policy)
    return ProjectionEncoder().encode(windows.samples), windows.starts_s


@pytest.mark.parametrize("policy", [WindowPolicy(count=3), WindowPolicy(hop_s=0.1)])
def test_files_are_encoded_as_without_the_queue(queue, songs, policy):
    waiting = [encoding(queue, path, policy) for path in songs]
    for path, future in zip(songs, waiting, strict=True):
        encoded, (expected, starts_s) = future.result(30), vectors(queue, path, policy)
        np.testing.assert_allclose(encoded.vectors[0], expected, rtol=1e-5, atol=1e-4)
        np.testing.assert_array_equal(encoded.starts_s[0], starts_s)
        assert encoded.duration_s == soundfile.info(path).duration


def test_waiting_files_are_encoded_in_one_batch(queue, songs):
    queue.encoders[0].may.clear()
    waiting = [encoding(queue, songs[0], WindowPolicy(count=3))]
    assert queue.encoders[0].entered.wait(30)
    waiting += [encoding(queue, path, WindowPolicy(count=3)) for path in songs[1:4]]
    while queue._model.qsize() < 3:
        time.sleep(0.01)
    queue.encoders[0].may.set()
    for future in waiting:
        future.result(30)
    assert queue.encoders[0].batches == [3, 9]


def test_cancelled_files_are_not_encoded(queue, songs):
    queue.encoders[0].may.clear()
    first = encoding(queue, songs[0], WindowPolicy(count=3))
    assert queue.encoders[0].entered.wait(30)
    gone = [encoding(queue, path, WindowPolicy(count=3)) for path in songs[1:4]]
    last = encoding(queue, songs[4], WindowPolicy(count=2))
    assert all(future.cancel() for future in gone)
    queue.encoders[0].may.set()
    first.result(30), last.result(30)
    assert sum(queue.encoders[0].batches) == 5


def test_closing_finishes_the_queue(songs):
    queue = EncoderQueue(ProjectionEncoder(), decoders=1)
    queue.start()
    waiting = [encoding(queue, path, WindowPolicy(count=3)) for path in songs]
    called = queue.call(lambda: 7)
    queue.close()
    assert all(future.done() and len(future.result().vectors[0]) == 3 for future in waiting)
    assert called.result() == 7


def test_an_encoder_error_affects_only_its_batch(queue, songs, caplog):
    encode, queue.encoders[0].encode = queue.encoders[0].encode, lambda windows: 1 / 0
    with pytest.raises(ZeroDivisionError):
        encoding(queue, songs[0], WindowPolicy()).result(30)
    queue.encoders[0].encode = encode
    assert len(encoding(queue, songs[0], WindowPolicy(count=2)).result(30).vectors[0]) == 2


def test_values_that_are_not_finite_are_an_error(queue, songs):
    queue.encoders[0].encode = lambda windows: np.full((len(windows), 1, 6), np.nan, np.float32)
    with pytest.raises(AudioError, match="not finite"):
        encoding(queue, songs[0], WindowPolicy()).result(30)


MANY_WINDOWS = WindowPolicy(hop_s=0.01)  # more than are decoded ahead


def task(path, policy):
    return DecodeTask(path, policy, max_duration_s=60)


def test_a_file_that_hangs_times_out_and_the_next_is_decoded(songs, tmp_path):
    (tmp_path / "hangs.wav").touch()
    hangs = task(tmp_path / "hangs.wav", MANY_WINDOWS)
    with with_hanging_files(upload_pool(ProjectionEncoder().spec, timeout_s=0.5)) as pool:
        with pytest.raises(AudioError, match=r"no progress for 0\.5 s"):
            next(read_upload(pool, hangs))
        with pytest.raises(AudioError, match="no longer needed"):
            next(read_upload(pool, hangs, needed=lambda: False))
        _, chunk = read_upload(pool, task(songs[0], WindowPolicy(count=2)))
        assert len(chunk) == 2


def test_a_crash_of_the_decoder_affects_only_its_file(songs):
    with upload_pool(ProjectionEncoder().spec, timeout_s=10) as pool:
        contents = read_upload(pool, task(songs[0], MANY_WINDOWS))
        next(contents)
        (worker,) = pool._workers
        worker.process.kill()
        worker.process.join()
        with pytest.raises(AudioError, match="crashed the process"):
            list(contents)
        for _ in range(2):  # also after a file that was not read to its end
            contents = read_upload(pool, task(songs[1], MANY_WINDOWS))
            assert next(contents).duration_s == 3.0
            (worker,) = pool._workers
            contents.close()
            assert pool._workers == [worker]
            assert worker.process.is_alive()


def test_requests_over_the_limit_are_refused():
    seen = []
    limit = RequestLimit(2, on_change=seen.append)
    with limit.enter(), limit.enter():
        with pytest.raises(Problem) as refused, limit.enter():
            pass
        assert refused.value.status == 503
        assert int(refused.value.headers["Retry-After"]) >= 1
    with limit.enter():
        pass
    assert seen == [1, 2, 1, 0, 1, 0]


def test_only_uploads_of_crashed_services_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    crashed, running = UploadFolder(), UploadFolder()
    for folder in (crashed, running):
        (folder.path / "upload").write_text("x")
    crashed._lock.close()  # as the system does when a process ends
    third = UploadFolder()
    assert not crashed.path.exists()
    assert (running.path / "upload").exists()
    for folder in (running, third):
        folder.remove()
    assert list(tmp_path.iterdir()) == []
