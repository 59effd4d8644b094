"""Where keys and names are made before they are put in their place: a call that fails leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from rqflow.deploy.joining.remote import HostKey
from rqflow.exceptions import ConfigError, Conflict, RqflowError, UsageError
from rqflow.security.membership import HUB_FILE, KEY_FILE
from rqflow.security.sealing import BoxKey, is_public
from rqflow.settings import Settings
from rqflow.worker import identity

#: The tunnel's key, below HOME, where tunnels look for it.
TUNNEL_KEY = Path("keys", "tunnel")


class Desk:
    """A folder in HOME in which everything is made before it is put in its place."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._keys = home / KEY_FILE.parent
        self.is_done = False
        self._made: list[Path] = []
        self._known: Path | None = None
        self._id = ""

    def __enter__(self) -> Desk:
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

    def keep(self, hub_key: str = "") -> None:
        """Put all in its place, with the hub's public half where this is no hub. Raises ConfigError."""
        if hub_key:
            _private(self._folder / HUB_FILE.name, f"{hub_key}\n")
        try:
            if self._id and not identity.saved_id(self._home, socket.gethostname(), given=self._id):
                raise ConfigError(f"{self._home / identity.ID_FILE} cannot be written", hint="Mend its permissions.")
            for name in (TUNNEL_KEY.name, f"{TUNNEL_KEY.name}.pub", KEY_FILE.name, HUB_FILE.name):
                if (self._folder / name).exists():
                    self._put(self._folder / name, self._keys / name)
            if self._known is not None:
                self._known.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._put(self._folder / "known_hosts", self._known)
        except OSError as error:
            raise ConfigError(f"{error.filename} cannot be written: {error.strerror}", hint=f"The home is {self._home}.") from error

    def _put(self, fresh: Path, place: Path) -> None:
        if not place.exists():
            self._made.append(place)
        shutil.move(fresh, place)


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
