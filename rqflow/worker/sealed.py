"""Stored Variables and Connections as mappings that open what is asked for: in the worker, and in the Python child of a task, which starts with this.

Nothing that takes a while to import: a task waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rqflow.exceptions import TaskFailed
from rqflow.security.entries import Entry, opened
from rqflow.security.keyring import Keyring, WrongKey

#: Name of the variable by which a Python child learns what opens the copy that it was given.
HANDOVER = "RQFLOW_HANDOVER"
#: Takes a kind, a name, and an entry that no key here opens; returns it sealed for one that is here.
Fetch = Callable[[str, str, Entry], Entry]


class Sealed(Mapping[str, Any]):
    """Stored Variables or Connections, opened one by one; `told` is called with each before it is given for the first time."""

    def __init__(self, kind: str, entries: Callable[[], Mapping[str, Entry]], keyring: Callable[[], Keyring],
                 told: Callable[[str, Entry], None], fetch: Fetch | None = None) -> None:
        """Open the `entries`, which are asked for when they are needed; one for which no key is here is first fetched by `fetch`."""
        self._kind, self._entries, self._keyring, self._told, self._fetch = kind, entries, keyring, told, fetch
        self._was_told: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        """Return one, opened; raises KeyError, or TaskFailed naming the setting where the key is missing, and what `fetch` raises."""
        entry = self._entries()[name]
        if self._fetch and entry["key"] and entry["key"] not in self._keyring().keys:
            entry = self._fetch(self._kind, name, entry)
        try:
            value = opened(self._keyring(), self._kind, name, entry)
        except WrongKey as error:
            raise TaskFailed(error.message, hint=error.hint) from error
        if name not in self._was_told:
            self._told(name, entry)
            self._was_told.add(name)
        return value

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._entries())

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._entries())
