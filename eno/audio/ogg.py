"""Links of chained Ogg files: streams one after the other, which may differ in format."""

from __future__ import annotations

import mmap
from pathlib import Path

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


def read_link(path: Path, links: list[int], number: int) -> bytes:
    """Return the bytes of a link."""
    with path.open("rb") as file:
        file.seek(links[number])
        return file.read(links[number + 1] - links[number] if number + 1 < len(links) else -1)
