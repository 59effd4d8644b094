"""The real web server, a process of its own on the world of `page_data`, and a browser that is logged in to it."""

from __future__ import annotations

import gzip
import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.page_data import World
from rqflow.actions.people import signing_in, users
from rqflow.security.roles import Person, Role
from rqflow.store.engine import Engine
from rqflow.web import signin

#: The environment of this process without rqflow's own.
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith(("RQFLOW", "AIRFLOW"))}
#: Seconds that the server may take to listen.
PATIENCE = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """A running web server."""

    url: str
    pid: int
    #: Where the archive of logs is, and what a browser that is logged in sends as its cookie.
    logs: Path
    cookie: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back: how many milliseconds it took, the bytes on the way, and the text."""

    milliseconds: float
    size: int
    body: bytes

    @property
    def text(self) -> str:
        """The page."""
        return (gzip.decompress(self.body) if self.body[:2] == b"\x1f\x8b" else self.body).decode()


class Browser:
    """One connection that is kept open, and asks as browsers do: packed, with the cookie of a session; a piece of a page as htmx does."""

    def __init__(self, served: Served, *, logged_in: bool = True) -> None:
        """Connect at the first question."""
        where = urlsplit(served.url)
        self._connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
        self._headers = {"Accept-Encoding": "gzip, deflate, br"} | ({"Cookie": served.cookie} if logged_in else {})

    def get(self, path: str, *, piece: bool = False) -> Answer:
        """Return the answer; raises AssertionError when it is not 200."""
        began = time.perf_counter()
        self._connection.request("GET", path, headers=self._headers | ({"HX-Request": "true"} if piece else {}))
        answer = self._connection.getresponse()
        body = answer.read()
        took = (time.perf_counter() - began) * 1000
        assert answer.status == 200, f"{path} was answered {answer.status}: {body[:300]!r}"
        return Answer(milliseconds=took, size=len(body), body=body)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def logged_in(engine: Engine, name: str = "bench", role: Role = Role.ADMIN) -> str:
    """Return the cookie of a person who is logged in, and added when they are new."""
    if name not in {one.username for one in users.list_all(engine)}:
        users.add(engine, name, role=role, by="bench")
    session = signing_in.begin(engine, Person(name, role), ip="127.0.0.1", agent="bench", lifetime=timedelta(days=1), how="bench")
    return f"{signin.PLAIN}={session.secret}"


@contextmanager
def served(world: World) -> Iterator[Served]:
    """Run `rqflow webserver` as a person would, on a port that is free."""
    with tempfile.TemporaryDirectory() as folder:
        home, output = Path(folder) / "home", Path(folder) / "output"
        home.mkdir()
        logs = Path(folder) / "logs"
        environ = {**ENVIRON, "RQFLOW_HOME": str(home), "RQFLOW__REDIS__URL": world.redis_url, "RQFLOW__DATABASE__URL": world.database_url,
                   "RQFLOW__LOGS__FOLDER": str(logs)}
        with output.open("wb") as stream, subprocess.Popen([sys.executable, "-m", "rqflow.cli.main", "webserver", "-p", "0"], env=environ,
                                                           stdout=stream, stderr=stream, stdin=subprocess.DEVNULL) as process:
            try:
                url = _listening(output, process)
                yield Served(url=url, pid=process.pid, logs=logs, cookie=logged_in(world.engine))
            finally:
                process.terminate()
                process.wait()
                sys.stderr.write(output.read_text(errors="replace").partition("listening on")[2].partition("\n")[2])


def _listening(output: Path, process: subprocess.Popen[bytes]) -> str:
    """Return the URL that a server says it listens on."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        found = output.read_text(errors="replace").partition("listening on ")[2]
        if "\n" in found:
            return found.split()[0]
        time.sleep(0.05)
    raise AssertionError(f"the web server did not start: {output.read_text(errors='replace')}")
