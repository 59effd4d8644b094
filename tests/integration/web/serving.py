"""The application behind a socket, in a thread: for what a client in this process cannot see, such as streams."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from tests.profile import PATIENCE
from tests.waiting import until


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serve `app`; give its URL."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="serves the page")
        thread.start()
        until(lambda: server.started, what="the web server to listen")
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            app.state.parts.newsroom.close()
            server.should_exit = True
            thread.join(PATIENCE)
