"""The HTTP service: routes, web page, metrics and health checks of a `eno.serving.service.Service`."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.resources
import signal
from collections.abc import AsyncIterator, Iterator

from fastapi import FastAPI, Request
from fastapi.responses import Response

from eno.mapping.map import MAP_SCRIPTS
from eno.serving import schemas
from eno.serving.cacheable import is_known
from eno.serving.errors import Problem, install_handlers, problem_responses
from eno.serving.metrics import MetricsMiddleware
from eno.serving.requests import BodyMiddleware, PathMiddleware
from eno.serving.routes import inference, maps, reviews, search, tracks
from eno.serving.security import COOKIE, Access, SecurityMiddleware
from eno.serving.service import Service
from eno.version import __version__

_DESCRIPTION = "Tags music with your own vocabulary, and finds similar tracks."
_ASSETS = (
    "index.html",
    "style.css",
    "common.js",
    "track.js",
    "map_points.js",
    "collection_map.js",
    "review.js",
    "app.js",
)
_KINDS = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}


def create_app(service: Service, access: Access | None = None, *, root_path: str = "") -> FastAPI:
    """Create the ASGI app, which starts and closes the service. By default anyone who reaches the port may use it.

    Below a path such as ``/eno``, the `root_path`, the service appears behind a proxy that keeps or removes that path.
    """
    access = access or Access()

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        with _reload_on_hangup(service):
            yield
        await service.close()

    # FastAPI's documentation pages would load scripts from other hosts. /openapi.json is available.
    app = FastAPI(
        title="eno", version=__version__, description=_DESCRIPTION, lifespan=lifespan, docs_url=None, redoc_url=None,
        servers=[{"url": root_path}] if root_path else None, redirect_slashes=False,
    )  # fmt: skip
    app.state.service = service
    install_handlers(app)
    app.include_router(tracks.router)
    app.include_router(maps.router)
    app.include_router(inference.router)
    app.include_router(search.router)
    app.include_router(reviews.router)
    _add_health(app, service)
    _add_session(app, access, root_path)
    _add_page(app)
    app.add_middleware(BodyMiddleware)
    app.add_middleware(SecurityMiddleware, access=access)
    app.add_middleware(PathMiddleware, root_path=root_path)
    app.add_middleware(MetricsMiddleware, metrics=service.metrics)
    return app


@contextlib.contextmanager
def _reload_on_hangup(service: Service) -> Iterator[None]:
    loop, hangup = asyncio.get_running_loop(), getattr(signal, "SIGHUP", None)
    tasks: set[asyncio.Task[bool]] = set()

    def reload() -> None:
        tasks.add(task := loop.create_task(service.reload()))
        task.add_done_callback(tasks.discard)

    try:
        if hangup is not None:
            loop.add_signal_handler(hangup, reload)
    except (NotImplementedError, ValueError, RuntimeError):  # not available on this system or in this thread
        hangup = None
    try:
        yield
    finally:
        if hangup is not None:
            loop.remove_signal_handler(hangup)


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", tags=["health"])
    async def alive() -> schemas.Health:
        """Check that the process is running."""
        return schemas.Health(outdated=service.outdated)

    @app.get("/readyz", tags=["health"], responses=problem_responses(503))
    async def ready() -> schemas.Health:
        """Check that requests are accepted."""
        if service.stopping:
            raise Problem(503, "The service is stopping.", headers={"Retry-After": "5"})
        return schemas.Health(outdated=service.outdated)

    @app.get("/metrics", tags=["health"], response_class=Response, responses={
        **problem_responses(401, 421), 200: {"description": "Metrics", "content": {"text/plain": {}}},
    })  # fmt: skip
    def metrics() -> Response:
        """Return metrics for Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


def _add_session(app: FastAPI, access: Access, root_path: str) -> None:
    @app.post("/v1/session", status_code=204, response_class=Response, responses=problem_responses(401, 403, 421))
    async def session(request: Request) -> Response:
        """Set a session cookie for the token of the request, so that a browser can play audio."""
        answer = Response(status_code=204)
        if access.token is not None:
            secure = request.url.scheme == "https"
            place = f"{root_path}/"
            answer.set_cookie(COOKIE, access.session(), path=place, httponly=True, samesite="strict", secure=secure)
        return answer


def _add_page(app: FastAPI) -> None:
    web, mapping = (importlib.resources.files("eno").joinpath(*place) for place in (("serving", "web"), ("mapping",)))
    texts = {name: web.joinpath(name).read_text("utf-8") for name in _ASSETS}
    texts["map.js"] = "\n".join(mapping.joinpath(name).read_text("utf-8") for name in MAP_SCRIPTS)
    contents = {name: text.encode("utf-8") for name, text in texts.items()}

    def answer(request: Request, name: str) -> Response:
        content = contents[name]
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if is_known(request, tag):
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=_KINDS[name.rpartition(".")[2]], headers=headers)

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        return answer(request, "index.html")

    @app.get("/assets/{name}", include_in_schema=False)
    async def asset(request: Request, name: str) -> Response:
        if name not in contents:
            raise Problem(404, "No such file.")
        return answer(request, name)
