"""The web server in the foreground: its socket, its signals, and what it tells systemd and others of this home."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from rqflow import logs, runtime
from rqflow.actions.people import users as people
from rqflow.broker.exposure import is_loopback
from rqflow.deploy import exposure, health, statedir
from rqflow.deploy.services import open_database
from rqflow.exceptions import ConfigError
from rqflow.sdnotify import NOTIFIER
from rqflow.settings import Settings
from rqflow.web import signin
from rqflow.web.app import create_app
from rqflow.web.deps import Parts
from rqflow.web.guard import NearestPeer, OwnNamesOnly

logger = logging.getLogger(__name__)

#: How many ports after a taken one are tried; seconds that requests get to end; those for which a connection stays open that asks nothing: a tab asks
#: again when something changes, which is seldomer than every few seconds.
TRIES, GRACE, KEPT_OPEN = 100, 5, 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """How the web server is reached: its socket, what stands before it, and whether it tells of each request."""

    host: str
    port: int
    #: Addresses of proxies that are believed about where requests come from (X-Forwarded-For, X-Forwarded-Proto); empty: of none.
    proxies: str = ""
    #: Files of a certificate and its key (PEM), for https.
    tls_cert: str = ""
    tls_key: str = ""
    access_log: bool = False

    def check(self) -> None:
        """Raise ConfigError for what cannot be."""
        signin.proxies(self.proxies)
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ConfigError("webserver: tls_cert and tls_key go together", hint="Give both, or none.")
        for name, file in (("tls_cert", self.tls_cert), ("tls_key", self.tls_key)):
            if file and not os.access(file, os.R_OK):
                raise ConfigError(f"webserver.{name}: {file} cannot be read")


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on `port`, or on the next one that is free; 0 is any. Raises ConfigError for one that cannot be."""
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


def serve(settings: Settings, way: Way, *, heed_reload: Callable[[Callable[[], None]], None]) -> None:
    """Serve until SIGTERM or SIGINT, or until what `heed_reload` was given is called. Raises ConfigError.

    An address that other machines reach is refused while there is no user: whoever came first could make themselves one.
    """
    way.check()
    runtime.spare_memory()
    exposure.refuse_open_page(way.host, lambda: _has_users(settings))
    listening = listen(way.host, way.port)
    name = f"[{way.host}]" if ":" in way.host else way.host
    url = f"http{'s' if way.tls_cert else ''}://{name}:{listening.getsockname()[1]}"
    note = health.webserver_file(statedir.prepare(settings, statedir.this_machine()))
    app = create_app(settings)
    runtime.serve()
    config = uvicorn.Config(
        before(app, settings, way), log_config=None, log_level="info" if way.access_log else "warning", access_log=way.access_log,
        server_header=False, lifespan="on", timeout_graceful_shutdown=GRACE, timeout_keep_alive=KEPT_OPEN, proxy_headers=False,
        ssl_certfile=way.tls_cert or None, ssl_keyfile=way.tls_key or None)
    server = _Server(config, app.state.parts, url, note)
    heed_reload(server.stop)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn ends in good order, and then does what was to be done before it: nothing.
        signal.signal(number, lambda *_: None)
    with listening:
        server.run(sockets=[listening])


def before(app: ASGIApp, settings: Settings, way: Way) -> ASGIApp:
    """Return the application with what depends on how it is reached: proxies that are believed, and the names that it answers to."""
    if way.proxies:
        app = NearestPeer(ProxyHeadersMiddleware(app, [str(one) for one in signin.proxies(way.proxies)]))  # type: ignore[arg-type]  # uvicorn's own word for it
    if is_loopback(way.host):
        base = urlsplit(settings.notices.base_url).hostname or ""
        app = OwnNamesOnly(app, [way.host, socket.gethostname(), base, *settings.webserver.names.replace(",", " ").split()])
    return app


def _has_users(settings: Settings) -> bool:
    with open_database(settings) as engine:
        return people.count_users(engine) > 0


class _Server(uvicorn.Server):
    """uvicorn that tells where it listens, and systemd that it lives."""

    def __init__(self, config: uvicorn.Config, parts: Parts, url: str, note: Path) -> None:
        super().__init__(config)
        self._parts, self._url, self._note = parts, url, note

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
        """End; first the streams of events, which would go on as long as somebody listens."""
        NOTIFIER.stopping()
        self._parts.newsroom.close()
        with suppress(FileNotFoundError):
            self._note.unlink()
        await super().shutdown(sockets)
