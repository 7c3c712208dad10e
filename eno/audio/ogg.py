"""Links of chained Ogg files: streams one after the other, which may differ in format."""

from __future__ import annotations

import io
import mmap
import os
from pathlib import Path
from typing import Any

_FIRST_PAGE = b"OggS\0\2"


def ogg_links(path: Path) -> list[int]:
    """Return where the links of a file begin (RFC 3533, section 4); a file that is not Ogg has one, at 0."""
    with path.open("rb") as file:
        if file.read(len(_FIRST_PAGE)) != _FIRST_PAGE:
            return [0]
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            links, at, end = [], 0, -1
            while at >= 0:
                if at != end:  # the streams of a link begin with pages that follow each other
                    links.append(at)
                segments = data[at + 27 : at + 27 + data[at + 26]] if at + 26 < len(data) else b""
                end = at + 27 + len(segments) + sum(segments)
                at = data.find(_FIRST_PAGE, at + 1)
    return links


class OggLink(io.RawIOBase):
    """One link of a file as a file of its own, since it may be hours long."""

    def __init__(self, path: Path, links: list[int], number: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._begin = links[number]
        end = links[number + 1] if number + 1 < len(links) else path.stat().st_size
        self._size, self._at = end - self._begin, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read up to the end of the link."""
        self._file.seek(self._begin + self._at)
        read = self._file.readinto(memoryview(buffer)[: max(0, self._size - self._at)])
        self._at += read
        return read

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, counted from the start of the link."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """Return the place, counted from the start of the link."""
        return self._at

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
