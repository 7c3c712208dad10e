"""Who may ask, and what browsers may do with the answers: a layer of ASGI around the whole service."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eno.serving.errors import Problem

COOKIE = "eno_session"

_OPEN = ("/", "/healthz", "/readyz", "/openapi.json")
_OPEN_FOLDERS = ("/assets/",)
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_SAFE = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may ask.

    Attributes
    ----------
    token : str or None
        What clients must show; None lets everybody in who reaches the port.
    hosts : tuple of str
        Names under which the service may be asked for; none for any. Otherwise a page of a stranger could give its own
        name the address of this machine, and read all that is here.
    origins : tuple of str
        Whose pages in a browser may use the service, besides its own; ``"*"`` for all.
    """

    token: str | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    def session(self) -> str:
        """What a browser keeps in a cookie in place of the token."""
        return hmac.new((self.token or "").encode(), b"eno session", hashlib.sha256).hexdigest()


class SecurityMiddleware:
    """Refuses who may not ask, and adds headers to what is answered.

    Parameters
    ----------
    app : ASGIApp
        The service.
    access : Access
        Who may ask.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    out.setdefault(name, value)
                self._allow_origin(headers, out)
            await send(message)

        problem = self._problem(scope, headers)
        if problem is not None:
            await problem.response()(scope, receive, send_guarded)
        elif scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await Response(status_code=204)(scope, receive, send_guarded)
        else:
            await self._app(scope, receive, send_guarded)

    def _problem(self, scope: Scope, headers: Headers) -> Problem | None:
        host = _host(headers.get("host", ""))
        if self._access.hosts and host not in self._access.hosts:
            return Problem(421, "The service does not go by this name. Start it with --host-name to let it.")
        # A browser says from where a request comes. Of a page of strangers it may change nothing and use no time.
        foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if foreign and scope["method"] not in _SAFE and not self._allowed(headers.get("origin")):
            return Problem(403, "Pages of other sites may not use this service.")
        if self._access.token is None or _is_open(scope["path"]) or scope["method"] == "OPTIONS":
            return None
        if _shows(headers, self._access):
            return None
        return Problem(401, "A token is needed: Authorization: Bearer <token>.", headers={"WWW-Authenticate": "Bearer"})

    def _allowed(self, origin: str | None) -> bool:
        return origin is not None and ("*" in self._access.origins or origin in self._access.origins)

    def _allow_origin(self, headers: Headers, out: MutableHeaders) -> None:
        if not self._access.origins:
            return
        out.add_vary_header("Origin")
        origin = headers.get("origin")
        if origin is not None and self._allowed(origin):
            out["Access-Control-Allow-Origin"] = origin
            out["Access-Control-Allow-Headers"] = "Authorization, Content-Type, Range"
            out["Access-Control-Allow-Methods"] = "GET, POST"
            out["Cross-Origin-Resource-Policy"] = "cross-origin"


def local_names(host: str, names: Sequence[str] = ()) -> tuple[str, ...]:
    """Names for `Access`: those of this machine where only it can connect, and what was named; else any.

    Examples
    --------
    >>> local_names("127.0.0.1")
    ('localhost', '127.0.0.1', '::1')
    >>> local_names("0.0.0.0")
    ()
    """
    local = ("localhost", "127.0.0.1", "::1")
    return (*local, *names) if host in local else tuple(names)


def _host(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _is_open(path: str) -> bool:
    return path in _OPEN or path.startswith(_OPEN_FOLDERS)


def _shows(headers: Headers, access: Access) -> bool:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return hmac.compare_digest(token.strip().encode(), (access.token or "").encode())
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return False
    return cookie is not None and hmac.compare_digest(cookie.value.encode(), access.session().encode())
