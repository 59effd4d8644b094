"""What a doctor sees of keys: whether they are there, open what is stored, and are for their owner alone."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from rqflow.actions.verdict import Verdict
from rqflow.deploy.checks.finding import Finding
from rqflow.exceptions import ConfigError
from rqflow.security.keyring import KEY_FILE, Keyring
from rqflow.settings import Settings
from rqflow.store import connections, variables
from rqflow.store.engine import Connection

#: In HOME: private keys of this machine.
_KEYS = "keys"


def modes(settings: Settings) -> Finding:
    """See whether others may read a private key."""
    found = [path for path in _private(settings.home) if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if found:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        return Finding(check="keys", verdict=Verdict.PROBLEM, detail=f"others may read {found[0]}{more}",
                       remedy=f"chmod 600 {' '.join(map(str, found[:3]))}; then consider it known, and make a new one")
    return Finding(check="keys", verdict=Verdict.OK, detail="private keys of HOME are for their owner alone")


def secrets(settings: Settings, connection: Connection) -> Finding:
    """See whether this process has the keys by which Variables and Connections were sealed. Raises StoreError."""
    used = {*variables.keys_in_use(connection), *connections.keys_in_use(connection)}
    try:
        keyring = Keyring.of(settings)
        keyring.check(used)
    except ConfigError as error:
        return Finding(check="secrets", verdict=Verdict.PROBLEM, detail=error.message, remedy=error.hint)
    if not used:
        return Finding(check="secrets", verdict=Verdict.OK, detail="nothing is stored that a key would open")
    source = "security.fernet_key" if settings.security.fernet_key else str(settings.home / KEY_FILE)
    return Finding(check="secrets", verdict=Verdict.OK, detail=f"{source} opens the stored Variables and Connections")


def _private(home: Path) -> Iterator[Path]:
    """Give the files of HOME that hold a private key: not those whose name says that they are public."""
    if (home / KEY_FILE).is_file():
        yield home / KEY_FILE
    folder = home / _KEYS
    if folder.is_dir():
        yield from sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pub" and "known_hosts" not in path.name
                          and not path.name.startswith(("allowed_", "revoked_")))
