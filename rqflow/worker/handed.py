"""Variables and Connections in the Python child of a task: read from the copy that its worker gave it, and stored through the hub."""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping
from functools import cached_property
from pathlib import Path
from typing import Any

from rqflow.dag import outside
from rqflow.dag.asking import STORE_VARIABLE
from rqflow.exceptions import TaskFailed
from rqflow.security.entries import CONN, VAR, Entry, secrets_of
from rqflow.security.keyring import SETTING, Keyring
from rqflow.wire import decode
from rqflow.worker import confided
from rqflow.worker.outside import HANDOVER, Sealed


class Handed:
    """What this child was handed."""

    def __init__(self, spec: Mapping[str, Any], environ: MutableMapping[str, str]) -> None:
        """Take it out of the spec and the environment, which no process that the task starts shall have."""
        told = json.loads(environ.pop(HANDOVER, "{}"))
        self._copy, self._file = str(spec.get("outside") or ""), str(spec.get("secrets") or "")
        self._keys, self._hub = list(told.get("keys") or ()), told.get("hub")

    def provide(self) -> None:
        """Tell this process' DAG file and task about it."""
        outside.provide(variables=self._sealed(VAR), connections=self._sealed(CONN), note=self._note, write=self._write)

    def _sealed(self, kind: str) -> Sealed:
        def told(name: str, entry: Entry) -> None:
            if self._file:
                confided.note_entry(self._file, kind, name, entry)

        return Sealed(kind, lambda: self._entries.get(kind, {}), lambda: self._keyring, told)

    @cached_property
    def _entries(self) -> Mapping[str, Mapping[str, Entry]]:
        found: Mapping[str, Mapping[str, Entry]] = decode(Path(self._copy).read_bytes()) if self._copy else {}
        return found

    @cached_property
    def _keyring(self) -> Keyring:
        return Keyring(self._keys)

    def _note(self, kind: str, name: str, given: str) -> None:
        if self._file:
            confided.note_given(self._file, kind, name, given)

    def _write(self, name: str, value: str | None, description: str | None) -> None:
        """Have the hub store a Variable, sealed on its way, and wait until it has; raises TaskFailed, or RqflowError with the hub's own words."""
        if not self._hub:
            raise TaskFailed(f"the Variable {name} cannot be stored: there is no hub", hint="`rqflow dag test` and `rqflow task test` have none.")
        asked: dict[str, Any] = {"key": name, "description": description}
        if value is not None:
            if not self._keys:
                raise TaskFailed(f"the Variable {name} cannot be stored: this worker has no key", hint=f"Set {SETTING} there to the hub's key.")
            if self._file and secrets_of(VAR, name, value):
                self._note_own(name, value)
            asked["secret_key"], asked["value"] = self._keyring.seal(value)
        from rqflow.worker import asking  # here: it takes a while to import

        asking.asker(self._hub)(STORE_VARIABLE, asked)

    def _note_own(self, name: str, value: str) -> None:
        """Note a secret that the task itself stores, sealed as all others."""
        key, sealed = self._keyring.seal(value)
        confided.note_entry(self._file, VAR, name, {"key": key, "value": sealed, "is_secret": True})
