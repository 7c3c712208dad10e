"""Worker processes decode files; one thread encodes the windows of several requests in one batch."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from eno.audio.track_decoding import TrackHead
from eno.audio.windows import WindowPolicy
from eno.audio.workers.pool import WorkerPool
from eno.encoders import Encoder
from eno.errors import AudioError, EnoError
from eno.inference.predictor import EnoPredictor
from eno.serving.decoding import DecodeTask, read_upload, upload_pool

logger = logging.getLogger(__name__)


Windows: TypeAlias = Sequence[tuple[Encoder, WindowPolicy]]
"""The encoders of a file, and which of its windows each encodes."""


@dataclass(frozen=True, eq=False)
class EncodedFile:
    """The encoded windows of a file that have sound [shape=(n, layers, dim)], and where they start, by encoder.

    `probabilities` [shape=(num_labels,)] is None without a predictor; for `familiarity` see
    `eno.inference.predictions.Prediction`.
    """

    vectors: Sequence[np.ndarray]
    starts_s: Sequence[np.ndarray]
    duration_s: float
    probabilities: np.ndarray | None
    familiarity: float | None = None


@dataclass(eq=False)
class _Part:
    """What one encoder makes of a file."""

    job: _Job
    encoder: Encoder
    policy: WindowPolicy
    starts_s: np.ndarray | None = None  # known when all windows are decoded
    vectors: list[np.ndarray] = field(default_factory=list)

    def is_whole(self) -> bool:
        return self.starts_s is not None and sum(map(len, self.vectors)) == len(self.starts_s)


@dataclass(eq=False)
class _Job:
    path: Path
    predictor: EnoPredictor | None
    parts: list[_Part] = field(default_factory=list)
    future: Future[EncodedFile] = field(default_factory=Future)
    duration_s: float = 0.0

    def needed(self) -> bool:
        return not self.future.done()

    def is_whole(self) -> bool:
        return all(part.is_whole() for part in self.parts)

    def end(self, outcome: EncodedFile | BaseException) -> None:
        with suppress(InvalidStateError):  # the request was cancelled
            if isinstance(outcome, BaseException):
                self.future.set_exception(outcome)
            else:
                self.future.set_result(outcome)


@dataclass(frozen=True, eq=False)
class _Chunk:
    part: _Part
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
        *encoders: Encoder,
        decoders: int = 2,
        batch_windows: int = 64,
        max_duration_s: float = 7200.0,
        decode_timeout_s: float = 60.0,
        on_batch: Callable[[int], None] = lambda windows: None,
    ) -> None:
        self.encoders, self.decoders = encoders, decoders
        self._batch_windows, self._max_duration_s, self._on_batch = batch_windows, max_duration_s, on_batch
        self._files: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        # Bounded, so that decoders wait for a slow encoder instead of filling the memory with windows.
        self._model: queue.Queue[_Chunk | _Call | None] = queue.Queue(2 * decoders)
        # For each decoding thread, one process per encoder, because their windows differ.
        self._pools = [
            {one.spec.fingerprint: upload_pool(one.spec, timeout_s=decode_timeout_s) for one in encoders}
            for _ in range(decoders)
        ]
        self._threads = [threading.Thread(target=self._encode_all, name="eno-model", daemon=True)]
        self._threads += [
            threading.Thread(target=self._decode_all, args=(pools,), name="eno-decode", daemon=True)
            for pools in self._pools
        ]

    def start(self) -> None:
        """Start threads and worker processes; EnoError if a process cannot be started."""
        for pool in (pool for pools in self._pools for pool in pools.values()):
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

    def encode_file(self, path: Path, windows: Windows, predictor: EnoPredictor | None) -> Future[EncodedFile]:
        """Encode a file with some of the encoders, and tag it if a predictor of these is passed.

        The future fails with an AudioError if the file cannot be read or is silent. If it is cancelled, the file is
        skipped.
        """
        job = _Job(path, predictor)
        job.parts = [_Part(job, encoder, policy) for encoder, policy in windows]
        self._files.put(job)
        return job.future

    def call(self, work: Callable[[], Any]) -> Future[Any]:
        """Run a function in the encoding thread, after what is already in the queue."""
        call = _Call(work)
        self._model.put(call)
        return call.future

    def _decode_all(self, pools: dict[str, WorkerPool]) -> None:
        while (job := self._files.get()) is not None:
            try:
                for part in job.parts:
                    if job.needed():
                        self._decode(pools[part.encoder.spec.fingerprint], part)
            except EnoError as error:
                job.end(error)
            except Exception as error:
                logger.exception("decoding failed")
                job.end(error)
        for pool in pools.values():
            pool.close()

    def _decode(self, pool: WorkerPool, part: _Part) -> None:
        job, starts_s = part.job, np.zeros(0)
        task = DecodeTask(job.path, part.policy, self._max_duration_s)
        latest: _Chunk | None = None  # the last one follows once all windows are known
        with closing(read_upload(pool, task, needed=job.needed)) as contents:
            while job.needed():
                try:
                    content = next(contents)
                except StopIteration as end:
                    part.starts_s = starts_s[end.value]
                    self._model.put(latest)
                    return
                if isinstance(content, TrackHead):
                    job.duration_s, starts_s = content
                    continue
                if latest is not None:
                    self._model.put(latest)
                latest = _Chunk(part, content)

    def _encode_all(self) -> None:
        while (first := self._model.get()) is not None:
            if isinstance(first, _Call):
                self._run(first)
                continue
            chunks, call = self._gather(first)
            try:
                self._encode_chunks(chunks)
            except Exception as error:
                logger.exception("encoding failed")
                for chunk in chunks:
                    chunk.part.job.end(error)
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

    def _encode_chunks(self, chunks: list[_Chunk]) -> None:
        chunks = [chunk for chunk in chunks if chunk.part.job.needed()]
        by_encoder: dict[str, list[_Chunk]] = {}
        for chunk in chunks:
            by_encoder.setdefault(chunk.part.encoder.spec.fingerprint, []).append(chunk)
        for some in by_encoder.values():
            windows = np.concatenate([chunk.windows for chunk in some])
            self._on_batch(len(windows))
            vectors = some[0].part.encoder.encode(windows)
            ends = np.cumsum([len(chunk.windows) for chunk in some])[:-1]
            for chunk, found in zip(some, np.split(vectors, ends), strict=True):
                chunk.part.vectors.append(found)
        whole = [job for job in dict.fromkeys(chunk.part.job for chunk in chunks) if job.is_whole()]
        for predictor in dict.fromkeys(job.predictor for job in whole):
            self._finish([job for job in whole if job.predictor is predictor], predictor)

    def _finish(self, jobs: list[_Job], predictor: EnoPredictor | None) -> None:
        tracks = [[np.concatenate(part.vectors) for part in job.parts] for job in jobs]
        predicted: Iterable[tuple[np.ndarray | None, float | None]] = [(None, None)] * len(jobs)
        if predictor is not None:
            X = predictor.vectors_of(list(map(partial(_in_order, predictor), jobs, tracks)))
            predicted = zip(predictor.predict_vectors(X), predictor.familiarity_of(X), strict=True)
        for job, vectors, (probabilities, familiarity) in zip(jobs, tracks, predicted, strict=True):
            if all(np.isfinite(one).all() for one in vectors):
                starts_s = [part.starts_s for part in job.parts if part.starts_s is not None]
                job.end(EncodedFile(vectors, starts_s, job.duration_s, probabilities, familiarity))
            else:
                job.end(AudioError(job.path, "cannot be encoded: the encoder returned values that are not finite"))


def _in_order(predictor: EnoPredictor, job: _Job, vectors: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the vectors of a file in the order of the predictor's encoders."""
    by_encoder = {part.encoder.spec.fingerprint: one for part, one in zip(job.parts, vectors, strict=True)}
    return [by_encoder[spec.fingerprint] for spec in predictor.specs]
