"""The service behind the routes: models and tracks in use, their reloading, and limits on requests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from eno.cores import usable_cores
from eno.data.layout import DataRoot
from eno.data.matching.review import ReviewFile
from eno.encoders import Encoder
from eno.errors import AudioError, EnoError
from eno.inference.predictor import EnoPredictor
from eno.serving.batching import EncodedFile, EncoderQueue, Windows
from eno.serving.errors import Problem
from eno.serving.map_drawer import MapDrawer
from eno.serving.metrics import Metrics
from eno.serving.snapshot import Snapshot, Sources
from eno.serving.uploads import Upload, UploadFolder, UploadLimits
from eno.training.feedback import Feedback

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_SMOOTHING = 0.2
_MOST_WAIT_S = 300.0  # between attempts to reload


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits and resources of the service."""

    uploads: UploadLimits = field(default_factory=UploadLimits)
    max_duration_s: float = 7200.0  # of a file
    decode_timeout_s: float = 60.0  # for a file
    max_waiting: int = 64  # concurrent requests that use the model or wait for it
    decoders: int = 2  # worker processes
    batch_windows: int = 64
    watch_s: float = 2.0  # interval of checking predictor and index for changes; 0 for never


class RequestLimit:
    """Limits how many requests (`active`) use or wait for the model. Only for the thread of the event loop."""

    def __init__(self, most: int, *, on_change: Callable[[int], None] = lambda active: None) -> None:
        self._most, self._on_change = most, on_change
        self.active, self._mean_s = 0, 1.0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Accept a request for the duration of the context, or raise a Problem with status 503 and Retry-After."""
        self.check()
        self.active += 1
        self._on_change(self.active)
        began = time.monotonic()
        try:
            yield
        finally:
            self._mean_s += _SMOOTHING * (time.monotonic() - began - self._mean_s)
            self.active -= 1
            self._on_change(self.active)

    def check(self) -> None:
        """Raise the Problem of `enter` if it would."""
        if self.active >= self._most:
            wait_s = max(1, min(60, math.ceil(self._mean_s / 2)))
            raise Problem(
                503,
                f"The service is busy with {self.active} requests, its maximum. Try again in {wait_s} s.",
                headers={"Retry-After": str(wait_s)},
            )


class Service:
    """The state that the routes share. Start it inside an event loop.

    Parameters
    ----------
    sources, encoders
        See `eno.serving.snapshot.Snapshot.open`, which also lists the exceptions.
    feedback : Path
        File of corrections.

    Attributes
    ----------
    snapshot : Snapshot
        The models and tracks in use. A request reads this once, and uses it to its end.
    """

    def __init__(self, sources: Sources, *encoders: Encoder, feedback: Path, limits: Limits | None = None) -> None:
        self.sources, self.limits, self.metrics = sources, limits or Limits(), Metrics()
        self._stamp = sources.stamp()
        self.snapshot = Snapshot.open(sources, *encoders)
        self.feedback = Feedback(feedback)
        root = sources.data_root
        self.review = None if root is None else ReviewFile(DataRoot(root).match_review)
        self.stopping = False
        self.request_limit = RequestLimit(self.limits.max_waiting, on_change=self.metrics.active.set)
        self.encoder_queue = EncoderQueue(
            *encoders,
            decoders=self.limits.decoders,
            batch_windows=self.limits.batch_windows,
            max_duration_s=self.limits.max_duration_s,
            decode_timeout_s=self.limits.decode_timeout_s,
            on_batch=self.metrics.batches.observe,
        )
        self._uploads: UploadFolder | None = None
        self._watching: asyncio.Task[None] | None = None
        self._reloading, self._maps = asyncio.Lock(), MapDrawer()
        self._failed_reloads, self._retry_at = 0, 0.0

    @property
    def uploads(self) -> UploadFolder:
        """The uploads of running requests."""
        assert self._uploads is not None
        return self._uploads

    async def start(self) -> None:
        """Start threads and worker processes, and watch predictor and index for changes."""
        self._uploads = await asyncio.to_thread(UploadFolder)
        await asyncio.to_thread(self.encoder_queue.start)
        self._maps.draw(self.snapshot)  # in advance, because it takes seconds
        if self.limits.watch_s > 0:
            self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Finish accepted requests, and stop."""
        self.stopping = True
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await asyncio.to_thread(self.encoder_queue.close)
        if self._uploads is not None:
            await asyncio.to_thread(self._uploads.remove)

    async def encode_file(self, upload: Upload, windows: Windows, predictor: EnoPredictor | None) -> EncodedFile:
        """Encode and tag a file, as `eno.serving.batching.EncoderQueue.encode_file` does."""
        try:
            encoded = await asyncio.wrap_future(self.encoder_queue.encode_file(upload.path, windows, predictor))
        except AudioError:
            self.metrics.files.labels("refused").inc()
            raise
        self.metrics.files.labels("encoded").inc()
        return encoded

    async def reload(self) -> bool:
        """Load predictor and index from disk again; running requests keep their snapshot.

        Returns False if they cannot be used, for instance because the predictor needs another encoder. The previous
        ones then stay in use, and the service tries again, less and less often.
        """
        async with self._reloading:
            self._stamp = await asyncio.to_thread(self.sources.stamp)
            try:
                self.snapshot = await asyncio.to_thread(Snapshot.open, self.sources, *self.snapshot.encoders)
            except Exception as error:
                self._failed_reloads += 1
                wait_s = min(_MOST_WAIT_S, self.limits.watch_s * 2**self._failed_reloads)
                self._retry_at = time.monotonic() + wait_s
                message = "not reloaded, the previous predictor and index stay in use; next attempt in %.0f s: %s"
                logger.error(message, wait_s, error, exc_info=not isinstance(error, EnoError))
                self.metrics.reloads.labels("refused").inc()
                self.metrics.outdated.set(1)
                return False
            self._failed_reloads = 0
            self.metrics.outdated.set(0)
            self._maps.draw(self.snapshot)
            logger.info("reloaded %s", self.sources.model or self.sources.store)
            self.metrics.reloads.labels("done").inc()
            return True

    @property
    def outdated(self) -> bool:
        """Whether the last reload failed, so that an earlier predictor and index are in use."""
        return self._failed_reloads > 0

    async def _watch(self) -> None:
        before = self._stamp
        while True:
            await asyncio.sleep(self.limits.watch_s)
            try:
                if (sounds := self.snapshot.sounds) is not None:
                    sounds.index.forget()
                now = await asyncio.to_thread(self.sources.stamp)
                # A None in the stamp means half written; and a file that has just changed may change again.
                changed = now != self._stamp and now == before and None not in now
                if changed or (self.outdated and time.monotonic() >= self._retry_at):
                    await self.reload()
                before = now
            except Exception:
                logger.exception("cannot check for changes")


def default_decoders() -> int:
    """Return the default number of decoding processes: half of the cores, at most 8."""
    return max(1, min(8, usable_cores() // 2))


async def while_connected(request: Request, work: Awaitable[_T]) -> _T:
    """Await `work`; if the client disconnects, cancel it and raise ClientDisconnect.

    The body of the request must have been read.
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
