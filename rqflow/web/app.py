"""The application: what it is made of, and what it needs for its whole life. Knows nothing of sockets (server.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from rqflow.broker import protocol
from rqflow.settings import Settings
from rqflow.web import monitoring, start
from rqflow.web.deps import Parts
from rqflow.web.timing import RequestTimes


def create_app(settings: Settings) -> FastAPI:
    """Return the application for a home. Nothing is opened before the first request that needs it; all is closed at the end of its life."""
    parts = Parts(settings)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        parts.close()

    app = FastAPI(title="rqflow", version=protocol.release(), docs_url=None, redoc_url=None, openapi_url=None, lifespan=life)
    app.state.parts = parts
    app.add_middleware(RequestTimes, registry=parts.registry)
    for room in (start, monitoring):
        app.include_router(room.router)
    return app
