"""The stored Variables and Connections for commands: from the database, if there is one; nothing is made for it, no Redis is asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rqflow import clock
from rqflow.broker.mirror import Mirrored
from rqflow.deploy import statedir
from rqflow.deploy.services import open_database
from rqflow.recorder import mirroring
from rqflow.security.entries import opened, secrets_of
from rqflow.security.keyring import Keyring
from rqflow.security.masking import Masker
from rqflow.settings import Settings
from rqflow.store.engine import reading

#: Seconds for which what was read counts: a file that loads may ask for many.
_LASTS = 1.0


def mirrored(settings: Settings) -> Mirrored:
    """Return what is stored, sealed; empty where no database was made yet. Raises StoreError, Conflict."""
    if not settings.database.url and not (statedir.locate(settings, statedir.this_machine()) / "rqflow.db").exists():
        return Mirrored()
    with open_database(settings) as engine, reading(engine) as connection:
        return Mirrored("database", mirroring.stored(connection))


class Known:
    """What one process of the command line, or of the hub, knows, looked up when it is needed."""

    def __init__(self, settings: Settings, masker: Masker, read: Callable[[], Mirrored] | None = None) -> None:
        """Look into the database of `settings`, or what `read` gives of it; `masker` is told the secrets that are read."""
        self._settings, self._masker = settings, masker
        self._look = read or (lambda: mirrored(settings))
        self._read = Mirrored()
        self._read_at = -math.inf

    def view(self, kind: str) -> Mapping[str, Any]:
        """Return the Variables or Connections, opened one by one. Reading them raises KeyError, WrongKey, StoreError or Conflict."""
        return _Opened(kind, self._entries, self._open)

    def _entries(self, kind: str) -> Mapping[str, Mapping[str, Any]]:
        if clock.monotonic() - self._read_at >= _LASTS:
            self._read, self._read_at = self._look(), clock.monotonic()
        return self._read.entries.get(kind, {})

    def _open(self, kind: str, name: str, entry: Mapping[str, Any]) -> Any:
        value = opened(Keyring.of(self._settings), kind, name, entry)
        self._masker.add(secrets_of(kind, name, value, is_secret=bool(entry.get("is_secret"))))
        return value


class _Opened(Mapping[str, Any]):
    """Stored Variables or Connections, opened one by one."""

    def __init__(self, kind: str, entries: Callable[[str], Mapping[str, Any]], open_: Callable[[str, str, Any], Any]) -> None:
        self._kind, self._entries, self._open = kind, entries, open_

    def __getitem__(self, name: str) -> Any:
        return self._open(self._kind, name, self._entries(self._kind)[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries(self._kind))

    def __len__(self) -> int:
        return len(self._entries(self._kind))
