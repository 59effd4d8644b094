"""The web server in the foreground: its socket, its signals, and what it tells systemd and others of this home."""

from __future__ import annotations

import errno
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn

from rqflow import logs
from rqflow.deploy import exposure, health, statedir
from rqflow.exceptions import ConfigError
from rqflow.sdnotify import NOTIFIER
from rqflow.settings import Settings
from rqflow.web.app import create_app

logger = logging.getLogger(__name__)

#: How many ports after a taken one are tried; seconds that requests get to end.
TRIES, GRACE = 100, 5


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on `port`, or on the next one that is free; 0 is any. Raises ConfigError for one that cannot be."""
    exposure.refuse_open_page(host)
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    for tried in range(port, min(port + TRIES, 65536) if port else 1):
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((address[0], tried, *address[2:]))
            made.listen(128)
        except OSError as error:
            made.close()
            if error.errno == errno.EADDRINUSE:
                continue
            raise ConfigError(f"the web server cannot listen on {host}, port {tried}: {error.strerror}",
                              hint="Name another one with --port.") from error
        if tried != port and port:
            logger.warning("port %d is taken: listening on %d", port, tried, extra=logs.context("port_taken", port=tried))
        return made
    raise ConfigError(f"ports {port} to {port + TRIES - 1} of {host} are all taken", hint="Name another one with --port.")


def serve(settings: Settings, host: str, port: int, *, heed_reload: Callable[[Callable[[], None]], None]) -> None:
    """Serve until SIGTERM or SIGINT, or until what `heed_reload` was given is called. Raises ConfigError."""
    listening = listen(host, port)
    name = f"[{host}]" if ":" in host else host
    url = f"http://{name}:{listening.getsockname()[1]}"
    note = health.webserver_file(statedir.prepare(settings, statedir.this_machine()))
    config = uvicorn.Config(create_app(settings), log_config=None, log_level="warning", access_log=False, server_header=False, lifespan="on",
                            timeout_graceful_shutdown=GRACE)
    server = _Server(config, url, note)
    heed_reload(server.stop)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn ends in good order, and then does what was to be done before it: nothing.
        signal.signal(number, lambda *_: None)
    with listening:
        server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """uvicorn that tells where it listens, and systemd that it lives."""

    def __init__(self, config: uvicorn.Config, url: str, note: Path) -> None:
        super().__init__(config)
        self._url, self._note = url, note

    def stop(self) -> None:
        """End in good order, soon."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin."""
        await super().startup(sockets)
        if not self.should_exit:
            self._note.write_text(self._url, encoding="utf-8")
            logger.info("listening on %s", self._url, extra=logs.context("listening", url=self._url))
            NOTIFIER.ready(f"listens on {self._url}")

    async def on_tick(self, counter: int) -> bool:
        """Give a sign of life, ten times a second at most."""
        NOTIFIER.alive()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        NOTIFIER.stopping()
        with suppress(FileNotFoundError):
            self._note.unlink()
        await super().shutdown(sockets)
