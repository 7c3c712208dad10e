"""Worker processes decode files; one thread encodes the windows of several requests in one batch."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eno.audio.track_decoding import TrackHead
from eno.audio.windows import WindowPolicy
from eno.audio.worker_pool import WorkerPool
from eno.encoders import Encoder
from eno.errors import AudioError, EnoError
from eno.inference.predictor import EnoPredictor
from eno.serving.decoding import DecodeTask, read_upload, upload_pool

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class EncodedFile:
    """The encoded windows of a file that have sound [shape=(n, layers, dim)], and where they start.

    `probabilities` [shape=(num_labels,)] is None without a predictor.
    """

    vectors: np.ndarray
    starts_s: np.ndarray
    duration_s: float
    probabilities: np.ndarray | None


@dataclass(eq=False)
class _Job:
    path: Path
    policy: WindowPolicy
    predictor: EnoPredictor | None
    future: Future[EncodedFile] = field(default_factory=Future)
    starts_s: np.ndarray = field(default_factory=lambda: np.zeros(0))
    duration_s: float = 0.0
    vectors: list[np.ndarray] = field(default_factory=list)

    def needed(self) -> bool:
        return not self.future.done()

    def is_whole(self) -> bool:
        return sum(map(len, self.vectors)) == len(self.starts_s)

    def end(self, outcome: EncodedFile | BaseException) -> None:
        with suppress(InvalidStateError):  # the request was cancelled
            if isinstance(outcome, BaseException):
                self.future.set_exception(outcome)
            else:
                self.future.set_result(outcome)


@dataclass(frozen=True, eq=False)
class _Chunk:
    job: _Job
    windows: np.ndarray


@dataclass(frozen=True, eq=False)
class _Call:
    work: Callable[[], Any]
    future: Future[Any] = field(default_factory=Future)


class EncoderQueue:
    """Encodes files, and calls other functions that use the model, one batch at a time.

    `eno.serving.service.RequestLimit` limits the length of the queue. See `eno.serving.service.Limits` for the numbers.
    `on_batch` is called with the number of windows of each batch; a batch does not wait to be filled.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        decoders: int = 2,
        batch_windows: int = 64,
        max_duration_s: float = 7200.0,
        decode_timeout_s: float = 60.0,
        on_batch: Callable[[int], None] = lambda windows: None,
    ) -> None:
        self.encoder, self.decoders = encoder, decoders
        self._batch_windows, self._max_duration_s, self._on_batch = batch_windows, max_duration_s, on_batch
        self._files: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        # Bounded, so that decoders wait for a slow encoder instead of filling the memory with windows.
        self._model: queue.Queue[_Chunk | _Call | None] = queue.Queue(2 * decoders)
        self._pools = [upload_pool(encoder.spec, timeout_s=decode_timeout_s) for _ in range(decoders)]
        self._threads = [threading.Thread(target=self._encode_all, name="eno-model", daemon=True)]
        self._threads += [
            threading.Thread(target=self._decode_all, args=(pool,), name="eno-decode", daemon=True)
            for pool in self._pools
        ]

    def start(self) -> None:
        """Start threads and worker processes; EnoError if a process cannot be started."""
        for pool in self._pools:
            pool.start()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Finish the files and calls in the queue, then stop."""
        for _ in self._pools:
            self._files.put(None)
        for thread in self._threads[1:]:
            thread.join()
        self._model.put(None)
        self._threads[0].join()

    def encode_file(self, path: Path, policy: WindowPolicy, predictor: EnoPredictor | None) -> Future[EncodedFile]:
        """Encode a file, and tag it if a predictor (of the same encoder) is passed.

        The future fails with an AudioError if the file cannot be read or is silent. If it is cancelled, the file is
        skipped.
        """
        job = _Job(path, policy, predictor)
        self._files.put(job)
        return job.future

    def call(self, work: Callable[[], Any]) -> Future[Any]:
        """Run a function in the encoding thread, after what is already in the queue."""
        call = _Call(work)
        self._model.put(call)
        return call.future

    def _decode_all(self, pool: WorkerPool) -> None:
        while (job := self._files.get()) is not None:
            if not job.needed():
                continue
            try:
                self._decode(pool, job)
            except EnoError as error:
                job.end(error)
            except Exception as error:
                logger.exception("decoding failed")
                job.end(error)
        pool.close()

    def _decode(self, pool: WorkerPool, job: _Job) -> None:
        task = DecodeTask(job.path, job.policy, self._max_duration_s)
        latest: _Chunk | None = None  # the last one follows once all windows are known
        with closing(read_upload(pool, task, needed=job.needed)) as contents:
            while job.needed():
                try:
                    content = next(contents)
                except StopIteration as end:
                    job.starts_s = job.starts_s[end.value]
                    self._model.put(latest)
                    return
                if isinstance(content, TrackHead):
                    job.duration_s, job.starts_s = content
                    continue
                if latest is not None:
                    self._model.put(latest)
                latest = _Chunk(job, content)

    def _encode_all(self) -> None:
        while (first := self._model.get()) is not None:
            if isinstance(first, _Call):
                self._run(first)
                continue
            chunks, call = self._gather(first)
            try:
                self._encode(chunks)
            except Exception as error:
                logger.exception("encoding failed")
                for chunk in chunks:
                    chunk.job.end(error)
            if call is not None:
                self._run(call)

    def _gather(self, first: _Chunk) -> tuple[list[_Chunk], _Call | None]:
        """Take chunks from the queue up to a full batch or a call, without waiting for more."""
        chunks, count = [first], len(first.windows)
        while count < self._batch_windows:
            try:
                more = self._model.get_nowait()
            except queue.Empty:
                break
            if more is None:
                self._model.put(None)
                break
            if isinstance(more, _Call):
                return chunks, more
            chunks.append(more)
            count += len(more.windows)
        return chunks, None

    def _run(self, call: _Call) -> None:
        if not call.future.set_running_or_notify_cancel():
            return
        try:
            call.future.set_result(call.work())
        except BaseException as error:
            call.future.set_exception(error)

    def _encode(self, chunks: list[_Chunk]) -> None:
        chunks = [chunk for chunk in chunks if chunk.job.needed()]
        if not chunks:
            return
        windows = np.concatenate([chunk.windows for chunk in chunks])
        self._on_batch(len(windows))
        vectors = self.encoder.encode(windows)
        ends = np.cumsum([len(chunk.windows) for chunk in chunks])[:-1]
        for chunk, part in zip(chunks, np.split(vectors, ends), strict=True):
            chunk.job.vectors.append(part)
        whole = [job for job in dict.fromkeys(chunk.job for chunk in chunks) if job.is_whole()]
        for predictor in dict.fromkeys(job.predictor for job in whole):
            self._finish([job for job in whole if job.predictor is predictor], predictor)

    def _finish(self, jobs: list[_Job], predictor: EnoPredictor | None) -> None:
        tracks = [np.concatenate(job.vectors) for job in jobs]
        probabilities: Sequence[np.ndarray | None] = [None] * len(jobs)
        if predictor is not None:
            probabilities = list(predictor.predict_windows(tracks))
        for job, vectors, found in zip(jobs, tracks, probabilities, strict=True):
            if np.isfinite(vectors).all():
                job.end(EncodedFile(vectors, job.starts_s, job.duration_s, found))
            else:
                job.end(AudioError(job.path, "cannot be encoded: the encoder returned values that are not finite"))
