"""The service behind the routes: the models and tracks in use, their reloading, and the limits of what is accepted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from eno.audio.windows import WindowPolicy
from eno.cores import usable_cores
from eno.encoders import Encoder
from eno.errors import AudioError, EnoError
from eno.inference.predictor import EnoPredictor
from eno.serving.batching import EncodedFile, EncoderQueue
from eno.serving.errors import Problem
from eno.serving.metrics import Metrics
from eno.serving.snapshot import Snapshot, Sources
from eno.serving.uploads import Upload, UploadFolder, UploadLimits
from eno.training.feedback import Feedback

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_SMOOTHING = 0.2


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the service accepts.

    Attributes
    ----------
    uploads : UploadLimits
        Limits of one request.
    max_duration_s : float
        Length of one file.
    decode_timeout_s : float
        Time to decode one file.
    max_waiting : int
        Requests that need the model at the same time, waiting ones included.
    decoders : int
        Worker processes that decode.
    batch_windows : int
        Windows per batch of the encoder.
    watch_s : float
        Interval at which predictor and index are checked for changes; 0 for never.
    """

    uploads: UploadLimits = field(default_factory=UploadLimits)
    max_duration_s: float = 7200.0
    decode_timeout_s: float = 60.0
    max_waiting: int = 64
    decoders: int = 2
    batch_windows: int = 64
    watch_s: float = 2.0


class RequestLimit:
    """Limits how many requests use or wait for the model. For the thread of the event loop only.

    Parameters
    ----------
    most : int
        Requests that are accepted at the same time.
    on_change : callable
        Called with the number of accepted requests.

    Attributes
    ----------
    active : int
        Requests that are accepted now.
    """

    def __init__(self, most: int, *, on_change: Callable[[int], None] = lambda active: None) -> None:
        self._most, self._on_change = most, on_change
        self.active, self._mean_s = 0, 1.0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Accept a request.

        Raises
        ------
        Problem
            There are too many: 503, with Retry-After.
        """
        if self.active >= self._most:
            wait_s = max(1, min(60, math.ceil(self._mean_s / 2)))
            raise Problem(
                503,
                f"The service is busy with {self.active} requests, its maximum. Try again in {wait_s} s.",
                headers={"Retry-After": str(wait_s)},
            )
        self.active += 1
        self._on_change(self.active)
        began = time.monotonic()
        try:
            yield
        finally:
            self._mean_s += _SMOOTHING * (time.monotonic() - began - self._mean_s)
            self.active -= 1
            self._on_change(self.active)


class Service:
    """What the routes use. Start it inside an event loop.

    Parameters
    ----------
    sources : Sources
        Where predictor, store and catalogue are.
    encoder : Encoder
        The encoder of predictor and store.
    feedback : Path
        File of corrections.
    limits : Limits, optional

    Attributes
    ----------
    snapshot : Snapshot
        The models and tracks in use. A request reads this once, and keeps it to its end.

    Raises
    ------
    EnoError
        Predictor, store or index is missing or damaged, or they do not belong together.
    """

    def __init__(self, sources: Sources, encoder: Encoder, *, feedback: Path, limits: Limits | None = None) -> None:
        self.sources, self.limits, self.metrics = sources, limits or Limits(), Metrics()
        self._stamp = sources.stamp()
        self.snapshot = Snapshot.open(sources, encoder)
        self.feedback = Feedback(feedback)
        self.stopping = False
        self.request_limit = RequestLimit(self.limits.max_waiting, on_change=self.metrics.active.set)
        self.encoder_queue = EncoderQueue(
            encoder,
            decoders=self.limits.decoders,
            batch_windows=self.limits.batch_windows,
            max_duration_s=self.limits.max_duration_s,
            decode_timeout_s=self.limits.decode_timeout_s,
            on_batch=self.metrics.batches.observe,
        )
        self._uploads: UploadFolder | None = None
        self._watching: asyncio.Task[None] | None = None
        self._reloading = asyncio.Lock()

    @property
    def upload_folder(self) -> Path:
        """Folder for uploads of requests that are being processed."""
        assert self._uploads is not None
        return self._uploads.path

    async def start(self) -> None:
        """Start threads and worker processes, and watch for changes."""
        self._uploads = await asyncio.to_thread(UploadFolder)
        await asyncio.to_thread(self.encoder_queue.start)
        self._draw_map()
        if self.limits.watch_s > 0:
            self._watching = asyncio.create_task(self._watch())

    def _draw_map(self) -> None:
        # Before anybody asks for it: it takes seconds.
        threading.Thread(target=self.snapshot.draw_map, name="eno-map", daemon=True).start()

    async def close(self) -> None:
        """Finish the requests that were accepted, and stop."""
        self.stopping = True
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await asyncio.to_thread(self.encoder_queue.close)
        if self._uploads is not None:
            await asyncio.to_thread(self._uploads.remove)

    async def encode_file(self, upload: Upload, policy: WindowPolicy, predictor: EnoPredictor | None) -> EncodedFile:
        """Encode and tag a file. Its work is dropped if the caller is cancelled.

        Raises
        ------
        AudioError
            The file cannot be read.
        """
        try:
            encoded = await asyncio.wrap_future(self.encoder_queue.encode_file(upload.path, policy, predictor))
        except AudioError:
            self.metrics.files.labels("refused").inc()
            raise
        self.metrics.files.labels("encoded").inc()
        return encoded

    async def reload(self) -> bool:
        """Load predictor and index from disk again. Running requests keep those that they began with.

        Returns
        -------
        bool
            False if they cannot be used, for instance because the predictor needs another encoder; then the previous
            ones stay in use.
        """
        async with self._reloading:
            stamp = await asyncio.to_thread(self.sources.stamp)
            try:
                self.snapshot = await asyncio.to_thread(Snapshot.open, self.sources, self.snapshot.encoder)
            except EnoError as error:
                logger.error("not reloaded, the previous predictor and index stay in use: %s", error)
                self.metrics.reloads.labels("refused").inc()
                return False
            finally:
                self._stamp = stamp
            self._draw_map()
            logger.info("reloaded %s", self.sources.model or self.sources.store)
            self.metrics.reloads.labels("done").inc()
            return True

    async def _watch(self) -> None:
        before = self._stamp
        while True:
            await asyncio.sleep(self.limits.watch_s)
            try:
                now = await asyncio.to_thread(self.sources.stamp)
                # None stands for a predictor that is half written; and what has just changed may change again.
                if now != self._stamp and now == before and None not in now:
                    await self.reload()
                before = now
            except Exception:
                logger.exception("cannot check for changes")


def default_decoders() -> int:
    """Return the default number of worker processes that decode: half of the cores, at most 8."""
    return max(1, min(8, usable_cores() // 2))


async def while_connected(request: Request, work: Awaitable[_T]) -> _T:
    """Await something as long as the client is connected. The body of the request must have been read.

    Raises
    ------
    ClientDisconnect
        The client has disconnected; the work is cancelled.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue
