"""The stream of what tasks print, on its way from workers to the hub's archive.

One stream carries the pieces of all logs. A worker appends pieces in their order and keeps few of them unarchived; the archive writes
each at its offset, tells how far it got, and drops from the stream what it has. A piece may come twice (the answer to its sender was
lost), and a sender that is not answered sends again from the offset that `acknowledged` tells: Redis may have lost what was on its
way. The connection must not decode answers: logs are bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis

from rqflow import logs
from rqflow.broker import keys
from rqflow.broker.connection import block
from rqflow.broker.steps import text
from rqflow.clock import from_micros

logger = logging.getLogger(__name__)

#: Seconds for which Redis remembers how far a log is archived: since its last piece, and once its sender knows that it is whole. The
#: first is longer than a worker keeps a log that it cannot send; the second outlasts pieces that were sent twice and are still under way.
REMEMBER, REMEMBER_KNOWN = 8 * 86_400, 120
#: Seconds after which the archive is believed to take logs again, when it has not said otherwise.
HOLD = 60
#: Entries that one read asks for.
ENTRIES = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class LogChunk:
    """A piece of the log of one execution: `data` stands at byte `offset` of it. `last` says that nothing follows.

    `leaves` says that its sender will not ask how far the log is archived.
    """

    execution_id: str
    #: Path of the log below the archive's folder (recorder/logpath.py).
    path: str
    offset: int
    data: bytes
    last: bool = False
    leaves: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """Why the archive takes no logs, and since when."""

    reason: str
    since: datetime


class LogStream:
    """The stream as senders and the archive see it."""

    def __init__(self, connection: redis.Redis) -> None:
        """Take a connection of its own, so that heartbeats never queue behind logs."""
        self.connection = connection

    def append(self, chunks: Iterable[LogChunk]) -> None:
        """Send pieces in one round trip. Safe to repeat."""
        with self.connection.pipeline(transaction=False) as pipe:
            for chunk in chunks:
                fields: dict[Any, Any] = {"e": chunk.execution_id, "p": chunk.path, "o": chunk.offset, "d": chunk.data}
                pipe.xadd(keys.LOGS, {**fields, "l": 2 if chunk.leaves else 1} if chunk.last else fields)
            pipe.execute()

    def acknowledged(self, execution_ids: Collection[str]) -> dict[str, int]:
        """Return for each execution up to which offset its log is archived; those that Redis does not remember are left out."""
        with self.connection.pipeline(transaction=False) as pipe:
            for execution_id in execution_ids:
                pipe.hget(_key(execution_id), "o")
            answers = pipe.execute()
        return {name: int(answer) for name, answer in zip(execution_ids, answers, strict=True) if answer is not None}

    def read(self, after: str = "0", count: int = ENTRIES, block_ms: int = 1000) -> list[tuple[str, LogChunk]]:
        """Return up to `count` entries behind the id `after`, waiting `block_ms` (0: not at all) for the first.

        What was acknowledged is gone, so "0" reads all that is not archived. An entry that cannot be read is dropped.
        """
        answer: Any = self.connection.xread({keys.LOGS: after}, count=count, block=block(self.connection, block_ms))
        found = []
        for _, entries in answer or []:
            for entry_id, fields in entries:
                chunk = _decode(fields)
                if chunk is None:
                    logger.error("an entry of the log stream cannot be read and is dropped", extra=logs.context("log_entry_dropped"))
                    self.connection.xdel(keys.LOGS, entry_id)
                else:
                    found.append((entry_id.decode(), chunk))
        return found

    def settle(self, execution_ids: Collection[str]) -> None:
        """Let Redis forget soon how far these logs are archived: they are whole, and their sender knows it."""
        with self.connection.pipeline(transaction=False) as pipe:
            for execution_id in execution_ids:
                pipe.expire(_key(execution_id), REMEMBER_KNOWN)
            pipe.execute()

    def acknowledge(self, archived: Mapping[str, int], upto_id: str, *, settled: Collection[str] = ()) -> None:
        """Say up to which offset each execution's log is archived, and drop entries up to `upto_id`; of `settled` ones nobody will ask."""
        milliseconds, _, number = upto_id.partition("-")
        # All or nothing: what is dropped and not said to be archived, its sender would wait for in vain.
        with self.connection.pipeline() as pipe:
            for execution_id, offset in archived.items():
                key = _key(execution_id)
                pipe.hset(key, "o", str(offset))
                pipe.expire(key, REMEMBER_KNOWN if execution_id in settled else REMEMBER)
            pipe.xtrim(keys.LOGS, minid=f"{milliseconds}-{int(number or 0) + 1}", approximate=False)
            pipe.execute()

    def hold(self, reason: str) -> Held:
        """Say that the archive takes no logs, for `reason`; to be said again at least each HOLD seconds. Return it, with its beginning."""
        seconds, micros = self.connection.time()
        with self.connection.pipeline() as pipe:
            pipe.hsetnx(keys.LOGS_HELD, "since", str(seconds * 1_000_000 + micros))
            pipe.hset(keys.LOGS_HELD, "reason", reason)
            pipe.expire(keys.LOGS_HELD, HOLD)
            pipe.hget(keys.LOGS_HELD, "since")
            return Held(reason=reason, since=from_micros(text(pipe.execute()[-1])))

    def release(self) -> None:
        """Say that the archive takes logs."""
        self.connection.delete(keys.LOGS_HELD)

    def held(self) -> Held | None:
        """Return why the archive takes no logs; None when it does, or when there is none."""
        reason, since = self.connection.hmget(keys.LOGS_HELD, ["reason", "since"])
        return Held(reason=text(reason), since=from_micros(text(since))) if reason and since else None


def _key(execution_id: str) -> str:
    return f"{keys.LOGS_ACKED}:{execution_id}"


def _decode(fields: Mapping[bytes, bytes]) -> LogChunk | None:
    try:
        execution_id, path, offset = fields[b"e"].decode(), fields[b"p"].decode(), int(fields[b"o"])
        last = fields.get(b"l", b"")
        return LogChunk(execution_id=execution_id, path=path, offset=offset, data=fields[b"d"], last=bool(last), leaves=last == b"2")
    except (KeyError, ValueError, TypeError):
        return None
