"""What happens to every request before its route: path prefix, HEAD, and the limits of small bodies."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.responses import FileResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eno.serving.errors import Problem

_MAX_BYTES = 1_000_000  # of a body that is no upload
_UPLOADS = ("/v1/tag", "/v1/similar")  # these have limits of their own, see `eno.serving.uploads`
_HEAD = "eno.is_head"


class PathMiddleware:
    """Removes the path below which the service appears, ``/eno``, unless a proxy did; and turns HEAD into GET."""

    def __init__(self, app: ASGIApp, *, root_path: str = "") -> None:
        self._app, self._root = app, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if self._root and path == self._root:  # links of the page are relative to the folder
            await RedirectResponse(f"{self._root}/", 308)(scope, receive, send)
            return
        scope["path"] = path[len(self._root) :] if path.startswith(f"{self._root}/") else path
        if scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        scope["method"], scope[_HEAD] = "GET", True

        async def send_head(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        try:
            await self._app(scope, receive, send_head)
        finally:
            scope["method"] = "HEAD"


class BodyMiddleware:
    """Receives bodies that are no uploads before their routes, with limits on their size and total time."""

    def __init__(self, app: ASGIApp, *, body_s: float = 30.0) -> None:
        self._app, self._body_s = app, body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "http" and scope["path"] not in _UPLOADS:
            try:
                receive = await self._small_body(scope, receive)
            except Problem as problem:
                await problem.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _small_body(self, scope: Scope, receive: Receive) -> Receive:
        headers = Headers(scope=scope)
        if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
            return receive
        messages: list[Message] = []
        size = 0
        try:
            async with asyncio.timeout(self._body_s):
                while not messages or messages[-1].get("more_body"):
                    messages.append(await receive())
                    size += len(messages[-1].get("body", b""))
                    if size > _MAX_BYTES:
                        raise Problem(413, f"The body of this request may have {_MAX_BYTES:,} bytes.")
        except TimeoutError:
            raise Problem(408, f"The body was not complete after {self._body_s:g} s.") from None
        waiting = iter(messages)

        async def replay() -> Message:
            return next(waiting, None) or await receive()

        return replay


class AudioFile(FileResponse):
    """A file, which is not read for a HEAD request."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, or only its headers."""
        await super().__call__({**scope, "method": "HEAD"} if scope.get(_HEAD) else scope, receive, send)
