"""The hub's side of joining: where a worker finds Redis and the database, the line for its key, and its registration."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from rqflow import clock
from rqflow.broker import keys
from rqflow.broker.protocol import PROTOCOL, processes, release
from rqflow.deploy import embedded, statedir
from rqflow.deploy.joining import authorized
from rqflow.deploy.services import Services
from rqflow.exceptions import ConfigError, Conflict, UsageError
from rqflow.security.keyring import Keyring
from rqflow.security.sealing import BoxKey, is_public
from rqflow.settings import Settings
from rqflow.store import events, joined
from rqflow.store.engine import Connection, Engine, run_in_transaction, server_address
from rqflow.tunnel import Address, parse_address
from rqflow.worker.identity import ID

#: Of what goes between the two sides; one that is higher is refused.
FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """How a worker reaches a service: what its tunnel forwards to, and the URL that it uses then."""

    address: Address
    url: str


@dataclass(kw_only=True, slots=True)
class Admitted:
    """What a worker that joins is told. `line` is that of authorized_keys; `installed` says whether it stands there."""

    name: str
    hub_key: str
    redis: Way
    database: Way | None
    line: str
    installed: bool
    notes: list[str] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """Return it as JSON."""
        ways = {"redis": self.redis, "database": self.database}
        return {"format": FORMAT, "name": self.name, "hub_key": self.hub_key, "line": self.line, "installed": self.installed, "notes": self.notes,
                "version": release(), "prefix": keys.RQ.removesuffix(":"),
                **{name: {"address": str(way.address), "url": way.url} if way else None for name, way in ways.items()}}


def admit(services: Services, asked: Mapping[str, Any], *, by: str, file: Path | None = None) -> Admitted:
    """Let a worker join: `asked` has format, protocol, name, public_key, ssh_key, and whether it wants the database and its line only printed.

    `file` is authorized_keys of the account that it logs in to. Raises UsageError, Conflict for releases that do not fit, or ConfigError where
    Redis or the database cannot be reached from elsewhere; then nothing has changed.
    """
    name, public, ssh_key = _checked(asked)
    own_key = hub_key(services.settings)
    database = database_way(services.settings, str(asked.get("tunnel") or "hub")) if asked.get("database") else None
    notes: list[str] = []
    redis = redis_way(services, str(asked.get("tunnel") or "hub"), notes)
    line = authorized.line(name, ssh_key, [redis.address, *([database.address] if database else [])]) if ssh_key else ""
    record = joined.JoinedWorker(name=name, public_key=public, ssh_key=ssh_key, who=by, joined_at=clock.utcnow())

    def write(connection: Connection) -> None:
        joined.put(connection, record)
        events.add(connection, "worker_joined", who=by, worker=name)

    run_in_transaction(services.engine, write)
    admitted = Admitted(name=name, hub_key=own_key, redis=redis, database=database, line=line,
                        installed=False, notes=notes)
    if line and not asked.get("print"):
        try:
            authorized.put(file or authorized.file_of(Path.home()), name, line)
            admitted.installed = True
        except ConfigError as error:
            notes.append(error.message)
    return admitted


def hub_key(settings: Settings) -> str:
    """Return the public half of the hub's key pair; makes its Fernet key where there is none."""
    ring = Keyring.of(settings)
    ring.ensure()
    return BoxKey.of_hub(next(iter(ring.keys.values()))).public


def forget(engine: Engine, name: str, *, by: str, file: Path | None = None) -> list[str]:
    """Take the registration of a worker away, and its line of authorized_keys; return in words what was done, nothing for one that has not joined."""
    done: list[str] = []

    def write(connection: Connection) -> bool:
        is_known = joined.remove(connection, name)
        if is_known:
            events.add(connection, "worker_left", who=by, worker=name)
        return is_known

    if run_in_transaction(engine, write):
        done.append("its key opens no secret any more")
    place = file or authorized.file_of(Path.home())
    if authorized.remove(place, name):
        done.append(f"its line in {place} is gone")
    return done


def redis_way(services: Services, tunnel: str, notes: list[str]) -> Way:
    """Return how a worker reaches Redis through its tunnel; the private one is given a port first, with a password, which `notes` tell."""
    settings = services.settings
    if services.is_embedded:
        machine = statedir.this_machine()
        place = embedded.place(services.state, machine)
        running = {one.pid: f"{one.kind} (pid {one.pid})" for one in processes(services.connection) if one.host == machine.host}
        if embedded.open_port(place, services.connection):
            notes.append(_restarted(settings, running))
        opened = place.opened
        assert opened is not None
        return Way(address=Address(host="127.0.0.1", port=opened.port), url=f"tunnel://:{opened.password}@{tunnel}")
    parts = urlsplit(settings.redis.url)
    if parts.scheme != "redis":
        raise ConfigError(f"a worker cannot reach the hub's Redis, whose redis.url is a {parts.scheme}:// URL",
                          hint="sshd lets a key reach single ports: let redis.url on the hub name one, such as redis://:PASSWORD@127.0.0.1:6379")
    who = parts.netloc.rpartition("@")[0]
    who = f"{who}@" if who else ""
    number = parts.path.strip("/")
    address = Address(host=parts.hostname or "localhost", port=parts.port or 6379)
    return Way(address=address, url=f"tunnel://{who}{tunnel}" + (f"/{number}" if number not in {"", "0"} else ""))


def database_way(settings: Settings, tunnel: str) -> Way:
    """Return how a worker reaches the database; raises ConfigError for SQLite, which is one file of the hub."""
    text = server_address(settings.database.url)
    if not text:
        raise ConfigError("the hub's database is SQLite, which no worker elsewhere can reach", hint="Join without --database: the hub records all.")
    address = parse_address(text)
    if not address.is_tcp:
        raise ConfigError(f"a worker cannot reach the hub's database on the unix socket {text}",
                          hint="sshd lets a key reach single ports: let database.url on the hub name host and port.")
    scheme, _, rest = settings.database.url.partition("://")
    parts = urlsplit(f"x://{rest}")
    who = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    query = parts.query
    url = f"{scheme.partition('+')[0]}+tunnel://{who}{tunnel}{quote(parts.path)}" + (f"?{query}" if query else "")
    return Way(address=address, url=url)


def _checked(asked: Mapping[str, Any]) -> tuple[str, str, str]:
    if int(asked.get("format") or 0) != FORMAT or abs(int(asked.get("protocol") or 0) - PROTOCOL) > 1:
        raise Conflict(f"rqflow {asked.get('version')} there does not fit rqflow {release()} of the hub",
                       hint="There, install the hub's again: ssh USER@HUB rqflow worker bootstrap | sh")
    name, public, ssh_key = (str(asked.get(key) or "") for key in ("name", "public_key", "ssh_key"))
    if not ID.fullmatch(name.rpartition(".")[2]) or not name.rpartition(".")[0] or any(character.isspace() for character in name):
        raise UsageError(f"{name!r} is no name of a worker", hint="It is HOST.ID.")
    if not is_public(public):
        raise UsageError("what came as the worker's key is none")
    return name, public, ssh_key


def _restarted(settings: Settings, running: Mapping[int, str]) -> str:
    """Start the services of this home again, which know no password of Redis; say which of the `running` {pid: name} are left to people."""
    from rqflow.deploy.supervision import NotUp, Supervision  # here: its 3 MB are not for web servers, which only forget members

    supervision, left = Supervision(settings, settings.file), dict(running)
    with suppress(NotUp):
        supervised = [one for one in supervision.status() if one.pid]
        for one in supervised:
            left.pop(one.pid or 0, None)
        supervision.restart([one.program for one in supervised])
    told = "the private Redis of the hub listens on a port of 127.0.0.1 now, with a password"
    return f"{told}: on the hub, end and start anew {', '.join(left.values())}" if left else told
