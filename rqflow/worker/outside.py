"""Stored Variables and Connections on a worker: a copy of what Redis has, sealed, renewed when a try needs it and it has changed.

Templates are given them by name. A Python child is given the copy as a file, and by its environment what opens it; it reads the file when
it needs something. A try that uses none costs nothing.

A worker that joined a hub from elsewhere has no key that opens the copy: what is secret is asked of the hub, when it is needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rqflow.broker.broker import Broker
from rqflow.broker.mirror import Mirrored
from rqflow.dag.outside import Stored
from rqflow.security.entries import CONN, VAR, Entry, resealed
from rqflow.security.keyring import Keyring
from rqflow.security.membership import Member
from rqflow.settings import Settings
from rqflow.wire import encode
from rqflow.worker import asking, confided
from rqflow.worker.accounts import Account
from rqflow.worker.desk import Desk
from rqflow.worker.inquiries import Inquiries
from rqflow.worker.sealed import Fetch, Sealed
from rqflow.worker.tries import Try

#: Name of the copy in the folder of a try.
_COPY = "outside.json"


class Outside:
    """What one worker knows of them."""

    def __init__(self, broker: Broker, settings: Settings, folder: Path, *, worker: str = "") -> None:
        """Ask `broker`, and keep the copy in `folder`; `worker` is what the worker is called over its restarts, if it is one.

        Raises ConfigError for a setting that is no key.
        """
        self.worker = worker
        self._broker, self._settings = broker, settings
        #: What this home is for the hub that it joined; None: it has not, and opens what its own keys open.
        self.member = Member.of(settings.home)
        self.keyring = Keyring.of(settings, boxes=[self.member.key] if self.member else ())
        #: By which a worker that joined asks the hub; None where nothing is asked for templates.
        self.inquiries: Inquiries | None = None
        self._folder = folder
        self._copied = ""
        self._now = Mirrored()
        #: The generation of the last copy for other accounts, and its text.
        self._resealed = ("", "")

    def views(self, held: Try) -> tuple[Stored, Stored]:
        """Return the Variables and the Connections that templates of a try see: those of this worker's environment first."""
        file = confided.file_of(held.log)

        def note(kind: str, name: str, given: str) -> None:
            confided.note_given(file, kind, name, given)

        def fetch(kind: str, name: str, entry: Entry) -> Entry:
            return self.inquiries.get(held, self.worker, kind, name, entry) if self.inquiries else entry

        return self._view(VAR, file, note, fetch), self._view(CONN, file, note, fetch)

    def hand_over(self, log: str, folder: Path) -> dict[str, Any]:
        """Return what the spec of a Python child says of them, which has this log, and this folder for itself; Redis has just been believed.

        Raises redis-py's errors, or OSError.
        """
        self._renew(self._broker.outside_generation)
        told: dict[str, Any] = {"secrets": confided.file_of(log)}
        if any(self._now.entries.values()):
            target = folder / _COPY
            with contextlib.suppress(FileNotFoundError):
                target.unlink()
            # A link: whatever becomes of the copy, the try keeps its own as long as it has its folder.
            try:
                os.link(self._copy(), target)
            except PermissionError:  # a file system without links
                shutil.copyfile(self._copy(), target)
            told["outside"] = str(target)
        return told

    def opener(self, run_key: str = "", index: int = 0, execution_id: str = "") -> str:
        """Return what a Python child's environment holds: what opens the copy, and how the hub is reached.

        A worker that joined lets it ask the hub itself for what belongs to this execution, or call of an author's function, as long as it runs.

        On the embedded default, whose home is the hub's, the first Variable that is ever stored may be a task's: so its key is made here.
        """
        if "redis.url" not in self._settings.origins and not self.keyring.keys:
            self._renew(None)
            if not any(entry.get("key") for entries in self._now.entries.values() for entry in entries.values()):
                self.keyring.ensure()
        told = {"keys": list(self.keyring.keys.values()), "hub": asking.told(self._settings)}
        if self.member and self.worker and execution_id:
            told["ticket"] = self.member.ticket(self.worker, run_key, index, execution_id).told()
        return json.dumps(told)

    def opener_for(self, account: Account, desk: Desk, log: str, run_key: str = "", index: int = 0, execution_id: str = "") -> str:
        """Return the same for a child under another account: the key of copies that this worker seals for such, and its desk in place of the hub."""
        told: dict[str, Any] = {"keys": [] if self.member else list(desk.own.keys.values()), "hub": desk.told(execution_id, account.uid, log)}
        if self.member and self.worker:
            told["ticket"] = self.member.ticket(self.worker, run_key, index, execution_id).told()
        return json.dumps(told)

    def copy_for(self, desk: Desk, log: str) -> str:
        """Return the text of such a copy, as Redis was believed last. All secrets in it are noted beside the log: the child cannot do that."""
        self._renew(self._broker.outside_generation)
        if self._resealed[0] != self._now.generation:
            entries = {kind: {name: resealed(self.keyring, desk.own, kind, name, entry) for name, entry in of_kind.items()}
                       for kind, of_kind in self._now.entries.items()}
            self._resealed = self._now.generation, encode(entries).decode()
        for kind, of_kind in self._now.entries.items():
            for name, entry in of_kind.items():
                confided.note_entry(confided.file_of(log), kind, name, entry)
        return self._resealed[1]

    def _view(self, kind: str, file: str, note: Callable[[str, str, str], None], fetch: Fetch) -> Stored:
        def entries() -> Mapping[str, Entry]:
            self._renew(None)
            return self._now.entries.get(kind, {})

        def told(name: str, entry: Entry) -> None:
            confided.note_entry(file, kind, name, entry)

        return Stored(kind, Sealed(kind, entries, lambda: self.keyring, told, fetch), note)

    def _renew(self, generation: str | None) -> None:
        """See that the copy is the one of `generation`, None: whichever there is now."""
        if generation is None or generation != self._now.generation:
            self._now = self._broker.mirrored(self._now.generation) or self._now

    def _copy(self) -> str:
        """Return the file of the copy as it is now, made when it is not there."""
        path = self._folder / f"{self._now.generation}.json"
        if self._copied != self._now.generation or not path.exists():
            self._folder.mkdir(mode=0o700, exist_ok=True)
            for old in self._folder.iterdir():
                old.unlink()
            fresh = path.with_suffix(".new")
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as stream:
                stream.write(encode(self._now.entries))
            fresh.rename(path)
            self._copied = self._now.generation
        return str(path)
