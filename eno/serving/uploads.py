"""Uploaded files: streamed to disk rather than held in memory, and removed after the response."""

from __future__ import annotations

import asyncio
import contextlib
import email.message
import errno
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from email.utils import collapse_rfc2231_value
from pathlib import Path
from typing import IO

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Message

from eno.serving.errors import Problem

_PREFIX, _LOCK = "eno-serve-", "lock"
_RETRY_S = 10
_MAX_FIELDS, _MAX_FIELD_BYTES = 20, 65_536  # other fields of a form
_AUDIO_BODY = re.compile(r"(audio|video)/|application/(octet-stream|ogg)$")


@dataclass(frozen=True, kw_only=True)
class UploadLimits:
    """Limits of one request, and of all that are received at the same time."""

    max_bytes: int = 200_000_000  # of one file
    max_files: int = 16
    idle_s: float = 30.0  # a client that sends nothing for this long is disconnected
    min_bytes_s: float = 10_000.0  # so is one that is slower on average, after idle_s
    max_s: float = 3600.0  # total time for the body
    max_receiving: int = 256  # requests
    max_per_client: int = 64  # of these, per address
    max_stored_bytes: int = 20_000_000_000  # of all requests


@dataclass(frozen=True)
class Upload:
    """A file that a client sent."""

    name: str  # chosen by the client; only for display
    path: Path  # temporary file


@contextlib.asynccontextmanager
async def receive_uploads(request: Request, folder: UploadFolder, limits: UploadLimits) -> AsyncIterator[list[Upload]]:
    """Receive the files of a form, or the body of the request as one file; yields at least one upload.

    They are saved in `folder`, and removed at the end of the context.

    Raises
    ------
    Problem
        The request has no file, is malformed or exceeds a limit; the client sent too slowly; or the disk is full.
    ClientDisconnect
    """
    body = _Body(request, folder, limits)
    place: Path | None = None
    try:
        with folder.receiving(request, limits):
            place = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=folder.path))
            uploads = await _receive(request, body, place, limits)
        yield uploads
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Problem(507, "The disk for uploads is full. Ask the operator of the service to free space.") from error
    finally:
        if place is not None:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, place, ignore_errors=True))
        folder.stored_bytes -= body.received


async def _receive(request: Request, body: _Body, place: Path, limits: UploadLimits) -> list[Upload]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_form = kind == "multipart/form-data"
    if not is_form and not _AUDIO_BODY.match(kind):
        raise Problem(415, "Send a form (multipart/form-data) with fields called 'file', or audio as the body.")
    if is_form:
        body.most = limits.max_bytes * limits.max_files + _MAX_FIELDS * _MAX_FIELD_BYTES
    declared = request.headers.get("content-length", "")
    if declared.isdecimal():
        body.check(int(declared))
    limited = Request(request.scope, body.receive)
    return await (_from_form if is_form else _from_body)(limited, place, limits)


class _Body:
    """The body of a request, within its limits of size and time."""

    def __init__(self, request: Request, folder: UploadFolder, limits: UploadLimits) -> None:
        self._receive, self._folder, self._limits = request.receive, folder, limits
        self.received, self.most, self._began = 0, limits.max_bytes, time.monotonic()

    async def receive(self) -> Message:
        limits, passed = self._limits, time.monotonic() - self._began
        due = min(limits.idle_s + self.received / limits.min_bytes_s, limits.max_s)
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, min(limits.idle_s, due - passed)))
        except TimeoutError:
            detail = f"Only {self.received:,} bytes were received in {time.monotonic() - self._began:.0f} s."
            raise Problem(408, f"{detail} Send the file over a faster connection.") from None
        size = len(message.get("body", b""))
        self.check(size)
        self.received += size
        self._folder.stored_bytes += size
        return message

    def check(self, size: int) -> None:
        """Raise a Problem unless so many further bytes are allowed."""
        if self.received + size > self.most:
            raise _too_large(self._limits)
        if self._folder.stored_bytes + size > self._limits.max_stored_bytes:
            raise _busy("The space for uploads is in use by other requests.")


class _FormParser(MultiPartParser):
    complete = False

    def on_headers_finished(self) -> None:
        # The parser ignores filename*= (RFC 5987), which some clients send, and would take the file for a text field.
        part = self._current_part
        if part.content_disposition and b"filename*" in part.content_disposition.lower():
            part.content_disposition = _plain_disposition(part.content_disposition)
        super().on_headers_finished()

    def on_end(self) -> None:
        self.complete = True


def _plain_disposition(header: bytes) -> bytes:
    message = email.message.Message()
    message["Content-Disposition"] = header.decode("utf-8", "replace")
    # The decoded forms of extended parameters come last.
    values = {
        key.lower(): collapse_rfc2231_value(value) for key, value in message.get_params([], "content-disposition")
    }
    quoted = [
        '{}="{}"'.format(key, values[key].replace("\\", "\\\\").replace('"', '\\"'))
        for key in ("name", "filename")
        if key in values
    ]
    return "; ".join(["form-data", *quoted]).encode("utf-8", "replace")


async def _from_form(request: Request, place: Path, limits: UploadLimits) -> list[Upload]:
    async def body() -> AsyncGenerator[bytes, None]:
        async for chunk in request.stream():
            yield chunk
        if not parser.complete:  # the parser would skip the last part
            raise MultiPartException("Its end (the closing boundary) is missing.")

    limited = {"max_files": limits.max_files, "max_fields": _MAX_FIELDS, "max_part_size": _MAX_FIELD_BYTES}
    parser = _FormParser(request.headers, body(), **limited)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Problem(400, f"The form cannot be read. {error.message}") from error
    uploads: list[Upload] = []
    try:
        for _, file in form.multi_items():
            if isinstance(file, UploadFile):
                if (file.size or 0) > limits.max_bytes:
                    raise _too_large(limits)
                uploads.append(await asyncio.to_thread(_save, file, place / str(len(uploads))))
    finally:
        await form.close()
    if not uploads:
        raise Problem(422, "The form has no file. Send audio in fields called 'file', or as the body of the request.")
    return uploads


async def _from_body(request: Request, place: Path, limits: UploadLimits) -> list[Upload]:
    path = place / "0"
    with path.open("wb") as file:
        async for chunk in request.stream():
            await asyncio.to_thread(file.write, chunk)
    return [Upload(_display_name(""), path)]


def _save(file: UploadFile, path: Path) -> Upload:
    name = file.filename or ""
    # Decoders recognise the format by the content, and only in doubt by the suffix.
    if suffix := re.search(r"\.[A-Za-z0-9]{1,5}$", name):
        path = path.with_suffix(suffix.group())
    with path.open("wb") as target:
        shutil.copyfileobj(file.file, target, 1 << 20)
    file.file.close()  # so that no second copy of the form stays on disk
    return Upload(_display_name(name), path)


def _too_large(limits: UploadLimits) -> Problem:
    return Problem(413, f"The limits are {limits.max_bytes:,} bytes per file and {limits.max_files} files per request.")


def _busy(reason: str) -> Problem:
    return Problem(503, f"{reason} Try again in {_RETRY_S} s.", headers={"Retry-After": str(_RETRY_S)})


def _display_name(name: str) -> str:
    """Return the last component of a client's file name, without characters that cannot be printed."""
    text = "".join(letter for letter in re.split(r"[/\\]", name)[-1] if letter.isprintable())
    return text[:200] or "upload"


class UploadFolder:
    """A temporary folder for uploads. Folders left behind by services that crashed are removed first."""

    def __init__(self) -> None:
        for abandoned in _abandoned():
            shutil.rmtree(abandoned, ignore_errors=True)
        self._place = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = (self._place / _LOCK).open("wb")
        _acquire(self._lock)
        self.path = self._place / "uploads"
        self.path.mkdir()
        self.stored_bytes = 0
        self._receiving: Counter[str] = Counter()  # requests by client

    @contextlib.contextmanager
    def receiving(self, request: Request, limits: UploadLimits) -> Iterator[None]:
        """Count a request of a client while its body is received. Only for the thread of the event loop."""
        client = request.client.host if request.client else ""
        if self._receiving.total() >= limits.max_receiving:
            raise _busy(f"The service is receiving {limits.max_receiving} uploads, its maximum.")
        if self._receiving[client] >= limits.max_per_client:
            raise _busy(f"You are sending {limits.max_per_client} uploads, the maximum of one client.")
        self._receiving[client] += 1
        try:
            yield
        finally:
            self._receiving[client] -= 1
            self._receiving += Counter()  # without clients that send nothing

    def remove(self) -> None:
        """Remove the folder and everything in it."""
        self._lock.close()
        shutil.rmtree(self._place, ignore_errors=True)


def _abandoned() -> Iterator[Path]:
    # The operating system releases the lock when a process ends, even if it crashes.
    for place in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), (place / _LOCK).open("rb+") as lock:
            if _acquire(lock):
                yield place


def _acquire(lock: IO[bytes]) -> bool:
    try:
        import fcntl  # POSIX only; elsewhere no folder counts as abandoned
    except ImportError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
