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
from typing import Any

import redis

from rqflow import logs
from rqflow.broker import keys
from rqflow.broker.connection import block

logger = logging.getLogger(__name__)

#: Seconds for which Redis remembers how far a log is archived: since its last piece, and once it is whole.
REMEMBER, REMEMBER_WHOLE = 86_400, 600
#: Entries that one read asks for.
ENTRIES = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class LogChunk:
    """A piece of the log of one execution: `data` stands at byte `offset` of it. `last` says that nothing follows."""

    execution_id: str
    #: Path of the log below the archive's folder (recorder/logpath.py).
    path: str
    offset: int
    data: bytes
    last: bool = False


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
                pipe.xadd(keys.LOGS, {**fields, "l": 1} if chunk.last else fields)
            pipe.execute()

    def acknowledged(self, execution_ids: Collection[str]) -> dict[str, int]:
        """Return for each execution up to which offset its log is archived; those that Redis does not remember are left out."""
        return self._ask(execution_ids, "o")

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

    def acknowledge(self, archived: Mapping[str, int], upto_id: str, *, whole: Collection[str] = ()) -> None:
        """Say up to which offset each execution's log is archived, and drop entries up to `upto_id`; `whole` are those that are complete."""
        milliseconds, _, number = upto_id.partition("-")
        # All or nothing: what is dropped and not said to be archived, its sender would wait for in vain.
        with self.connection.pipeline() as pipe:
            for execution_id, offset in archived.items():
                key = _key(execution_id)
                pipe.hset(key, "o", str(offset))
                pipe.expire(key, REMEMBER_WHOLE if execution_id in whole else REMEMBER)
            pipe.xtrim(keys.LOGS, minid=f"{milliseconds}-{int(number or 0) + 1}", approximate=False)
            pipe.execute()

    def bases(self, execution_ids: Collection[str]) -> dict[str, int]:
        """Return where in its file each execution's log begins, for those of which Redis remembers it."""
        return self._ask(execution_ids, "b")

    def keep_base(self, execution_id: str, base: int) -> int:
        """Remember that an execution's log begins at byte `base` of its file, unless that is known; return what is known."""
        key = _key(execution_id)
        with self.connection.pipeline() as pipe:
            pipe.hsetnx(key, "b", str(base))
            pipe.expire(key, REMEMBER)
            pipe.hget(key, "b")
            return int(pipe.execute()[2])

    def _ask(self, execution_ids: Collection[str], field: str) -> dict[str, int]:
        with self.connection.pipeline(transaction=False) as pipe:
            for execution_id in execution_ids:
                pipe.hget(_key(execution_id), field)
            answers = pipe.execute()
        return {name: int(answer) for name, answer in zip(execution_ids, answers, strict=True) if answer is not None}


def _key(execution_id: str) -> str:
    return f"{keys.LOGS_ACKED}:{execution_id}"


def _decode(fields: Mapping[bytes, bytes]) -> LogChunk | None:
    try:
        execution_id, path, offset = fields[b"e"].decode(), fields[b"p"].decode(), int(fields[b"o"])
        return LogChunk(execution_id=execution_id, path=path, offset=offset, data=fields[b"d"], last=b"l" in fields)
    except (KeyError, ValueError, TypeError):
        return None
