"""The worker's side of joining: it makes keys of its own, tells the hub the public halves, and writes down how it reaches the hub.

All is made in a folder of its own first, and put in its place when the hub has agreed; so a call that fails leaves nothing behind.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rqflow.broker import keys
from rqflow.broker.protocol import PROTOCOL, release
from rqflow.deploy.joining import configuration, proof
from rqflow.deploy.joining.desk import Desk
from rqflow.deploy.joining.hub import FORMAT
from rqflow.deploy.joining.remote import HostKey, Remote
from rqflow.exceptions import Conflict, NotPermitted, UsageError
from rqflow.settings import Settings
from rqflow.tunnel import Direction, Target, parse_target, parse_tunnel

#: The name of the tunnel.
TUNNEL = "hub"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What is asked for."""

    hub: str
    #: A fingerprint that the hub's key must have; empty: a person is asked.
    hub_key: str = ""
    id: str = ""
    queues: str = ""
    labels: str = ""
    database: bool = False
    #: The line for the hub is printed only.
    prints: bool = False
    #: RQFLOW_HOME of the hub; empty: the usual one of that account.
    hub_home: str = ""
    #: Hosts to go through, as the word jump= of a tunnel.
    jump: str = ""


@dataclass(kw_only=True, slots=True)
class Joined:
    """What was done."""

    name: str
    hub: str
    queues: str
    file: Path
    #: The line of authorized_keys, when somebody has to add it by hand.
    line: str = ""
    notes: list[str] = field(default_factory=list)


def join(settings: Settings, wish: Wish, *, believes: Callable[[HostKey], bool], tell: Callable[[str], None]) -> Joined:
    """Let this home be a worker of a hub; `believes` asks whether the key is the hub's, `tell` says what goes on.

    Raises UsageError for what cannot be, Conflict where the home has another Redis, NotPermitted for a key that is not believed, ConfigError for a
    home that cannot be written, and what `Remote` raises.
    """
    target, line = _line(wish)
    _check(settings, line)
    remote = Remote(target=target, settings=settings.tunnels)
    with Desk(settings.home) as desk:
        key = remote.host_key()
        if wish.hub_key and not key.is_one_of(wish.hub_key):
            raise NotPermitted(f"{target} has another key than {wish.hub_key}: {'; '.join(key.fingerprints)}",
                               hint="Somebody may be in between. Ask the hub's owner: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
        if not wish.hub_key and not believes(key):
            raise NotPermitted(f"the key of {target} was not believed; nothing was written")
        known = desk.known_hosts(key, settings)
        name = f"{socket.gethostname()}.{desk.id(wish.id)}"
        own, ssh_key = desk.worker_key(), desk.ssh_key(name)
        asked = {"format": FORMAT, "protocol": PROTOCOL, "version": release(), "name": name, "public_key": own.public, "ssh_key": ssh_key,
                 "database": wish.database, "print": wish.prints, "tunnel": TUNNEL}
        tell(f"asks {target} to let {name} join")
        words = [*(["--home", wish.hub_home] if wish.hub_home else []), "worker", "admit"]
        with Remote(target=target, settings=settings.tunnels, known_hosts=known).rqflow(words, json.dumps(asked)) as told:
            if told.get("format") != FORMAT:
                raise Conflict(f"what {target} answered is no answer to joining", hint="Does another release of rqflow run there?")
            values = _values(line, told, wish)
            desk.keep(told["hub_key"])
            configuration.write(settings.file or settings.home / "rqflow.cfg", values)
            desk.is_done = True
            notes = proof.prove(settings, parse_tunnel(TUNNEL, values["tunnels"][TUNNEL]), str(told["probe"])) if told["installed"] else []
    joined = Joined(name=name, hub=str(target), queues=wish.queues or settings.worker.queues, file=settings.file or settings.home / "rqflow.cfg",
                    line="" if told["installed"] else told["line"], notes=[*told["notes"], *notes])
    if told["version"] != release():
        joined.notes.append(f"the hub has rqflow {told['version']}, and this is {release()}; they work together")
    if told["prefix"] != keys.RQ.removesuffix(":"):
        joined.notes.append(f"the hub's keys in Redis begin with {told['prefix']}: set RQ_KEY_PREFIX={told['prefix']} for the worker, too")
    return joined


def _line(wish: Wish) -> tuple[Target, str]:
    """Return the hub, and the beginning of the tunnel's line; raises UsageError."""
    try:
        target = parse_target(wish.hub)
        line = f"{Direction.LOCAL.value} {target}" + (f" jump={wish.jump}" if wish.jump else "")
        parse_tunnel(TUNNEL, f"{line} redis")
    except ValueError as error:
        raise UsageError(str(error)) from error
    if wish.hub_key and not re.match(r"SHA256:[A-Za-z0-9+/]{43}=?$", wish.hub_key):
        raise UsageError(f"--hub-key {wish.hub_key}: this is no fingerprint",
                         hint="It is the SHA256:… of, on the hub: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
    return target, line


def _check(settings: Settings, line: str) -> None:
    """Raise Conflict where this home has another Redis already, or another hub."""
    known = settings.tunnels.named.get(TUNNEL)
    if known and (known.direction is not Direction.LOCAL or not settings.tunnels.lines[TUNNEL].startswith(line)):
        raise Conflict(f"this home has joined {known.target} already",
                       hint="Remove its line in [tunnels] of rqflow.cfg, or join with another --home.")
    if settings.redis.url and not re.match(rf"tunnel://([^/]*@)?{TUNNEL}\b", settings.redis.url):
        raise Conflict("this home has a Redis of its own (redis.url)", hint="Take redis.url out of rqflow.cfg, or join with another --home.")
    if "redis.url" in settings.origins and settings.origins["redis.url"].startswith("RQFLOW__"):
        raise Conflict(f"{settings.origins['redis.url']} is set, and would win over what is written", hint="Unset it.")


def _values(line: str, told: Mapping[str, Any], wish: Wish) -> dict[str, dict[str, str]]:
    database = told.get("database")
    words = [line, f"redis={told['redis']['address']}", *([f"database={database['address']}"] if database else [])]
    values = {"tunnels": {TUNNEL: " ".join(words)}, "redis": {"url": str(told["redis"]["url"])}}
    if database:
        values["database"] = {"url": str(database["url"])}
    worker = {name: value for name, value in (("queues", wish.queues), ("labels", wish.labels)) if value}
    return values | ({"worker": worker} if worker else {})


def summary(joined: Joined) -> Sequence[str]:
    """Return what to tell a person."""
    lines = [f"{joined.name} has joined {joined.hub} (written to {joined.file})", *joined.notes]
    if joined.line:
        lines += ["Its key is not let in yet. Add this one line to authorized_keys of that account on the hub:", joined.line]
    return lines
