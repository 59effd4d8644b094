"""The worker's side of joining: it makes keys of its own, tells the hub the public halves, and writes down how it reaches the hub.

All is made in a folder of its own first, and put in its place when the hub has agreed; so a call that fails leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rqflow.broker import keys
from rqflow.broker.protocol import PROTOCOL, release
from rqflow.deploy.joining import configuration, proof
from rqflow.deploy.joining.hub import FORMAT
from rqflow.deploy.joining.remote import HostKey, Remote
from rqflow.exceptions import ConfigError, Conflict, NotPermitted, RqflowError, UsageError
from rqflow.security.membership import HUB_FILE, KEY_FILE
from rqflow.security.sealing import BoxKey, is_public
from rqflow.settings import Settings
from rqflow.tunnel import Direction, Target, parse_target, parse_tunnel
from rqflow.worker import identity

#: The tunnel's key and known hosts, below HOME, where tunnels look for them; and its name.
TUNNEL_KEY, TUNNEL = Path("keys", "tunnel"), "hub"


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
    with _Desk(settings.home) as desk:
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


class _Desk:
    """A folder in HOME in which everything is made before it is put in its place."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._keys = home / KEY_FILE.parent
        self.is_done = False
        self._made: list[Path] = []

    def __enter__(self) -> _Desk:
        try:
            self._was_there = self._keys.exists()
            self._keys.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix=".joining-", dir=self._keys))
        except OSError as error:
            raise ConfigError(f"the home {self._home} cannot be written: {error.strerror}", hint="Name another one: --home, RQFLOW_HOME.") from error
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        for path in () if self.is_done else self._made:
            path.unlink(missing_ok=True)
        if not self.is_done and not self._was_there:
            self._keys.rmdir()

    def id(self, given: str) -> str:
        """Return the id of this home, which is kept from now on. Raises UsageError, Conflict."""
        host = socket.gethostname()
        known = identity.saved_id(self._home, host)
        if given and not identity.ID.fullmatch(given):
            raise UsageError(f"{given!r} is no id of a worker", hint="Small letters, digits, - and _, at most 32.")
        if given and known and given != known:
            raise Conflict(f"this home is {host}.{known} already",
                           hint=f"Leave --name out; or remove the line of {host} in {self._home / identity.ID_FILE}.")
        self._id = known or given or os.urandom(3).hex()
        return self._id

    def worker_key(self) -> BoxKey:
        """Return the key pair for which secrets are sealed, a new one where there is none."""
        try:
            found = (self._home / KEY_FILE).read_text(encoding="ascii", errors="replace").strip()
        except FileNotFoundError:
            found = ""
        key = BoxKey(found) if is_public(found) else BoxKey.fresh()
        _private(self._folder / KEY_FILE.name, f"{key.private}\n")
        return key

    def ssh_key(self, name: str) -> str:
        """Return the public half of the tunnel's key, a new one where there is none."""
        own = self._home / TUNNEL_KEY
        if not own.exists():
            own = self._folder / TUNNEL_KEY.name
            _keygen("-q", "-t", "ed25519", "-N", "", "-C", f"rqflow worker {name}", "-f", str(own))
        return _keygen("-y", "-f", str(own)).strip()

    def known_hosts(self, key: HostKey, settings: Settings) -> Path:
        """Return a file of known hosts with this key in the place of what was known of that host."""
        self._known = self._home / Path(settings.tunnels.known_hosts).expanduser()
        fresh = self._folder / "known_hosts"
        names = {line.split()[0] for line in key.lines.splitlines() if line.strip()}
        others = [line for line in (self._known.read_text(encoding="utf-8").splitlines() if self._known.exists() else [])
                  if not line.split() or line.split()[0] not in names]
        fresh.write_text("".join(f"{line}\n" for line in others) + key.lines, encoding="utf-8")
        return fresh

    def keep(self, hub_key: str) -> None:
        """Put all in its place. Raises ConfigError."""
        _private(self._folder / HUB_FILE.name, f"{hub_key}\n")
        try:
            if not identity.saved_id(self._home, socket.gethostname(), given=self._id):
                raise ConfigError(f"{self._home / identity.ID_FILE} cannot be written", hint="Mend its permissions.")
            for name in (TUNNEL_KEY.name, f"{TUNNEL_KEY.name}.pub", KEY_FILE.name, HUB_FILE.name):
                if (self._folder / name).exists():
                    self._put(self._folder / name, self._keys / name)
            self._known.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._put(self._folder / "known_hosts", self._known)
        except OSError as error:
            raise ConfigError(f"{error.filename} cannot be written: {error.strerror}", hint=f"The home is {self._home}.") from error

    def _put(self, fresh: Path, place: Path) -> None:
        if not place.exists():
            self._made.append(place)
        shutil.move(fresh, place)


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


def _private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="ascii") as stream:
        stream.write(text)


def _keygen(*words: str) -> str:
    try:
        done = subprocess.run(["ssh-keygen", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ConfigError(f"ssh-keygen cannot be run: {error.strerror}", hint="It comes with OpenSSH.") from error
    if done.returncode:
        raise RqflowError(f"ssh-keygen failed: {done.stderr.strip()}")
    return done.stdout


def summary(joined: Joined) -> Sequence[str]:
    """Return what to tell a person."""
    lines = [f"{joined.name} has joined {joined.hub} (written to {joined.file})", *joined.notes]
    if joined.line:
        lines += ["Its key is not let in yet. Add this one line to authorized_keys of that account on the hub:", joined.line]
    return lines
