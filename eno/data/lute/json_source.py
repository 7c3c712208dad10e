"""Lute's albums as JSON lines or one JSON array, optionally compressed with gzip or zstd."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json

from eno.data.lute.albums import ALBUM_SCHEMA
from eno.data.lute.records import AlbumBatch, Malformed, ProgressCallback, as_album
from eno.errors import CatalogueError, MissingExtra

_Reject = Callable[[Malformed], None]

_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_UTF8_MARK, _UTF16_MARKS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_BLOCK_BYTES = 8 << 20
_ARRAY_ALBUMS = 4096
_READ_BY_PYTHON = 32  # blocks of more lines that Arrow rejects are halved


def read_json(path: Path, reject: _Reject, on_progress: ProgressCallback) -> Iterator[AlbumBatch]:
    """Yield albums from JSON lines or from one JSON array, which needs ijson."""
    with _open(path, on_progress) as stream:
        head = stream.peek(64)
        if head.startswith(_UTF16_MARKS):
            raise CatalogueError(f"{path}: is UTF-16, expected UTF-8. Convert it, for example with: iconv -f UTF-16")
        if head.startswith(_UTF8_MARK):
            stream.read(len(_UTF8_MARK))
        if stream.peek(4096).lstrip().startswith(b"["):
            yield from _read_array(path, stream, reject)
        else:
            yield from _read_lines(stream, reject)


@contextmanager
def _open(path: Path, on_progress: ProgressCallback) -> Iterator[io.BufferedReader]:
    """Open and decompress a file; I/O errors in the body of the ``with`` statement name it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        compression = next((name for magic, name in _COMPRESSIONS.items() if file.peek(4).startswith(magic)), None)
        counted = _Counted(file, size, on_progress)
        stream = pa.CompressedInputStream(counted, compression) if compression else counted
        try:
            yield io.BufferedReader(stream, 1 << 20)
        except OSError as error:
            raise CatalogueError(f"{path}: is damaged or truncated ({error}); nothing was imported.") from error


class _Counted(io.RawIOBase):
    """A file that reports the progress of reading it."""

    def __init__(self, file: io.BufferedReader, size: int, on_progress: ProgressCallback) -> None:
        self._file, self._size, self._report = file, size, on_progress

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer)
        self._report(self._file.tell(), self._size)
        return count


def _read_lines(stream: io.BufferedReader, reject: _Reject) -> Iterator[AlbumBatch]:
    first = 1
    for block in _whole_lines(stream):
        lines = block.split(b"\n")
        numbered = [(first + i, line) for i, line in enumerate(lines) if line.strip()]
        first += block.count(b"\n")
        yield from parse_lines(numbered, "line", reject)


def _whole_lines(stream: io.BufferedReader) -> Iterator[bytes]:
    parts: list[bytes] = []
    while block := stream.read(_BLOCK_BYTES):
        end = block.rfind(b"\n") + 1
        if end:
            yield b"".join([*parts, block[:end]])
            parts = []
        parts.append(block[end:])
    yield b"".join(parts)


def parse_lines(lines: list[tuple[int, bytes]], unit: str, reject: _Reject) -> Iterator[AlbumBatch]:
    """Parse numbered JSON objects with Arrow, or with Python where Arrow fails. `unit` is for messages: ``"line"``."""
    # Arrow does not report which line is malformed and why, and it is stricter than necessary, for example if a track
    # position is a number. Blocks that it rejects are halved until few lines are left for Python.
    if not lines:
        return
    table = _parse_with_arrow([line for _, line in lines])
    if table is not None:
        yield AlbumBatch(table, [number for number, _ in lines], unit)
    elif len(lines) > _READ_BY_PYTHON:
        half = len(lines) // 2
        yield from parse_lines(lines[:half], unit, reject)
        yield from parse_lines(lines[half:], unit, reject)
    else:
        yield _parse_with_python(lines, unit, reject)


def _parse_with_arrow(lines: list[bytes]) -> pa.Table | None:
    # A line that is just "null" crashes Arrow's parser, so only objects may reach it.
    if not all(line.lstrip().startswith(b"{") for line in lines):
        return None
    block = b"\n".join(lines)
    try:
        table = pa.json.read_json(
            io.BytesIO(block),
            read_options=pa.json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=pa.json.ParseOptions(explicit_schema=ALBUM_SCHEMA, unexpected_field_behavior="ignore"),
        )
        table.validate(full=True)  # Arrow accepts any bytes as text
    except pa.ArrowInvalid:
        return None
    return table if len(table) == len(lines) else None  # two objects on one line


def _parse_with_python(lines: list[tuple[int, bytes]], unit: str, reject: _Reject) -> AlbumBatch:
    records, numbers, unreadable = [], [], []
    for number, line in lines:
        left_out: list[str] = []
        try:
            records.append(as_album(json.loads(line), left_out))
            numbers.append(number)
            unreadable += [f"{unit} {number}: {one}" for one in left_out]
        except (ValueError, RecursionError) as error:
            reject(Malformed(f"{unit} {number}", _explain(error)))
    return AlbumBatch(pa.Table.from_pylist(records, schema=ALBUM_SCHEMA), numbers, unit, unreadable)


def _read_array(path: Path, stream: io.BufferedReader, reject: _Reject) -> Iterator[AlbumBatch]:
    try:
        import ijson
    except ImportError as error:
        raise MissingExtra("lute", "ijson") from error
    elements = enumerate(ijson.items(stream, "item", use_float=True), 1)
    number = 0
    more = True
    while more:
        lines = []
        try:
            for number, element in islice(elements, _ARRAY_ALBUMS):
                lines.append((number, json.dumps(element).encode()))
        except (ijson.JSONError, UnicodeDecodeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CatalogueError(
                f"{path}: is not valid JSON after album number {number} ({reason}); nothing was imported."
            ) from error
        more = bool(lines)
        yield from parse_lines(lines, "album number", reject)


def _explain(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 at byte {error.start + 1}"
    if isinstance(error, json.JSONDecodeError):
        return f"is not valid JSON at character {error.pos + 1}: {error.msg}"
    return str(error)
