"""Adding a worker from the hub: for a machine that lets only ssh in. The hub installs rqflow there, dials it for ever with -R, and starts the worker.

`add` is the hub's side, `enrol` what `rqflow worker enrol` does on the machine, over the person's ssh.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from rqflow import clock
from rqflow.broker import keys
from rqflow.broker.protocol import PROTOCOL, release
from rqflow.deploy import embedded, statedir
from rqflow.deploy.joining import authorized, bootstrap, configuration, wheels
from rqflow.deploy.joining.desk import Desk
from rqflow.deploy.joining.hub import FORMAT, hub_key
from rqflow.deploy.joining.remote import HostKey, Remote
from rqflow.deploy.services import Services
from rqflow.deploy.supervision import Supervision
from rqflow.deploy.tunnels.command import Ssh
from rqflow.exceptions import ConfigError, Conflict, NotPermitted, RqflowError, UsageError
from rqflow.settings import Settings, load
from rqflow.store import events, joined
from rqflow.store.engine import Connection, run_in_transaction
from rqflow.tunnel import Direction, Target, parse_target, parse_tunnel

#: Below the home folder of the account there: what our key may run, which makes the folder of the tunnel's sockets and nothing else.
_LANDING = Path(".rqflow", "landing")


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """What is asked for."""

    address: str
    node_key: str = ""
    id: str = ""
    queues: str = ""
    labels: str = ""
    prefix: str = "~/rqflow"
    wheels: Path | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """What was done: the worker's name, and that of the hub's tunnel to it."""

    name: str
    tunnel: str


def add(services: Services, settings: Settings, node: Node, *, by: str, believes: Callable[[HostKey], bool], tell: Callable[[str], None]) -> Added:
    """Make a worker of a machine; `settings` are those of the hub as they are written. Each step is told, and may be done again.

    Raises UsageError, ConfigError for a Redis that cannot be lent out, NotPermitted for a key that is not believed, Conflict, what `Remote` raises.
    """
    target = _target(node.address)
    tunnel = re.sub(r"[^a-z0-9_-]", "-", (node.id or target.host).lower()).strip("-")[:32]
    line = f"{Direction.REMOTE.value} {target} redis"
    _check(settings, tunnel, line)
    user = redis_user(services)
    with Desk(settings.home) as desk:
        key = Remote(target=target, settings=settings.tunnels).host_key()
        if node.node_key and not key.is_one_of(node.node_key):
            raise NotPermitted(f"{target} has another key than {node.node_key}: {'; '.join(key.fingerprints)}")
        if not node.node_key and not believes(key):
            raise NotPermitted(f"the key of {target} was not believed; nothing was written")
        remote = Remote(target=target, settings=settings.tunnels, known_hosts=desk.known_hosts(key, settings))
        tell(f"1. installs rqflow {release()} on {target}")
        _install(remote, node)
        tell("2. makes keys, and lets each side know the other's")
        ssh = Ssh(tunnel=parse_tunnel(tunnel, line), settings=settings.tunnels, home=settings.home)
        asked = {"format": FORMAT, "protocol": PROTOCOL, "version": release(), "tunnel": tunnel, "id": node.id, "queues": node.queues,
                 "labels": node.labels, "hub_key": hub_key(settings), "ssh_key": desk.ssh_key(f"hub {socket.gethostname()}"), "user": user,
                 "landing": shlex.split(ssh.landing(f"{statedir.this_machine().host}:{settings.home}")[-1])[-1], "prefix": keys.RQ.removesuffix(":")}
        with remote.rqflow(["worker", "enrol"], json.dumps(asked), prefix=node.prefix) as told:
            _register(services, str(told["name"]), str(told["public_key"]), by)
            desk.keep()
            configuration.write(settings.file or settings.home / "rqflow.cfg", {"tunnels": {tunnel: line}})
            desk.is_done = True
        tell(f"3. keeps the tunnel {tunnel} up")
        _dial(settings, tunnel, tell)
        tell("4. starts the worker there")
        known = settings.home / Path(settings.tunnels.known_hosts).expanduser()
        done = replace(remote, known_hosts=known).shell(f"exec {shlex.quote(str(told['command']))} up worker >&2")
        if done.returncode:
            raise RqflowError(f"the worker does not start on {target}: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}",
                              hint=f"There: {told['command']} up worker")
    return Added(name=str(told["name"]), tunnel=tunnel)


def redis_user(services: Services) -> str:
    """Return user and password of the hub's Redis as a URL has them before the @, or nothing; raises ConfigError for one that no tunnel reaches."""
    if services.is_embedded:
        opened = embedded.place(services.state, statedir.this_machine()).opened
        return f":{opened.password}" if opened else ""
    parts = urlsplit(services.settings.redis.url)
    if parts.scheme not in {"redis", "unix"}:
        raise ConfigError(f"redis.url is a {parts.scheme}:// URL, which goes through no tunnel", hint="Let it name redis://HOST:PORT, or a socket.")
    if (parts.path.strip("/") not in {"", "0"} and parts.scheme == "redis") or "db=" in parts.query:
        raise ConfigError("redis.url names another database of Redis than 0, which a worker that is added does not know")
    return parts.netloc.rpartition("@")[0]


def enrol(settings: Settings, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Let this home be a worker of the hub that asks: keys, the line for the hub's key, rqflow.cfg. Return what the hub registers.

    Raises Conflict for another release, or a home that has another Redis; ConfigError for a home that cannot be written.
    """
    if int(asked.get("format") or 0) != FORMAT or abs(int(asked.get("protocol") or 0) - PROTOCOL) > 1:
        raise Conflict(f"rqflow {release()} here does not fit rqflow {asked.get('version')} of the hub")
    account, tunnel, own = Path.home(), str(asked["tunnel"]), keys.RQ.removesuffix(":")
    if asked["prefix"] != own:
        raise Conflict(f"RQ_KEY_PREFIX is {asked['prefix']} on the hub, and {own} here", hint="Set it in the environment of this account.")
    url = f"unix://{asked['user']}{'@' if asked['user'] else ''}{quote(str(account / '.rqflow' / 'tunnels' / tunnel / 'redis.sock'))}"
    if settings.redis.url not in {"", url} and not settings.redis.url.endswith(urlsplit(url).path):
        raise Conflict("this home has another Redis already (redis.url)", hint=f"Take it out of {settings.home / 'rqflow.cfg'}.")
    with Desk(settings.home) as desk:
        name = f"{socket.gethostname()}.{desk.id(str(asked['id']))}"
        public = desk.worker_key().public
        script = account / _LANDING / f"{tunnel}.sh"
        _write_landing(script, str(asked["landing"]))
        authorized.put(authorized.file_of(account), tunnel, authorized.line_of_hub(tunnel, str(asked["ssh_key"]), f"exec sh {script}"))
        desk.keep(str(asked["hub_key"]))
        values = {"redis": {"url": url}}
        if worker := {key: str(asked[key]) for key in ("queues", "labels") if asked[key]}:
            values["worker"] = worker
        configuration.write(settings.file or settings.home / "rqflow.cfg", values)
        desk.is_done = True
    return {"format": FORMAT, "name": name, "public_key": public, "version": release(), "command": str(Path(sys.prefix) / "bin" / "rqflow")}


def _target(address: str) -> Target:
    try:
        return parse_target(address)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _check(settings: Settings, tunnel: str, line: str) -> None:
    try:
        parse_tunnel(tunnel, line)
    except ValueError as error:
        raise UsageError(str(error), hint="--name says what the worker, and its tunnel, are called.") from error
    known = settings.tunnels.lines.get(tunnel)
    if known is not None and known != line:
        raise Conflict(f"there is a tunnel {tunnel} already: {known}", hint="Name another one with --name, or remove that line of rqflow.cfg.")


def _install(remote: Remote, node: Node) -> None:
    found = wheels.of_folder(node.wheels) if node.wheels else wheels.of_installed()
    done = remote.shell(bootstrap.script(found, prefix=node.prefix, hub="USER@HUB"))
    if done.returncode:
        said = [line for line in done.stderr.strip().splitlines() if line.startswith("rqflow bootstrap: ")] or done.stderr.strip().splitlines()
        raise ConfigError(f"{remote.target}: {said[-1].removeprefix('rqflow bootstrap: ') if said else 'it cannot be installed there'}",
                          hint="`rqflow worker bootstrap --help` tells of machines with another Python.")


def _register(services: Services, name: str, public: str, by: str) -> None:
    record = joined.JoinedWorker(name=name, public_key=public, ssh_key="", who=by, joined_at=clock.utcnow())

    def write(connection: Connection) -> None:
        joined.put(connection, record)
        events.add(connection, "worker_joined", who=by, worker=name)

    run_in_transaction(services.engine, write)


def _dial(settings: Settings, tunnel: str, tell: Callable[[str], None]) -> None:
    """Start the tunnel, where the hub's services are under supervisord."""
    supervision = Supervision(load(home=settings.home, file=settings.file), settings.file)
    if supervision.is_up():
        supervision.up([f"tunnel-{tunnel}"])
    else:
        tell(f"   nobody does yet: rqflow up tunnel-{tunnel}, or with systemd rqflow-tunnel@{tunnel}")


def _write_landing(path: Path, script: str) -> None:
    if '"' in str(path) or any(character.isspace() for character in str(path)):
        raise ConfigError(f"sshd takes no command in {path.parent}: its name has blanks or quotes")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(script, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
