"""Files that clients send, streamed to disk, never held in memory, and gone when the request is answered."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar

from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from eno.serving.problems import Problem

_WRITE_BYTES = 1 << 20
_MAX_HEADER_BYTES, _MAX_FIELD_BYTES, _MAX_PARTS_BESIDES = 16_384, 65_536, 20
_BARE = re.compile(r"(audio|video)/|application/(octet-stream|ogg)$")
_TOO_LARGE, _UNSUPPORTED = 413, 415

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class UploadLimits:
    """What a request may send.

    Attributes
    ----------
    max_bytes : int
        Of one file.
    max_files : int
        In one request.
    idle_s : float
        A client that sends nothing for so long is given up.
    """

    max_bytes: int = 200_000_000
    max_files: int = 16
    idle_s: float = 30.0


@dataclass(eq=False)
class Upload:
    """A file that was sent.

    Attributes
    ----------
    name : str
        What the client calls it; only ever shown.
    path : Path
        Where it lies, under a name of the service's own.
    size : int
        Bytes.
    """

    name: str
    path: Path
    size: int = 0


@contextlib.asynccontextmanager
async def received(request: Request, folder: Path, limits: UploadLimits) -> AsyncIterator[list[Upload]]:
    """Take the files of a request: of a form, or one as the body itself.

    Parameters
    ----------
    request : Request
        Its body is read to the end.
    folder : Path
        Receives a folder for this request, which is removed with all in it at the end of the context.
    limits : UploadLimits
        What is taken.

    Yields
    ------
    list of Upload
        At least one.

    Raises
    ------
    Problem
        The request holds no file, or too much; or the client stops sending.
    ClientDisconnect
        It has gone.
    """
    place, receiver = Path(tempfile.mkdtemp(dir=folder)), None
    try:
        receiver = _receiver(request, place, limits)
        await _receive(request, receiver, limits)
        if not receiver.uploads:
            raise Problem(422, "The form holds no file. Send audio in fields called 'file', or as the body itself.")
        yield receiver.uploads
    finally:
        if receiver is not None:
            receiver.close()
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, place, ignore_errors=True))


def _receiver(request: Request, place: Path, limits: UploadLimits) -> _Form | _Body:
    kind, options = parse_options_header(request.headers.get("content-type", "").encode("latin-1"))
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.max_bytes * limits.max_files + _MAX_FIELD_BYTES:
        raise _too_large(limits)
    if kind == b"multipart/form-data":
        if not options.get(b"boundary"):
            raise Problem(400, "The form has no boundary.")
        return _Form(options[b"boundary"], place, limits)
    if _BARE.match(kind.decode("latin-1")):
        return _Body(place, limits)
    raise Problem(_UNSUPPORTED, "Send a form (multipart/form-data) with fields called 'file', or audio as the body.")


async def _receive(request: Request, receiver: _Form | _Body, limits: UploadLimits) -> None:
    stream = request.stream().__aiter__()
    while True:
        try:
            chunk = await asyncio.wait_for(anext(stream), limits.idle_s)
        except StopAsyncIteration:
            break
        except TimeoutError:
            raise Problem(408, f"Nothing was sent for {limits.idle_s:g} s.") from None
        receiver.feed(chunk)
        if receiver.pending_bytes >= _WRITE_BYTES:
            await asyncio.to_thread(receiver.flush)
    receiver.finish()
    await asyncio.to_thread(receiver.flush)


def _too_large(limits: UploadLimits) -> Problem:
    return Problem(
        _TOO_LARGE, f"At most {limits.max_bytes:,} bytes a file and {limits.max_files} files a request are taken."
    )


class _Files:
    """Files that grow in a folder. What comes in is kept until `flush`, which may block."""

    def __init__(self, place: Path, limits: UploadLimits) -> None:
        self.uploads: list[Upload] = []
        self.pending_bytes = 0
        self._pending: list[tuple[IO[bytes], bytes]] = []
        self._place, self._limits = place, limits
        self._open: IO[bytes] | None = None
        self._old: list[IO[bytes]] = []

    def begin(self, name: str) -> None:
        if len(self.uploads) == self._limits.max_files:
            raise _too_large(self._limits)
        # Decoders go by the content, and only in doubt by the ending.
        ending = re.search(r"\.[A-Za-z0-9]{1,5}$", name)
        path = self._place / f"{len(self.uploads)}{ending.group() if ending else ''}"
        self.uploads.append(Upload(_shown(name), path))
        if self._open is not None:
            self._old.append(self._open)
        self._open = path.open("wb")

    def add(self, data: bytes) -> None:
        upload = self.uploads[-1]
        upload.size += len(data)
        if upload.size > self._limits.max_bytes:
            raise _too_large(self._limits)
        assert self._open is not None
        self._pending.append((self._open, data))
        self.pending_bytes += len(data)

    def flush(self) -> None:
        for file, data in self._pending:
            file.write(data)
        self._pending, self.pending_bytes = [], 0
        for file in self._old:
            file.close()
        self._old = []
        if self._open is not None:
            self._open.flush()

    def close(self) -> None:
        self._pending = []
        for file in (*self._old, *([self._open] if self._open else [])):
            file.close()


class _Body(_Files):
    """The body is the file."""

    def __init__(self, place: Path, limits: UploadLimits) -> None:
        super().__init__(place, limits)
        self.begin("")

    def feed(self, chunk: bytes) -> None:
        if chunk:
            self.add(chunk)

    def finish(self) -> None:
        return


@dataclass
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: bytes = b""
    value: bytes = b""
    size: int = 0
    is_file: bool = False


class _Form(_Files):
    """A form; of its parts those with a file name are files, all others are passed over."""

    def __init__(self, boundary: bytes, place: Path, limits: UploadLimits) -> None:
        super().__init__(place, limits)
        self._part, self._parts, self._ended = _Part(), 0, False
        self._parser = _guarded(
            lambda: MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part,
                    "on_header_field": self._on_name,
                    "on_header_value": self._on_value,
                    "on_header_end": self._on_header,
                    "on_headers_finished": self._on_headers,
                    "on_part_data": self._on_data,
                    "on_end": self._on_end,
                },
            )
        )

    def feed(self, chunk: bytes) -> None:
        if chunk and not self._ended:
            _guarded(lambda: self._parser.write(chunk))

    def finish(self) -> None:
        _guarded(self._parser.finalize)
        if not self._ended:
            raise Problem(400, "The form ends before its last boundary.")

    def _on_part(self) -> None:
        self._part = _Part()
        self._parts += 1
        if self._parts > self._limits.max_files + _MAX_PARTS_BESIDES:
            raise Problem(400, "The form has too many parts.")

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._part.name += self._header_bytes(data[start:end])

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._part.value += self._header_bytes(data[start:end])

    def _header_bytes(self, data: bytes) -> bytes:
        self._part.size += len(data)
        if self._part.size > _MAX_HEADER_BYTES:
            raise Problem(400, "The headers of a part are too long.")
        return data

    def _on_header(self) -> None:
        self._part.headers[self._part.name.lower()] = self._part.value
        self._part.name = self._part.value = b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._part.headers.get(b"content-disposition", b""))
        self._part.size = 0
        if b"filename" in options:
            self._part.is_file = True
            self.begin(options[b"filename"].decode("utf-8", "replace"))

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._part.is_file:
            self.add(data[start:end])
            return
        self._part.size += end - start
        if self._part.size > _MAX_FIELD_BYTES:
            raise Problem(_TOO_LARGE, f"A field that is no file has more than {_MAX_FIELD_BYTES:,} bytes.")

    def _on_end(self) -> None:
        self._ended = True


def _guarded(work: Callable[[], _T]) -> _T:
    try:
        return work()
    except (FormParserError, ValueError) as error:
        raise Problem(400, f"The form cannot be read: {error}.") from None


def _shown(name: str) -> str:
    """What is shown of a client's file name: its last part, without what cannot be printed."""
    last = re.split(r"[/\\]", name)[-1]
    text = "".join(letter for letter in last if letter.isprintable())
    return text[:200] or "upload"
