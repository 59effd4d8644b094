"""The page of a hub that is reached by ssh: where it listens there, and a tunnel to it for as long as somebody looks at it."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import IO
from urllib.parse import urlsplit

from rqflow import clock
from rqflow.deploy import health, statedir
from rqflow.deploy.health import WEBSERVER, webserver_file
from rqflow.deploy.joining.remote import Remote
from rqflow.exceptions import ConfigError, Conflict, ServiceUnreachable, UsageError
from rqflow.settings import Settings
from rqflow.tunnel import parse_target

#: Seconds in which the tunnel must stand: somebody may have to type a password; between two looks.
PATIENCE, EVERY = 90.0, 0.05
_START = "`rqflow up` there starts it with everything else, `rqflow webserver` alone in the foreground."


def here(settings: Settings) -> str:
    """Return where the web server of this home listens, without a slash at its end. Raises ServiceUnreachable where none answers."""
    found, = health.look(settings, [WEBSERVER])
    if not found.is_healthy:
        raise ServiceUnreachable(f"no web server of {settings.home} answers: {found.detail}",
                                 hint="`rqflow up` starts it with everything else, `rqflow webserver` alone in the foreground.")
    return webserver_file(statedir.locate(settings, statedir.this_machine())).read_text(encoding="utf-8").strip().rstrip("/")


class Far:
    """A hub that is reached by ssh, as this person reaches it."""

    def __init__(self, hub: str, settings: Settings) -> None:
        """Raises UsageError for what is no [USER@]HOST[:PORT]."""
        try:
            self.remote = Remote(target=parse_target(hub), settings=settings.tunnels)
        except ValueError as error:
            raise UsageError(str(error), hint="Write it like ann@hub.example or ann@hub.example:2222.") from error

    def url(self, home: str = "") -> str:
        """Return where the page listens over there.

        Raises what Remote.rqflow raises, Conflict for a release without a page, and ServiceUnreachable where no web server answers.
        """
        words = [*(["--home", home] if home else []), "open", "--url", "--for-tunnel"]
        try:
            with self.remote.rqflow(words, "") as told:
                found, why = str(told.get("url") or ""), str(told.get("error") or "")
        except Conflict as error:
            raise Conflict(f"rqflow on {self.remote.target} is of a release without a page", hint="Upgrade it there first.") from error
        if not found:
            raise ServiceUnreachable(f"{self.remote.target}: {why or 'it does not say where its page is'}", hint=_START)
        return found

    @contextmanager
    def forwarded(self, url: str, port: int = 0) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
        """Forward a port of this machine to the page over there for the block; give its URL here, and the ssh that keeps it.

        With port 0 a free one is taken. Raises Conflict, ServiceUnreachable, ConfigError.
        """
        parts = urlsplit(url)
        host, there = parts.hostname or "127.0.0.1", parts.port or (443 if parts.scheme == "https" else 80)
        if port and _listens(port):
            raise Conflict(f"something listens on port {port} of this machine already", hint="Give another --port, or none: a free one is taken.")
        port = port or _free_port()
        shown = f"[{host}]" if ":" in host else host
        command = [*self.remote.command(), "-N", "-o", "ExitOnForwardFailure=yes", "-o", "ServerAliveInterval=15", "-o", "PermitLocalCommand=no",
                   "-L", f"127.0.0.1:{port}:{shown}:{there}", *self.remote.destination()]
        with tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)
            except OSError as error:
                raise ConfigError(f"{command[0]} cannot be run: {error.strerror}", hint="It takes OpenSSH; tunnels.ssh names the program.") from error
            try:
                self._wait(process, port, errors)
                yield f"{parts.scheme}://127.0.0.1:{port}{parts.path.rstrip('/')}", process
            finally:
                process.terminate()
                process.wait()

    def _wait(self, process: subprocess.Popen[bytes], port: int, errors: IO[bytes]) -> None:
        """Wait until the tunnel stands. Raises ServiceUnreachable."""
        deadline = clock.monotonic() + PATIENCE
        while not _listens(port):
            if process.poll() is not None or clock.monotonic() > deadline:
                errors.seek(0)
                said = [line for line in errors.read().decode("utf-8", "replace").splitlines() if line.strip()]
                raise ServiceUnreachable(f"there is no tunnel to {self.remote.target}: {said[-1].strip() if said else 'ssh said nothing'}",
                                         hint=f"Does sshd there allow it (AllowTcpForwarding)? Try it: ssh -N -L {port}:127.0.0.1:{port} "
                                              f"{self.remote.target.login}")
            clock.sleep(EVERY)


def _free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _listens(port: int) -> bool:
    with closing(socket.socket()) as trying:
        trying.settimeout(1)
        return trying.connect_ex(("127.0.0.1", port)) == 0
