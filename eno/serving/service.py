"""The service behind the routes: what is served now, the engine, feedback, and who changes what is served."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable
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
from eno.serving.admission import Admission
from eno.serving.batching import EncodedFile, EncoderQueue
from eno.serving.metrics import Metrics
from eno.serving.scratch import Scratch
from eno.serving.snapshot import Snapshot, Sources
from eno.serving.uploads import Upload, UploadLimits
from eno.training.feedback import Feedback

logger = logging.getLogger(__name__)

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the service takes on.

    Attributes
    ----------
    uploads : UploadLimits
        Of one request.
    max_duration_s : float
        Of one file.
    decode_timeout_s : float
        So long a decoder may take for one file.
    max_waiting : int
        Requests that need the model, inside at the same time.
    decoders : int
        Processes that decode.
    batch_windows : int
        Windows encoded at once.
    watch_s : float
        Every so often predictor and index are looked at; 0 for never.
    """

    uploads: UploadLimits = field(default_factory=UploadLimits)
    max_duration_s: float = 7200.0
    decode_timeout_s: float = 60.0
    max_waiting: int = 64
    decoders: int = 2
    batch_windows: int = 64
    watch_s: float = 2.0


class Service:
    """Answers what routes ask. Start it inside an event loop.

    Parameters
    ----------
    sources : Sources
        Where predictor, store and catalogue lie.
    encoder : Encoder
        That of both.
    feedback : Path
        File that corrections are kept in.
    limits : Limits, optional
        What it takes on.

    Attributes
    ----------
    snapshot : Snapshot
        What is served now. A request takes it once, and keeps it to its end.

    Raises
    ------
    EnoError
        What is to be served is missing or damaged, or does not belong together.
    """

    def __init__(self, sources: Sources, encoder: Encoder, *, feedback: Path, limits: Limits | None = None) -> None:
        self.sources, self.limits, self.metrics = sources, limits or Limits(), Metrics()
        self._stamp = sources.stamp()
        self.snapshot = Snapshot.open(sources, encoder)
        self.feedback = Feedback(feedback)
        self.stopping = False
        self.admission = Admission(self.limits.max_waiting, on_change=self.metrics.inside.set)
        self.engine = EncoderQueue(
            encoder,
            decoders=self.limits.decoders,
            batch_windows=self.limits.batch_windows,
            max_duration_s=self.limits.max_duration_s,
            decode_timeout_s=self.limits.decode_timeout_s,
            on_batch=self.metrics.batches.observe,
        )
        self._scratch: Scratch | None = None
        self._watching: asyncio.Task[None] | None = None
        self._reloading = asyncio.Lock()

    @property
    def folder(self) -> Path:
        """Where uploads lie while they are needed."""
        assert self._scratch is not None
        return self._scratch.folder

    async def start(self) -> None:
        """Start threads and processes, and watch for changes."""
        self._scratch = await asyncio.to_thread(Scratch)
        await asyncio.to_thread(self.engine.start)
        self._draw()
        if self.limits.watch_s > 0:
            self._watching = asyncio.create_task(self._watch())

    def _draw(self) -> None:
        """Draw the map before anybody asks for it: it takes seconds."""
        threading.Thread(target=self.snapshot.draw, name="eno-map", daemon=True).start()

    async def close(self) -> None:
        """Finish what was asked for, and stop."""
        self.stopping = True
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await asyncio.to_thread(self.engine.close)
        if self._scratch is not None:
            await asyncio.to_thread(self._scratch.remove)

    async def hear(self, upload: Upload, policy: WindowPolicy, predictor: EnoPredictor | None) -> EncodedFile:
        """Hear a file; given up when its caller is cancelled.

        Raises
        ------
        AudioError
            It cannot be read.
        """
        try:
            heard = await asyncio.wrap_future(self.engine.hear(upload.path, policy, predictor))
        except AudioError:
            self.metrics.files.labels("refused").inc()
            raise
        self.metrics.files.labels("heard").inc()
        return heard

    async def reload(self) -> bool:
        """Take what is on disk now; requests that are under way keep what they began with.

        Returns
        -------
        bool
            False where it cannot be served, for instance because the predictor is one of another encoder; then what
            was served before goes on.
        """
        async with self._reloading:
            stamp = await asyncio.to_thread(self.sources.stamp)
            try:
                self.snapshot = await asyncio.to_thread(Snapshot.open, self.sources, self.snapshot.encoder)
            except EnoError as error:
                logger.error("goes on with what was served before: %s", error)
                self.metrics.reloads.labels("refused").inc()
                return False
            finally:
                self._stamp = stamp
            self._draw()
            logger.info("serves what is new in %s", self.sources.model or self.sources.store)
            self.metrics.reloads.labels("done").inc()
            return True

    async def _watch(self) -> None:
        before = self._stamp
        while True:
            await asyncio.sleep(self.limits.watch_s)
            try:
                now = await asyncio.to_thread(self.sources.stamp)
                # Half written there is no predictor; and what has just changed may change again.
                if now != self._stamp and now == before and None not in now:
                    await self.reload()
                before = now
            except Exception:
                logger.exception("could not look for changes")


def default_decoders() -> int:
    """As many processes as decode for one model: half of the cores, at most 8."""
    return max(1, min(8, usable_cores() // 2))


async def while_connected(request: Request, work: Awaitable[_T]) -> _T:
    """Wait for something, as long as the client does. The body of the request must have been read.

    Raises
    ------
    ClientDisconnect
        It has gone; the work is cancelled.
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
