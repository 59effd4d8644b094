"""The application: what it is made of, and what it needs for its whole life. Knows nothing of sockets (server.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio.to_thread import current_default_thread_limiter
from fastapi import APIRouter, FastAPI
from starlette.middleware.gzip import GZipMiddleware

from rqflow.broker import protocol
from rqflow.settings import Settings
from rqflow.web import assets, live, monitoring, problems, reference, rest
from rqflow.web.airflow import app as airflow
from rqflow.web.deps import Parts
from rqflow.web.guard import NotTooLarge, OwnPagesOnly, SafeHeaders
from rqflow.web.pages import PAGES
from rqflow.web.pieces import SharedPieces
from rqflow.web.slashes import SlashesInNames
from rqflow.web.timing import RequestTimes

#: Requests that are worked on at the same time; each has a thread, and a connection to the database.
THREADS = 20


def create_app(settings: Settings) -> FastAPI:
    """Return the application for a home. Nothing is opened before the first request that needs it; all is closed at the end of its life."""
    parts = Parts(settings)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = THREADS
        yield
        parts.close()

    app = FastAPI(title="rqflow", version=protocol.release(), docs_url=None, redoc_url=None, openapi_url=None, lifespan=life,
                  separate_input_output_schemas=False)
    app.state.parts = parts
    problems.install(app)
    # The one that is added last comes first.
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)
    app.add_middleware(SharedPieces, pieces=parts.pieces)
    app.add_middleware(NotTooLarge)
    app.add_middleware(OwnPagesOnly)
    app.add_middleware(SafeHeaders)
    app.add_middleware(SlashesInNames)
    app.add_middleware(RequestTimes, registry=parts.registry)
    for router in routers():
        # Not include_router, which would make each route a second time, at the first request.
        app.router.routes.extend(router.routes)
    return app


def routers() -> list[APIRouter]:
    """Return all routers, in the order in which paths are looked up."""
    return [*(room.router for room in (monitoring, assets, live, reference, *PAGES)), rest.router(), airflow.router]
