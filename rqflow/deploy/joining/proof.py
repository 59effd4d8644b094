"""What a worker's new key may do on its hub, tried out: whether it is let in and Redis answers, and whether sshd lets it reach unix sockets."""

from __future__ import annotations

import select
import socket
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from rqflow import clock
from rqflow.deploy.tunnels.command import Ssh
from rqflow.deploy.tunnels.connection import Connection, Stop
from rqflow.deploy.tunnels.failures import FORBIDDEN, understood
from rqflow.deploy.tunnels.places import Route
from rqflow.settings import Settings, environment
from rqflow.tunnel import REDIS, Address, Direction, Tunnel

#: Seconds for a connection to be there, and for an answer.
PATIENCE, LOOK = 20.0, 0.05
#: Where nobody is.
_NOWHERE = Address(host="127.0.0.1", port=1)
#: What is said by who listens on the hub while a worker joins, so that it sees whether it gets there; and seconds for which that goes on.
GREETING, STAYS = b"rqflow", 60.0

def prove(settings: Settings, tunnel: Tunnel, listens: str) -> list[str]:
    """Return what is not as it should be, in words; nothing when all is. `listens` is the path of a unix socket there behind which somebody is."""
    forward = tunnel.forward(REDIS)
    assert forward is not None
    assert forward.address is not None
    with tempfile.TemporaryDirectory(prefix="rqflow-") as folder:
        ways = {name: Path(folder) / f"{name}.sock" for name in ("redis", "probe")}
        routes = [Route(service=name, address=address, listens=(Address(path=str(ways[name])),), probe=ways[name])
                  for name, address in (("redis", forward.address), ("probe", Address(path=listens)))]
        ssh = Ssh(tunnel=tunnel, settings=settings.tunnels, home=settings.home)
        connection = Connection(ssh.forwarding(routes, tells_more=True), environment())
        stop = Stop()
        try:
            until = clock.monotonic() + PATIENCE
            while not all(path.exists() for path in ways.values()):
                if not connection.wait(LOOK, stop) or clock.monotonic() > until:
                    known = str(settings.home / Path(settings.tunnels.known_hosts).expanduser())
                    failure = understood(connection.lines(), connection.code, tunnel, known_hosts=known, identity=str(ssh.identity() or ""))
                    return [f"the new key does not work yet: {failure.error}. {failure.remedy}".strip()]
            return [*_redis(connection, ways["redis"], stop), *_sockets(ways["probe"], tunnel), *_own_sockets(ssh, listens)]
        finally:
            connection.end()


def _redis(connection: Connection, path: Path, stop: Stop) -> list[str]:
    answer = _asked(path, b"PING\r\n")
    if answer.startswith((b"+PONG", b"-NOAUTH")):
        return []
    connection.wait(LOOK, stop)
    if any(FORBIDDEN.search(line) for line in connection.lines()):
        return ["sshd on the hub lets nothing through to Redis: AllowTcpForwarding and permitopen in its sshd_config say what it lets"]
    return ["the hub's Redis does not answer through the tunnel; is it running?"]


def _sockets(path: Path, tunnel: Tunnel) -> list[str]:
    if _asked(path, b"") != GREETING:
        return []
    told = f"sshd on the hub lets this key reach every unix socket that the account {tunnel.target.user or 'there'} may open"
    return [f"{told}, which OpenSSH does not: see docs/how-to/join.md"]


def _own_sockets(ssh: Ssh, listens: str) -> list[str]:
    """Try to listen on a unix socket there, beside the one that is; permitlisten is about ports alone."""
    away = replace(ssh, tunnel=replace(ssh.tunnel, direction=Direction.REMOTE))
    place = Address(path=str(Path(listens).with_name("made.sock")))
    connection, stop = Connection(away.forwarding([Route(service=REDIS, address=_NOWHERE, listens=(place,), probe=Path())], tells_more=True),
                                  environment()), Stop()
    try:
        until = clock.monotonic() + PATIENCE
        while connection.wait(LOOK, stop) and clock.monotonic() < until:
            if any("remote forward success" in line for line in connection.lines()):
                return ["sshd on the hub lets this key make unix sockets there; `AllowStreamLocalForwarding local` in its sshd_config forbids that"]
    finally:
        connection.end()
    return []


def _asked(path: Path, question: bytes) -> bytes:
    """Return what comes back through a forward; empty when it is closed at once, or nothing comes."""
    with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
        client.settimeout(PATIENCE)
        client.connect(str(path))
        client.sendall(question)
        return client.recv(64)
    return b""


class Doorman:
    """Somebody behind a unix socket of the hub, while a worker joins."""

    def __init__(self, folder: Path) -> None:
        """Listen on a socket in a folder."""
        self.path = folder / "probe.sock"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()

    def stay(self, until_closed: IO[str]) -> None:
        """Greet whoever comes until the other side closes, or it takes too long."""
        until = clock.monotonic() + STAYS
        with self._listener:
            while (left := until - clock.monotonic()) > 0:
                waits: list[Any] = [self._listener, until_closed]
                ready, _, _ = select.select(waits, [], [], left)
                if until_closed in ready:
                    return
                if ready:
                    with self._listener.accept()[0] as client, suppress(OSError):
                        client.sendall(GREETING)
