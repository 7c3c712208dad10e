"""Whether a file holds as much audio as its header states.

The header may be that of a live stream or of the first of several joined files, or it was never completed. The checks
read a few kilobytes, so that scanning stays fast. A file that fails them is measured by decoding it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

TOLERANCE_S = 1.05
"""Seconds of a file that may be missing or damaged; one bad byte can cost a frame of TTA or a page of Ogg, as long."""

_CHUNK = 1 << 17  # longer than a page of Ogg, or two frames of nearly any FLAC
_PLACES = (1 / 4, 1 / 2, 3 / 4, 1)
_APPENDED_TAGS = 4096  # more than this after the bytes that the header of an MP3 counts may be audio
_FRAMES_PER_BYTE = 64  # no coding but those of FLAC, MP3 and Ogg comes near


def length_is_certain(path: Path, container: str, frames: int) -> bool:
    """Return whether the `frames` that the header of a file states agree with the rest of the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if container == "MP3":
            return _mp3_is_whole(file, size)
        if container == "OGG":
            return _ogg_is_whole(file, size)
        if container == "FLAC":
            return _flac_is_whole(file, size, frames)
        if container in ("WAV", "WAVEX") and not _riff_is_whole(file, size):
            return False
    return 0 < frames <= size * _FRAMES_PER_BYTE


def _mp3_is_whole(file: BinaryIO, size: int) -> bool:
    """Compare the numbers of frames and bytes in a Xing, Info or VBRI header with the file."""
    from mutagen import mp3

    mpeg: Any = mp3  # has no types
    mpeg.skip_id3(file)
    begin = file.tell()
    start = file.read(4096)
    sync = re.search(rb"\xff[\xe0-\xff]", start)
    if sync is None:
        return False
    try:
        frames = BytesIO(start[sync.start() :])
        first, second = mpeg.MPEGFrame(frames), mpeg.MPEGFrame(BytesIO(frames.read(4)))
    except mpeg.HeaderNotFoundError:
        return False
    if first.sketchy or not getattr(first, "length", 0):  # no such header, or one without a number of frames
        return False
    if first.bitrate_mode == mpeg.BitrateMode.CBR and not 0.9 < first.bitrate / second.bitrate < 1.1:
        return False
    return bool(size - begin - first.length * first.bitrate / 8 <= _APPENDED_TAGS)


def _ogg_is_whole(file: BinaryIO, size: int) -> bool:
    """Check that all pages belong to one stream, as far as places in the file show."""
    first = file.read(18)[14:18]
    pages = []
    for chunk in _chunks(file, 0, size):
        at = chunk.rfind(b"OggS\0", 0, len(chunk) - 22)
        if at >= 0:
            pages.append((chunk[at + 14 : at + 18], int.from_bytes(chunk[at + 18 : at + 22], "little")))
    # A small file has the same last page in several chunks.
    return all(serial == first for serial, _ in pages) and all(a <= b for (_, a), (_, b) in pairwise(pages))


def _flac_is_whole(file: BinaryIO, size: int, frames: int) -> bool:
    """Check that the numbers of FLAC frames ascend up to the length that the header states."""
    file.seek(max(0, (start := file.read(1 << 16).find(b"fLaC"))))
    head = file.read(42)
    if start < 0 or len(head) < 42:
        return False
    nominal = int.from_bytes(head[8:10], "big")
    ends = [end for chunk in _chunks(file, start + 42, size) if (end := _last_flac_end(chunk, nominal)) is not None]
    return bool(ends) and all(a <= b for a, b in pairwise(ends)) and ends[-1] == frames


def _last_flac_end(chunk: bytes, nominal: int) -> int | None:
    found = None
    for match in re.finditer(rb"\xff[\xf8\xf9]", chunk):
        header = FLACFrame.parse(chunk[match.start() : match.start() + 16])
        if header is not None:
            found = (header.number if header.counts_samples else header.number * nominal) + header.samples
    return found


def _chunks(file: BinaryIO, begin: int, size: int) -> Iterator[bytes]:
    for place in _PLACES:
        end = begin + round((size - begin) * place)
        file.seek(max(begin, end - _CHUNK))
        yield file.read(min(_CHUNK, end - begin))


class FLACFrame(NamedTuple):
    """Header of a FLAC frame: its number, or that of its first sample if `counts_samples`, and its length."""

    number: int
    counts_samples: bool
    samples: int

    @classmethod
    def parse(cls, data: bytes) -> FLACFrame | None:
        """Parse at least 16 bytes from the start of a frame (RFC 9639, section 9.1); None if they are no header."""
        if len(data) < 16 or data[0] != 0xFF or data[1] & 0xFE != 0xF8 or data[3] & 1:
            return None
        code, rate = data[2] >> 4, data[2] & 15
        more = max(0, 8 - (data[4] ^ 0xFF).bit_length() - 1)  # number of bytes after the first, as in UTF-8
        end = 5 + more
        if code == 0 or rate == 15 or data[4] >> 6 == 2 or any(byte >> 6 != 2 for byte in data[5:end]):
            return None
        number = data[4] & (0x7F if not more else 0x3F >> more)
        for byte in data[5:end]:
            number = number << 6 | byte & 0x3F
        samples = 192 if code == 1 else 576 << (code - 2) if code < 6 else 1 << code
        if code in (6, 7):
            samples = int.from_bytes(data[end : end + code - 5], "big") + 1
            end += code - 5
        end += {12: 1, 13: 2, 14: 2}.get(rate, 0)
        return cls(number, bool(data[1] & 1), samples) if end < len(data) and _crc8(data[:end]) == data[end] else None


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc << 1 ^ (0x107 if crc & 0x80 else 0)
    return crc


def _riff_is_whole(file: BinaryIO, size: int) -> bool:
    """Check that chunks, not samples, follow the audio of a WAV file."""
    file.seek(12)
    while len(header := file.read(8)) == 8:
        if not re.fullmatch(rb"[ -~]{4}", header[:4]):
            return header[:3] == b"ID3" or size - file.tell() < _APPENDED_TAGS
        length = int.from_bytes(header[4:], "little")
        if header[:4] == b"data" and not length:
            return False
        file.seek(length + length % 2, os.SEEK_CUR)
    return True
