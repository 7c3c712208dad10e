"""Answers that a client may keep, and ask for only if they have changed."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import Response


@dataclass(frozen=True)
class Cacheable:
    """The content of an answer, compressed by gzip, and its hash."""

    packed: bytes
    digest: str

    @classmethod
    def of(cls, content: bytes) -> Cacheable:
        """Compress and hash a content."""
        return cls(gzip.compress(content, mtime=0), hashlib.sha256(content).hexdigest()[:16])

    def answer(self, request: Request, *, media_type: str = "application/json") -> Response:
        """Return the content, compressed if the client accepts that, or 304 if the client has it already."""
        compressed = accepts_gzip(request)
        # The two encodings are different representations, so they need different tags (RFC 9110, section 8.8.3).
        tag = f'"{self.digest}{"-gzip" * compressed}"'
        headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept-Encoding"}
        if is_known(request, tag):
            return Response(status_code=304, headers=headers)
        if compressed:
            return Response(self.packed, media_type=media_type, headers=headers | {"Content-Encoding": "gzip"})
        return Response(gzip.decompress(self.packed), media_type=media_type, headers=headers)


def is_known(request: Request, tag: str) -> bool:
    """Return whether a tag is among those of the If-None-Match header."""
    known = {one.strip().removeprefix("W/") for one in ",".join(request.headers.getlist("if-none-match")).split(",")}
    return tag in known or "*" in known


def accepts_gzip(request: Request) -> bool:
    """Return whether the Accept-Encoding header allows gzip."""
    quality = {}
    for one in ",".join(request.headers.getlist("accept-encoding")).split(","):
        name, _, parameter = one.partition(";")
        quality[name.strip().lower()] = parameter.replace(" ", "").lower()
    parameter = quality.get("gzip", quality.get("*", "q=0"))
    return parameter.removeprefix("q=").strip("0.") != "" or not parameter
