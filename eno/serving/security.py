"""Access control and security headers, as ASGI middleware around the whole service."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from starlette._utils import get_route_path
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
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
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_CROSS_SITE = "Requests from pages of other sites are refused. Restart with --allow-origin ORIGIN to allow one."
_SAME_SITE = ("same-origin", "none")  # "none": typed by the user
_PORTS = {"http": 80, "https": 443}
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
        Accepted Host headers, besides the address of the connection; empty for any. This prevents DNS rebinding, by
        which another site's page could read a local service. Ports of Host headers are ignored.
    names : tuple of str
        ``NAME`` or ``NAME:PORT`` of the service as browsers see it behind a proxy. Their pages may use the service
        even if the proxy replaces the Host header.
    origins : tuple of str
        Other sites whose pages may use the service (CORS); ``"*"`` for all.
    """

    token: str | None = None
    hosts: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
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
        host = host_of(headers.get("host", ""))
        if self._access.hosts and host not in {
            *map(host_of, self._access.hosts),
            host_of((scope["server"] or [""])[0]),
        }:
            return Problem(421, f"Unrecognised Host header. Restart with --host-name {host or 'HOST'} to allow it.")
        path = get_route_path(scope)
        # Pages of other sites may neither change anything nor use the model, and the page itself can be linked.
        costs = scope["method"] not in _SAFE or (path.startswith("/v1/") and scope["method"] != "OPTIONS")
        if costs and self._is_foreign(headers):
            return Problem(403, _CROSS_SITE)
        public = path in _PUBLIC or path.startswith("/assets/") or scope["method"] == "OPTIONS"
        if public or self._access.token is None or _has_token(scope, headers, self._access):
            return None
        return Problem(401, _NO_TOKEN, headers={"WWW-Authenticate": "Bearer"})

    def _is_foreign(self, headers: Headers) -> bool:
        """Return whether a page of another site sent a request. Only browsers send these headers."""
        sources = [*headers.getlist("origin"), *(headers.getlist("referer") if "origin" not in headers else [])]
        if sources and all(self._allowed(source) for source in sources):
            return False
        if headers.get("sec-fetch-site", "none").lower() not in _SAME_SITE:
            return True
        own = [headers.get("host", ""), *self._access.names]
        # A proxy may have replaced both scheme and port, so the scheme is that of the page.
        return any(
            (page := _origin(source)) is None or page not in [_origin(f"{page[0]}://{name}") for name in own]
            for source in sources
        )

    def _allowed(self, page: str | None) -> bool:
        if page is None or "*" in self._access.origins:
            return page is not None
        return (origin := _origin(page)) is not None and origin in map(_origin, self._access.origins)

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


def is_local(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    host = host_of(host)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def local_names(host: str, names: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the accepted hosts of `Access`: `names`, the address to listen on, and localhost.

    Examples
    --------
    >>> local_names("0.0.0.0", ["Music.Home:8443"])
    ('localhost', '127.0.0.1', '::1', '0.0.0.0', 'music.home')
    """
    return tuple(dict.fromkeys(filter(None, map(host_of, ("localhost", "127.0.0.1", "::1", host, *names)))))


def host_of(text: str) -> str:
    """Return the normalised host of a Host header, an address or a URL; empty if there is none.

    Examples
    --------
    >>> host_of("Music.Home.:8000"), host_of("[0:0:0:0:0:0:0:1]:80"), host_of("https://é.fr/")
    ('music.home', '::1', 'xn--9ca.fr')
    """
    try:
        host = text if _address(text) else (_split(text).hostname or "")
        if (address := _address(host)) is not None:
            return str(getattr(address, "ipv4_mapped", None) or address)
        name = host.rstrip(".").encode("idna").decode("ascii").lower()
        return name if re.fullmatch(r"[a-z0-9._-]+", name) else ""
    except ValueError:  # UnicodeError is one too
        return ""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _split(text: str) -> SplitResult:
    return urlsplit(text if "://" in text else f"//{text}")


def _origin(page: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of the address of a page; None for ``null`` and others without."""
    try:
        parts = _split(page)
        host, port = host_of(page), parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, host, port) if host and port else None


def _has_token(scope: Scope, headers: Headers, access: Access) -> bool:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return hmac.compare_digest(token.strip().encode(), (access.token or "").encode())
    # Starlette reads cookies as browsers do; http.cookies gives up at one of another application that it cannot read.
    cookie = HTTPConnection(scope).cookies.get(COOKIE, "")
    return hmac.compare_digest(cookie.encode(), access.session().encode())
