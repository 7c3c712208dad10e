"""Access control and security headers, as ASGI middleware around the whole service."""

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

_PUBLIC = ("/", "/healthz", "/readyz", "/openapi.json")  # and /assets/
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
_CROSS_SITE = "Requests from pages of other sites are refused. Restart with --allow-origin ORIGIN to allow one."
_NO_TOKEN = "Missing or wrong token. Send it in the header 'Authorization: Bearer TOKEN'."
_SAFE = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may use the service.

    Attributes
    ----------
    token : str or None
        Bearer token that clients must send; None admits everybody who can reach the port.
    hosts : tuple of str
        Accepted Host headers, without ports; empty for any. This prevents DNS rebinding, by which another site's page
        could read a local service.
    origins : tuple of str
        Other sites whose pages may use the service (CORS); ``"*"`` for all.
    """

    token: str | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    def session(self) -> str:
        """Return the value of the session cookie, derived from the token."""
        return hmac.new((self.token or "").encode(), b"eno session", hashlib.sha256).hexdigest()


class SecurityMiddleware:
    """Refuses requests without access, and adds security headers to every response."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
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
            return Problem(421, f"Unrecognised Host header. Restart with --host-name {host or 'HOST'} to allow it.")
        # Browsers send Sec-Fetch-Site: pages of other sites may neither change anything nor use the model.
        foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if foreign and scope["method"] not in _SAFE and not self._allowed(headers.get("origin")):
            return Problem(403, _CROSS_SITE)
        public = scope["path"] in _PUBLIC or scope["path"].startswith("/assets/") or scope["method"] == "OPTIONS"
        if public or self._access.token is None or _has_token(headers, self._access):
            return None
        return Problem(401, _NO_TOKEN, headers={"WWW-Authenticate": "Bearer"})

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
    """Return the accepted hosts of `Access`: `names`, and on a loopback address also its own names.

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


def _has_token(headers: Headers, access: Access) -> bool:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return hmac.compare_digest(token.strip().encode(), (access.token or "").encode())
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return False
    return cookie is not None and hmac.compare_digest(cookie.value.encode(), access.session().encode())
