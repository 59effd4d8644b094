"""How long requests take, for the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Histogram

from rqflow import clock
from rqflow.deploy.metrics import OF_REQUESTS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class RequestTimes:
    """ASGI middleware; the routes of the application are the label, never the path that was asked for, of which there is no end."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        """Write into `registry`."""
        self._app = app
        (name, about), = OF_REQUESTS.items()
        self._times = Histogram(name, about.text, about.labels, registry=registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, and note how long it took."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        code, began = "500", clock.monotonic()

        async def heard(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, heard)
        finally:
            route = scope.get("route")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._times.labels(method, getattr(route, "path", "none"), code).observe(clock.monotonic() - began)
