"""From files to vectors: decoding workers → batches of windows → encoder.

Memory does not grow with the collection: workers wait until there is room for their windows in the next batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from eno.audio.track_decoding import TrackEnd, TrackHead, TrackRequest, track_pool
from eno.audio.windows import WindowPolicy
from eno.audio.workers.handle import Chunk, TaskDone, TaskFailed
from eno.audio.workers.pool import FILE_TIMEOUT_S, WorkerPool
from eno.cores import usable_cores
from eno.data.library.files import Track
from eno.embeddings.job.executor import Embedded, Failed, Result, Task, Untouched
from eno.encoders import Encoder, load_encoder
from eno.errors import EnoError
from eno.spec import EncoderSpec

_LEAST_BATCH = 8
_NICE = 19


def load_again(spec: EncoderSpec, *, device: str, dtype: str, threads: int) -> Encoder:
    """Load an encoder in another process or on another machine, with a number of threads if it runs on the CPU.

    Raises EnoError if a different encoder is loaded there.
    """
    if device == "cpu":
        import torch

        torch.set_num_threads(threads)
    encoder = load_encoder(spec.name, device=device, dtype=dtype, **spec.options, **spec.location)
    if encoder.spec.fingerprint != spec.fingerprint:
        raise EnoError(f"Loaded the encoder {encoder.spec.label}, expected {spec.label}.")
    return encoder


class LocalExecutor:
    """Embeds tracks with an encoder in this process.

    `workers` is the maximum number of decoding processes; by default one per core, or one less with a GPU.
    """

    def __init__(
        self,
        encoder: Encoder,
        policy: WindowPolicy,
        *,
        workers: int | None = None,
        file_timeout_s: float = FILE_TIMEOUT_S,
    ) -> None:
        self._encoder, self._policy, self._file_timeout_s = encoder, policy, file_timeout_s
        on_cpu = getattr(getattr(encoder, "device", None), "type", "cpu") == "cpu"
        self._workers = workers or (usable_cores() if on_cpu else max(1, usable_cores() - 1))
        # On a CPU, decoders and encoder compete for the cores. The encoder has priority, since its threads wait for
        # each other.
        self._nice = _NICE if on_cpu else 0

    def pool(self) -> WorkerPool:
        """Return a pool of decoding processes."""
        return track_pool(
            self._encoder.spec,
            self._policy,
            workers=self._workers,
            nice=self._nice,
            file_timeout_s=self._file_timeout_s,
        )

    def __call__(self, tasks: Sequence[Task], stop: Callable[[], bool]) -> Iterator[Result]:
        """Embed tracks; see `eno.embeddings.job.executor.Executor`."""
        if tasks:
            with self.pool() as pool:
                yield from embed_tracks(self._encoder, pool, tasks, stop)


def embed_tracks(
    encoder: Encoder, pool: WorkerPool, tasks: Iterable[Task], stop: Callable[[], bool]
) -> Iterator[Result]:
    """Embed tracks with a pool from `track_pool`; see `eno.embeddings.job.executor.Executor`.

    An encoder with a method `start`, such as `TorchEncoder`, computes a batch while the next one is gathered.
    """
    batches = _Batches(encoder)
    tracks: dict[int, _Track] = {}
    for event in pool.run(tasks, request=_request, stop=stop):
        if isinstance(event, Chunk) and isinstance(event.content, TrackHead):
            tracks[event.job] = _Track(event.task.track, event.content)
            event.release()
        elif isinstance(event, Chunk):
            yield from batches.add(tracks[event.job], event)
        elif not isinstance(event, TaskDone):
            tracks.pop(event.job, None)
            if isinstance(event, TaskFailed):
                late = event.cause == "timeout"
                remedy = "; the next run tries it again, allow more time with --file-timeout" if late else ""
                yield Failed(event.task.track, event.reason + remedy, passing=late)
        elif track := tracks.pop(event.job, None):
            track.end = event.result
            if track.is_whole():
                yield track.result()
        else:
            yield Untouched(event.task.track, event.result.stamp)
    yield from batches.finish()


def _request(task: Task) -> TrackRequest:
    return TrackRequest(task.track.file, task.known_hash, task.track.section)


@dataclass(eq=False)
class _Track:
    track: Track
    head: TrackHead
    end: TrackEnd | None = None
    vectors: list[np.ndarray] = field(default_factory=list)
    encoded: int = 0

    def take(self, vectors: np.ndarray) -> None:
        self.vectors.append(vectors)
        self.encoded += len(vectors)

    def is_whole(self) -> bool:
        return self.end is not None and self.encoded == sum(self.end.heard)

    def result(self) -> Embedded:
        assert self.end is not None
        starts_s = self.head.starts_s[self.end.heard]
        return Embedded(self.track, self.end.stamp, self.head.duration_s, starts_s, np.concatenate(self.vectors))


class _Batches:
    """Gathers windows of several tracks into batches; one is gathered while another is computed."""

    def __init__(self, encoder: Encoder) -> None:
        size = max(_LEAST_BATCH, getattr(encoder, "batch_size", _LEAST_BATCH))
        self._overlaps = hasattr(encoder, "start")
        self._begin = getattr(encoder, "start", None) or (lambda windows: partial(encoder.encode, windows))
        self._windows = np.empty((size, encoder.spec.window_samples), np.float32)
        self._pieces: list[tuple[_Track, int]] = []
        self._gathered = 0
        self._under_way: tuple[Callable[[], np.ndarray], list[tuple[_Track, int]]] | None = None

    def add(self, track: _Track, chunk: Chunk) -> Iterator[Embedded]:
        windows, taken = chunk.content, 0
        while taken < len(windows):
            count = min(len(windows) - taken, len(self._windows) - self._gathered)
            self._windows[self._gathered : self._gathered + count] = windows[taken : taken + count]
            self._pieces.append((track, count))
            self._gathered += count
            taken += count
            if taken == len(windows):
                chunk.release()  # before encoding, so that decoding goes on meanwhile
            if self._gathered == len(self._windows):
                yield from self._start()

    def finish(self) -> Iterator[Embedded]:
        if self._gathered:
            yield from self._start()
        yield from self._collect()

    def _start(self) -> Iterator[Embedded]:
        result = self._begin(self._windows[: self._gathered])
        pieces, self._pieces, self._gathered = self._pieces, [], 0
        yield from self._collect()
        self._under_way = result, pieces
        if not self._overlaps:
            yield from self._collect()

    def _collect(self) -> Iterator[Embedded]:
        if self._under_way is None:
            return
        result, pieces = self._under_way
        self._under_way = None
        vectors, first = result(), 0
        for track, count in pieces:
            track.take(vectors[first : first + count])
            first += count
            if track.is_whole():
                yield track.result()
