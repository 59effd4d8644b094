"""Variables and Connections in the Python child of a task: read from the copy that its worker gave it, and stored through the hub."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, MutableMapping
from functools import cached_property
from pathlib import Path
from typing import Any

from rqflow.dag import asking as questions
from rqflow.dag import outside
from rqflow.dag.asking import SECRETS, STORE_VARIABLE, Ask, ask_lastingly
from rqflow.exceptions import TaskFailed
from rqflow.security.entries import CONN, VAR, Entry, sealed_for, secrets_of
from rqflow.security.keyring import SETTING, Keyring
from rqflow.security.membership import Ticket
from rqflow.security.sealing import BoxKey, name_of, seal
from rqflow.wire import decode
from rqflow.worker import confided
from rqflow.worker.sealed import HANDOVER, Sealed

logger = logging.getLogger(__name__)


class Handed:
    """What this child was handed."""

    def __init__(self, spec: Mapping[str, Any], environ: MutableMapping[str, str]) -> None:
        """Take it out of the spec and the environment, which no process that the task starts shall have."""
        told = json.loads(environ.pop(HANDOVER, "{}"))
        self._copy, self._file = str(spec.get("outside") or ""), str(spec.get("secrets") or "")
        self._keys, self._hub = list(told.get("keys") or ()), told.get("hub")
        #: What the task itself may ask, if it is one that asks.
        self._asked = spec.get("hub")
        #: What this process asks the hub with, where its worker has not the hub's key.
        self._ticket = Ticket(**told["ticket"]) if told.get("ticket") else None
        self._fetched: dict[tuple[str, str], Entry] = {}

    def provide(self) -> None:
        """Tell this process' DAG file and task about it."""
        outside.provide(variables=self._sealed(VAR), connections=self._sealed(CONN), note=self._note, write=self._write)
        questions.provide(self._ask if self._asked else None)

    def _ask(self, kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Ask the hub for the task."""
        return self._asker(kind, payload)

    @cached_property
    def _asker(self) -> Ask:
        from rqflow.worker import asking  # here: it takes a while to import

        assert self._asked is not None
        return asking.asker(self._asked)

    def _sealed(self, kind: str) -> Sealed:
        def told(name: str, entry: Entry) -> None:
            if self._file or self._ticket:  # else the worker has noted all that it gave
                self._note_entry(kind, name, self._for_the_worker(kind, name, entry))

        return Sealed(kind, lambda: self._entries.get(kind, {}), lambda: self._keyring, told, self._fetch if self._ticket and self._hub else None)

    def _note_entry(self, kind: str, name: str, entry: Entry) -> None:
        """Note a secret that the log must not show; under another account by its worker."""
        if self._file:
            confided.note_entry(self._file, kind, name, entry)
        elif self._hub and "desk" in self._hub:
            from rqflow.worker import desk  # here: it takes a while to import

            desk.ask(self._hub, do=desk.NOTE, said={"kind": kind, "name": name, "entry": dict(entry)})

    def _fetch(self, kind: str, name: str, _: Entry) -> Entry:
        """Ask the hub for an entry that no key here opens, until it answers; raises KeyError when it is gone, RqflowError with the hub's words."""
        from rqflow.worker import asking, inquiries  # here: it takes a while to import

        assert self._ticket is not None
        assert self._hub is not None
        if (kind, name) not in self._fetched:
            asker = asking.asker(self._hub)
            found = inquiries.answer_to(self._ticket, {kind: [name]}, lambda payload: ask_lastingly(SECRETS, payload, logger, by=asker))
            self._fetched[kind, name] = found.get(kind, {})[name]
        return self._fetched[kind, name]

    def _for_the_worker(self, kind: str, name: str, entry: Entry) -> Entry:
        """Return an entry as this worker's key opens it, and that of the next one: what was sealed for this process ends with it."""
        if self._ticket and entry["key"] and entry["key"] not in self._keyring.keys:
            return sealed_for(self._ticket.own, self._keyring, kind, name, entry)
        return entry

    @cached_property
    def _entries(self) -> Mapping[str, Mapping[str, Entry]]:
        found: Mapping[str, Mapping[str, Entry]] = decode(Path(self._copy).read_bytes()) if self._copy else {}
        return found

    @cached_property
    def _keyring(self) -> Keyring:
        return Keyring(self._keys, boxes=[BoxKey(self._ticket.private)] if self._ticket else ())

    def _note(self, kind: str, name: str, given: str) -> None:
        if self._file:
            confided.note_given(self._file, kind, name, given)

    def _write(self, name: str, value: str | None, description: str | None) -> None:
        """Have the hub store a Variable, sealed on its way, and wait until it has; raises TaskFailed, or RqflowError with the hub's own words."""
        if not self._hub:
            raise TaskFailed(f"the Variable {name} cannot be stored: there is no hub", hint="`rqflow dag test` and `rqflow task test` have none.")
        asked: dict[str, Any] = {"key": name, "description": description}
        if value is not None:
            if not self._keys and not self._ticket:
                raise TaskFailed(f"the Variable {name} cannot be stored: this worker has no key",
                                 hint=f"Let it join (`rqflow worker join`), or set {SETTING} there to the hub's key.")
            if secrets_of(VAR, name, value):
                self._note_own(name, value)
            asked["secret_key"], asked["value"] = self._sealed_for(self._ticket.hub if self._ticket else "", value)
        from rqflow.worker import asking  # here: it takes a while to import

        asking.asker(self._hub)(STORE_VARIABLE, asked)

    def _note_own(self, name: str, value: str) -> None:
        """Note a secret that the task itself stores, sealed as all others."""
        key, sealed = self._sealed_for(self._ticket.own if self._ticket else "", value)
        self._note_entry(VAR, name, {"key": key, "value": sealed, "is_secret": True})

    def _sealed_for(self, public: str, value: str) -> tuple[str, str]:
        """Seal a text with the hub's key where it is here, else for the owner of a public half; return the name of the key, too."""
        return self._keyring.seal(value) if self._keys else (name_of(public), seal(public, value))
