"""Uploaded files: streamed to disk rather than held in memory, and removed after the response."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Message, Receive

from eno.serving.errors import Problem

_PREFIX, _LOCK = "eno-serve-", "lock"
_MAX_FIELDS, _MAX_FIELD_BYTES = 20, 65_536  # other fields of a form
_AUDIO_BODY = re.compile(r"(audio|video)/|application/(octet-stream|ogg)$")


@dataclass(frozen=True, kw_only=True)
class UploadLimits:
    """Limits of one request."""

    max_bytes: int = 200_000_000  # of one file
    max_files: int = 16
    idle_s: float = 30.0  # a client that sends nothing for this long is disconnected


@dataclass(frozen=True)
class Upload:
    """A file that a client sent."""

    name: str  # chosen by the client; only for display
    path: Path  # temporary file


@contextlib.asynccontextmanager
async def receive_uploads(request: Request, folder: Path, limits: UploadLimits) -> AsyncIterator[list[Upload]]:
    """Receive the files of a form, or the body of the request as one file; yields at least one upload.

    They are saved below `folder`, and removed at the end of the context.

    Raises
    ------
    Problem
        The request has no file, is malformed or exceeds a limit; or the client stopped sending.
    ClientDisconnect
    """
    place = Path(tempfile.mkdtemp(dir=folder))
    try:
        yield await _receive(request, place, limits)
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, place, ignore_errors=True))


async def _receive(request: Request, place: Path, limits: UploadLimits) -> list[Upload]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_form = kind == "multipart/form-data"
    if not is_form and not _AUDIO_BODY.match(kind):
        raise Problem(415, "Send a form (multipart/form-data) with fields called 'file', or audio as the body.")
    most = limits.max_bytes
    if is_form:
        most = limits.max_bytes * limits.max_files + _MAX_FIELDS * _MAX_FIELD_BYTES
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise _too_large(limits)
    limited = Request(request.scope, _limited(request.receive, most, limits))
    return await (_from_form if is_form else _from_body)(limited, place, limits)


def _limited(receive: Receive, most: int, limits: UploadLimits) -> Receive:
    received = 0

    async def limited() -> Message:
        nonlocal received
        try:
            message = await asyncio.wait_for(receive(), limits.idle_s)
        except TimeoutError:
            raise Problem(408, f"Nothing was received for {limits.idle_s:g} s.") from None
        received += len(message.get("body", b""))
        if received > most:
            raise _too_large(limits)
        return message

    return limited


class _FormParser(MultiPartParser):
    complete = False

    def on_end(self) -> None:
        self.complete = True


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
