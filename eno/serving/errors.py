"""Error responses as problem details (RFC 9457, ``application/problem+json``)."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from eno.errors import AudioError, ConfigError, EnoError, SimilarityError, UnknownName

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_CLIENT_CLOSED_REQUEST = 499
_INTERNAL = "Internal error. The log of the service has the details."


class Problem(Exception):
    """An error response: HTTP status, message, headers, and further members of the JSON object."""

    def __init__(self, status: int, detail: str, *, headers: dict[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.members = status, detail, headers or {}, members

    def to_dict(self) -> dict[str, Any]:
        """Return the members of the JSON object."""
        title = HTTPStatus(self.status).phrase
        return {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail, **self.members}

    def response(self) -> Response:
        """Return the HTTP response."""
        return Response(json.dumps(self.to_dict()), self.status, headers=self.headers, media_type=MEDIA_TYPE)


def of_error(error: EnoError) -> Problem:
    """Turn an error into a response. The client sees the cause only if it can correct it; other causes are logged."""
    if isinstance(error, AudioError):
        return Problem(422, f"The file {error.reason}.")  # without its path, which is temporary
    if isinstance(error, SimilarityError | ConfigError | UnknownName):
        return Problem(422, str(error))
    logger.error("%s", error)
    return Problem(500, _INTERNAL)


def install_handlers(app: FastAPI) -> None:
    """Turn every error of an app into problem details."""

    @app.exception_handler(Problem)
    async def _problem(_request: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(EnoError)
    async def _eno(_request: Request, error: EnoError) -> Response:
        return of_error(error).response()

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_methods(app, request))
            if request.method == "OPTIONS":
                return Response(status_code=204, headers=headers)
        return Problem(error.status_code, f"{error.detail.rstrip('.')}.", headers=headers).response()

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> Response:
        errors = [{"where": ".".join(map(str, one["loc"])), "what": one["msg"]} for one in error.errors()]
        summary = "; ".join(f"{one['where']}: {one['what']}" for one in errors[:5])
        return Problem(422, f"Invalid request: {summary}.", errors=errors).response()

    @app.exception_handler(ClientDisconnect)
    async def _gone(_request: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=_CLIENT_CLOSED_REQUEST)

    @app.exception_handler(Exception)
    async def _bug(_request: Request, _error: Exception) -> Response:
        return Problem(500, _INTERNAL).response()


def _methods(app: FastAPI, request: Request) -> list[str]:
    """Return the methods of a path. Starlette would name only those of the first route for it."""

    def has(method: str) -> bool:
        return any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in app.routes)

    found = [method for method in ("GET", "POST") if has(method)]
    return [*found, *(["HEAD"] if "GET" in found else []), "OPTIONS"]


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of a route for OpenAPI."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}
