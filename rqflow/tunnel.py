"""What a line of section [tunnels] says: one SSH tunnel, what goes through it, and where its ends are."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath

REDIS, DATABASE = "redis", "database"
SERVICES = (REDIS, DATABASE)
FAMILIES = ("any", "inet", "inet6")
LOOPBACK = "127.0.0.1"

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_HOST = re.compile(r"(?:(?P<user>[^\s@:-][^\s@:]*)@)?(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\])(?::(?P<port>\d+))?")
_TCP = re.compile(r"(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\]):(?P<port>\d+)")
_FORM = "-L|-R [USER@]HOST[:PORT] redis[=ADDRESS] [database[=ADDRESS]] …"


class Direction(StrEnum):
    """Who dials, and who has the services."""

    #: They are on the host that is dialled, and appear here.
    LOCAL = "-L"
    #: They are here, and appear on the host that is dialled.
    REMOTE = "-R"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a service listens, or a forward: a unix socket, or host and port."""

    path: str = ""
    host: str = ""
    port: int = 0

    @property
    def is_tcp(self) -> bool:
        """Whether it is a port, which every account of its machine can reach."""
        return not self.path

    def __str__(self) -> str:
        """Return it as it is written in the settings."""
        return self.path or f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """A host to dial, as whom, and at which port of its sshd."""

    host: str
    user: str = ""
    #: 0: as ssh's own configuration says, or 22.
    port: int = 0

    @property
    def login(self) -> str:
        """[USER@]HOST, as ssh takes it."""
        return f"{self.user}@{self.host}" if self.user else self.host

    def __str__(self) -> str:
        """Return it as it is written in the settings."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}".removeprefix("@") + (f":{self.port}" if self.port else "")


@dataclass(frozen=True, slots=True)
class Forward:
    """One service that goes through a tunnel."""

    service: str
    #: Where it is, on the side that has it; None: where it most often is, or where the settings of that side have it.
    address: Address | None = None
    #: Where it appears on the other side; None: on a unix socket in a folder of rqflow's own.
    listen: Address | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Tunnel:
    """One SSH connection that is kept up, with what goes through it."""

    name: str
    direction: Direction
    target: Target
    forwards: tuple[Forward, ...]
    #: Private key, relative to HOME; empty: HOME/keys/tunnel where that is, else what ssh takes by itself.
    identity: str = ""
    #: Hosts to go through, in this order.
    jumps: tuple[Target, ...] = ()
    #: Whether it rides on a connection that a person has opened, and on which control socket: empty means the one that ssh's configuration names.
    rides: bool = False
    control: str = ""
    #: any, inet or inet6; empty: as tunnels.family says.
    family: str = ""
    #: Further options of ssh, as KEY=VALUE.
    options: tuple[str, ...] = field(default=())

    def forward(self, service: str) -> Forward | None:
        """Return how `service` goes through it; None when it does not."""
        return next((one for one in self.forwards if one.service == service), None)


def parse_address(text: str) -> Address:
    """Return the address of `/path/of.sock` or `HOST:PORT`; raises ValueError for anything else."""
    if text.startswith("/"):
        if "${" in text or "\0" in text or "\n" in text:
            raise ValueError(f"{text!r} cannot be given to ssh as the path of a socket")
        return Address(path=str(PurePosixPath(text)))
    match = _TCP.fullmatch(text)
    if not match or not 0 < int(match["port"]) < 65536:
        raise ValueError(f"{text!r} is no address: write the path of a socket, from / on, or HOST:PORT")
    return Address(host=match["host"].strip("[]"), port=int(match["port"]))


def parse_target(text: str) -> Target:
    """Return the host that `[USER@]HOST[:PORT]` names; raises ValueError for anything else."""
    match = _HOST.fullmatch(text)
    if not match or not int(match["port"] or 22) < 65536:
        raise ValueError(f"{text!r} is no host: write it like HOST, USER@HOST, USER@HOST:PORT or USER@[IPV6]:PORT")
    return Target(host=match["host"].strip("[]"), user=match["user"] or "", port=int(match["port"] or 0))


def parse_tunnel(name: str, text: str) -> Tunnel:
    """Return the tunnel that the line `name = text` describes; raises ValueError saying what is wrong with it."""
    if not _NAME.fullmatch(name):
        raise ValueError("a tunnel's name has small letters, digits, - and _, at most 32")
    words = shlex.split(text)
    if len(words) < 3 or words[0] not in set(Direction):
        raise ValueError(f"a tunnel is written as {_FORM}")
    services: dict[str, Address | None] = {}
    listens: dict[str, Address] = {}
    more: dict[str, list[str]] = {}
    for word in words[2:]:
        key, is_given, value = word.partition("=")
        if key in SERVICES:
            services[key] = parse_address(value) if is_given else None
        elif place := _LISTENS.get(key):
            service, is_port = place
            listens[service] = parse_address(f"{LOOPBACK}:{value}" if is_port else value)
        elif key in _WORDS and (is_given or key == "control"):
            more.setdefault(key, []).append(value)
        else:
            raise ValueError(f"{word!r} is no word of a tunnel; there are {', '.join([*SERVICES, *_LISTENS, *_WORDS])}")
    _check(services, listens, more)
    return Tunnel(
        name=name, direction=Direction(words[0]), target=parse_target(words[1]),
        forwards=tuple(Forward(service, services[service], listens.get(service)) for service in SERVICES if service in services),
        identity=more.get("identity", [""])[-1], family=more.get("family", [""])[-1], rides="control" in more, control=more.get("control", [""])[-1],
        jumps=tuple(parse_target(host) for value in more.get("jump", []) for host in value.split(",")), options=tuple(more.get("option", [])),
    )


#: Words that say where a service appears: which one, and whether it is a port of the loopback address.
_LISTENS = {"port": (REDIS, True), "listen": (REDIS, False), "database_port": (DATABASE, True), "database_listen": (DATABASE, False)}
_WORDS = ("identity", "jump", "control", "family", "option")


def _check(services: dict[str, Address | None], listens: dict[str, Address], more: dict[str, list[str]]) -> None:
    """Raise ValueError for words that do not fit together."""
    if not services:
        raise ValueError("nothing goes through it: write redis, database or both")
    for service in listens.keys() - services.keys():
        raise ValueError(f"it says where {service} appears, but not that {service} goes through it")
    for family in more.get("family", []):
        if family not in FAMILIES:
            raise ValueError(f"family={family}: there are {', '.join(FAMILIES)}")
    for option in more.get("option", []):
        if not re.fullmatch(r"[A-Za-z]\w+=.+", option):
            raise ValueError(f"option={option}: write it like option=Compression=yes")
