"""Metrics for Prometheus."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_WINDOWS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The metrics of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        names = ["method", "route", "status"]
        self.requests = Counter("eno_requests", "Responses.", names, registry=self.registry)
        self.seconds = Histogram(
            "eno_request_seconds", "Time to respond.", names[:2], buckets=_SECONDS, registry=self.registry
        )
        self.active = Gauge("eno_model_requests", "Requests waiting for or using the model.", registry=self.registry)
        self.batches = Histogram(
            "eno_batch_windows", "Windows per batch of the encoder.", buckets=_WINDOWS, registry=self.registry
        )
        self.files = Counter("eno_files", "Encoded files.", ["outcome"], registry=self.registry)
        self.reloads = Counter("eno_reloads", "Reloads of predictor and index.", ["outcome"], registry=self.registry)
        self.outdated = Gauge("eno_outdated", "1 if the last reload failed, otherwise 0.", registry=self.registry)

    def text(self) -> bytes:
        """Return the metrics in the text format of Prometheus."""
        return generate_latest(self.registry)


class MetricsMiddleware:
    """ASGI middleware that counts the responses of an app."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        finally:
            # Labelled by route, not by path, because a time series for each track would fill the memory.
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "OPTIONS") else "other"
            self._metrics.requests.labels(method, route, status).inc()
            self._metrics.seconds.labels(method, route).observe(time.perf_counter() - began)
