"""A page of all components in all states, to look at: `python -m tests.web_sheet.app PORT` (0: any free one; it says which). No part of rqflow."""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from jinja2 import ChoiceLoader, FileSystemLoader

from rqflow import clock
from rqflow.security.roles import Person, Role
from rqflow.states import TaskState
from rqflow.web import assets, rendering

CSP = ("default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self' data:; "
       "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
STATES = [*(state.value for state in TaskState), "unreachable"]

BEGAN = clock.utcnow() - timedelta(minutes=7)
COUNT = itertools.count(1)

app = FastAPI(openapi_url=None)
app.include_router(assets.router)
environment = rendering.environment()
environment.loader = ChoiceLoader([FileSystemLoader(Path(__file__).parent), FileSystemLoader(rendering.TEMPLATES)])


@app.middleware("http")
async def guarded(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    request.state.person = None if request.query_params.get("bare") else Person("maria", Role.ADMIN)
    answer = await call_next(request)
    answer.headers["Content-Security-Policy"] = CSP
    return answer


@app.get("/")
def sheet(request: Request) -> Response:
    return rendering.page(request, "sheet.html", states=STATES, when=BEGAN)


@app.get("/split")
def split(request: Request) -> Response:
    return rendering.page(request, "split.html", states=STATES)


@app.get("/dialog")
def dialog(request: Request) -> Response:
    return rendering.page(request, "dialog.html")


@app.get("/login")
def login(request: Request) -> Response:
    request.state.person = None
    return rendering.page(request, "login.html")


@app.get("/fragment")
def fragment(request: Request) -> Response:
    return rendering.fragment(request, "_live.html", when=BEGAN, count=next(COUNT))


@app.post("/x")
def done(request: Request) -> Response:
    return rendering.flash(RedirectResponse("/", 303), "3 tasks of rnaseq run again.")


@app.get("/events")
async def events() -> StreamingResponse:
    async def told() -> AsyncIterator[str]:
        number = 1
        while True:
            number += 1
            yield f'event: changed\nid: {number}-0\ndata: {{"runs": ["abc"], "dags": []}}\n\n'
            await asyncio.sleep(1)
    return StreamingResponse(told(), media_type="text/event-stream")


if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    sys.stdout.write(f"http://127.0.0.1:{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)).run(sockets=[listening])
