"""Variables and Connections in Redis, sealed, for workers that see nothing but Redis: a copy of what SQL has.

A hash with an entry for each, and the generation: another text after each change, by which a reader knows that its copy is old.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from rqflow.broker import keys
from rqflow.broker.faults import patiently
from rqflow.broker.replies import text
from rqflow.wire import decode, encode

#: Field of the generation, and of what SQL had then; entries are VAR:name and CONN:name, so no entry is called like these.
GENERATION, STATE = "generation", "state"
#: What SQL had, and {kind: {name: entry}}.
Look = Callable[[], tuple[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]]
_WRITE = Path(__file__).with_name("lua").joinpath("mirror.lua").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What Redis has. `entries` is {kind: {name: entry}}; kinds are VAR and CONN. Without a generation there never was any."""

    generation: str = ""
    entries: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)


class Mirror:
    """Reads and writes the copy, over one connection."""

    def __init__(self, connection: redis.Redis) -> None:
        """Use `connection`."""
        self._connection = connection

    def state(self) -> str:
        """Return what SQL had when the copy was made; empty when there is none. Raises redis-py's errors."""
        return text(patiently(self._connection, self._connection.hget, keys.OUTSIDE, STATE) or "")

    def read(self, known: str | None = None) -> Mirrored | None:
        """Return the copy; None when its generation is the `known` one. Raises redis-py's errors."""
        return patiently(self._connection, self._read, known)

    def write(self, look: Look) -> None:
        """Put what `look` finds in SQL in the place of the copy: the state of SQL, and the entries.

        When another one wrote meanwhile, look again: so the copy that stands was read after every change that is in it, and none is undone by
        one who looked earlier and wrote later. Raises redis-py's errors, and what `look` raises.
        """
        connection = self._connection
        while True:
            seen = text(patiently(connection, connection.hget, keys.OUTSIDE, GENERATION) or "")
            state, entries = look()
            fields: list[Any] = [STATE, state]
            for kind, named in entries.items():
                for name, entry in named.items():
                    fields += [f"{kind}:{name}", encode(dict(entry))]
            if patiently(connection, connection.eval, _WRITE, 1, keys.OUTSIDE, seen, secrets.token_hex(8), *fields):
                return

    def _read(self, known: str | None) -> Mirrored | None:
        if known is not None and text(self._connection.hget(keys.OUTSIDE, GENERATION) or "") == known:
            return None
        found = {text(name): value for name, value in self._connection.hgetall(keys.OUTSIDE).items()}
        entries: dict[str, dict[str, Mapping[str, Any]]] = {}
        for name, value in found.items():
            kind, colon, called = name.partition(":")
            if colon:
                entries.setdefault(kind, {})[called] = decode(value)
        return Mirrored(text(found.get(GENERATION, "")), entries)
