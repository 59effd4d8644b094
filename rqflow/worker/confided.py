"""What a try was told that its log must not show: noted in a file beside the log, before it is told, read by who sends the log.

A line for each secret, as JSON: a stored Variable or Connection sealed as it came, one of the worker's environment by its name, or a text
that stands in the DAG file in clear anyway. So nothing stands there in clear that was not so before, and the next worker can read it too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rqflow import settings
from rqflow.exceptions import RqflowError
from rqflow.security.entries import Entry, opened, secrets_of
from rqflow.security.keyring import Keyring
from rqflow.security.masking import Masker, is_sensitive
from rqflow.security.sealing import name_of, seal

if TYPE_CHECKING:
    from rqflow.broker.messages import End
    from rqflow.worker.tries import Try

#: At the end of the name of such a file, behind that of its log.
SECRETS = ".secrets"
#: Kind of the operator whose output is kept without that anybody says so.
BASH = "bash"
#: Names that look secret and only tell where a secret is.
_PLACES = ("_FILE", "_PATH", "_DIR", "_SOCK", "_URL")
#: Tells the state of a file: inode, size, time of change.
_State = tuple[int, int, int]


def file_of(log: str) -> str:
    """Return the file that belongs to a log."""
    return log + SECRETS


def note_entry(file: str, kind: str, name: str, entry: Entry) -> None:
    """Note a stored Variable or Connection that a try was told."""
    _append(file, {"kind": kind, "name": name, "entry": dict(entry)})


def note_given(file: str, kind: str, name: str, given: str) -> None:
    """Note a Variable or Connection of the environment that a try was told, if there is a secret in it."""
    if secrets_of(kind, name, given):
        _append(file, {"kind": kind, "name": name})


def note_texts(file: str, texts: Iterable[str], *, public: str = "") -> None:
    """Note secrets that stand in clear where they come from; or may not, where a worker has a key pair: then sealed for its `public` half."""
    for text in texts:
        _append(file, {"key": name_of(public), "sealed": seal(public, text)} if public else {"text": text})


def in_environment(environ: Iterable[tuple[str, str]]) -> list[str]:
    """Return the values of variables that are secret by their names."""
    return [value for name, value in environ if is_sensitive(name) and not name.upper().endswith(_PLACES)]


@dataclass(slots=True)
class _Known:
    state: _State
    masker: Masker = field(default_factory=Masker)


class Confided:
    """The secrets of the tries of one worker."""

    def __init__(self, keyring: Keyring, always: Iterable[str] = ()) -> None:
        """Open what is sealed with `keyring`; `always` are secrets that every task of this worker has."""
        self._keyring, self._always = keyring, tuple(always)
        self._base = Masker(self._always)
        self._known: dict[str, _Known] = {}

    def masker(self, log: str) -> Masker:
        """Return what blots out the secrets of a log: all that were told before anything was printed that has been read before this call."""
        file = file_of(log)
        try:
            found = os.stat(file)  # noqa: PTH116 - asked for each piece of each log
        except OSError:
            return self._base
        state = (found.st_ino, found.st_size, found.st_mtime_ns)
        known = self._known.get(file)
        if known is None or known.state != state:
            known = self._known[file] = _Known(state, Masker((*self._always, *self._read(file))))
        return known.masker

    def text(self, log: str, text: str) -> str:
        """Return a text about a try without its secrets."""
        masker = self.masker(log) if text else None
        return masker.text(text) if masker else text

    def without(self, held: Try, end: End) -> End:
        """Return the end of a try without its secrets: its reason, and the last line that a bash task printed, which is kept as an XCom."""
        if end.reason:
            end = replace(end, reason=self.text(held.log, end.reason))
        if end.xcoms and held.task and held.task.operator == BASH:
            end = replace(end, xcoms={key: self.text(held.log, value) for key, value in end.xcoms.items()})
        return end

    def forget(self, log: str) -> None:
        """The log was sent."""
        self._known.pop(file_of(log), None)

    def _read(self, file: str) -> Iterator[str]:
        try:
            with open(file, encoding="utf-8", errors="surrogateescape") as stream:
                lines = stream.read().splitlines()
        except OSError:
            return
        for line in lines:
            try:
                yield from self._secrets(json.loads(line))
            except (ValueError, KeyError, RqflowError):  # half a line, or a key that is gone: then nobody here was told it
                continue

    def _secrets(self, said: dict[str, Any]) -> Iterable[str]:
        if "text" in said:
            return [str(said["text"])]
        if "sealed" in said:
            return [self._keyring.open(str(said["key"]), str(said["sealed"]), "a secret of a task")]
        kind, name = str(said["kind"]), str(said["name"])
        if "entry" not in said:
            given = settings.given(f"{kind}_{name.upper()}")
            return [] if given is None else secrets_of(kind, name, given)
        entry = said["entry"]
        return secrets_of(kind, name, opened(self._keyring, kind, name, entry), is_secret=bool(entry.get("is_secret")))


def _append(file: str, said: dict[str, Any]) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, json.dumps(said).encode() + b"\n")
    finally:
        os.close(descriptor)
