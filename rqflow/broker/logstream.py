"""The stream of what tasks print, on its way from workers to the hub's archive.

One stream carries the pieces of all logs, in entries of one or many: most logs are a line or two, and a hundred of them in one entry
cost little more than one. A worker appends pieces in their order and keeps few of them unarchived; the archive writes each at its
offset, tells how far it got, and drops from the stream what it has. A piece may come twice (the answer to its sender was lost), and a
sender that is not answered sends again from the offset that `acknowledged` tells: Redis may have lost what was on its way. The
connection must not decode answers: logs are bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import redis

from rqflow import logs
from rqflow.broker import keys
from rqflow.broker.connection import block
from rqflow.broker.faults import translated
from rqflow.broker.replies import text
from rqflow.clock import from_micros
from rqflow.wire import decode, encode

logger = logging.getLogger(__name__)

#: Seconds for which Redis remembers how far a log is archived: since its last piece, and once its sender knows that it is whole. The
#: first is longer than a worker keeps a log that it cannot send. The second outlasts pieces that were sent twice and are still under way, but for
#: those behind a long line: these are archived once more, which changes nothing, and remembered as long as the first. It is short because short
#: tasks end by the thousand, and each takes 180 bytes as long.
REMEMBER, REMEMBER_KNOWN = 8 * 86_400, 2
#: Seconds after which the archive is believed to take logs again, when it has not said otherwise.
HOLD = 60
#: Entries that one read asks for; bytes and pieces that one entry has at most (but always one piece).
ENTRIES, ENTRY_BYTES, ENTRY_PIECES = 64, 128 << 10, 500
_LUA = Path(__file__).with_name("lua")
_ARCHIVED, _KNOWN, _SETTLED = ((_LUA / f"logs_{name}.lua").read_text(encoding="utf-8") for name in ("archived", "known", "settled"))
#: What the keys begin with under which Redis remembers how far a log is archived.
_ACKED = f"{keys.LOGS_ACKED}:"


class LogChunk(NamedTuple):
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
    #: When it came into the stream, in milliseconds since the epoch by Redis' clock; 0: it has not yet.
    at: int = 0


class Archived(NamedTuple):
    """How far a log is archived. Where its last piece is archived too, it is whole: an empty one is no matter of bytes."""

    offset: int
    is_whole: bool


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
            for pieces in _entries(chunks):
                about = [[one.execution_id, one.path, one.offset, len(one.data), (2 if one.leaves else 1) if one.last else 0] for one in pieces]
                pipe.xadd(keys.LOGS, {"m": encode(about), "d": b"".join([one.data for one in pieces])})
            pipe.execute()

    def acknowledged(self, execution_ids: Collection[str]) -> dict[str, int]:
        """Return for each execution up to which offset its log is archived; those that Redis does not remember are left out."""
        return {name: archived.offset for name, archived in self.archived(execution_ids).items()}

    def archived(self, execution_ids: Collection[str]) -> dict[str, Archived]:
        """Return how far the log of each execution is archived; those that Redis does not remember are left out."""
        answers: Any = translated(self.connection.eval, _KNOWN, 1, _ACKED, *execution_ids)
        known = zip(execution_ids, answers[::2], answers[1::2], strict=True)
        return {name: Archived(int(offset), whole is not None) for name, offset, whole in known if offset is not None}

    def read(self, after: str = "0", count: int = ENTRIES, block_ms: int = 1000) -> list[tuple[str, LogChunk]]:
        """Return the pieces, each with the id of its entry, of up to `count` entries behind the id `after`.

        Waits `block_ms` (0: not at all) for the first. What was acknowledged is gone, so "0" reads all that is not archived. An entry
        that cannot be read is dropped.
        """
        answer: Any = self.connection.xread({keys.LOGS: after}, count=count, block=block(self.connection, block_ms))
        found = []
        for _, entries in answer or []:
            for entry_id, fields in entries:
                chunks = _decode(fields)
                if chunks is None:
                    logger.error("an entry of the log stream cannot be read and is dropped", extra=logs.context("log_entry_dropped"))
                    self.connection.xdel(keys.LOGS, entry_id)
                else:
                    name = entry_id.decode()
                    at = int(name.partition("-")[0])
                    found += [(name, chunk._replace(at=at)) for chunk in chunks]
        return found

    def settle(self, execution_ids: Collection[str]) -> None:
        """Let Redis forget soon how far these logs are archived: they are whole, and their sender knows it."""
        translated(self.connection.eval, _SETTLED, 1, _ACKED, REMEMBER_KNOWN, *execution_ids)

    def acknowledge(self, archived: Mapping[str, int], upto_id: str, *, whole: Collection[str] = (), settled: Collection[str] = ()) -> None:
        """Say up to which offset each execution's log is archived, and which are `whole`; drop entries up to `upto_id`.

        The `settled` ones are whole, and nobody will ask for them.
        """
        milliseconds, _, number = upto_id.partition("-")
        told: list[Any] = []
        for execution_id, offset in archived.items():
            told += (execution_id, offset, "s" if execution_id in settled else "w" if execution_id in whole else "")
        translated(self.connection.eval, _ARCHIVED, 2, keys.LOGS, _ACKED, f"{milliseconds}-{int(number or 0) + 1}", REMEMBER, REMEMBER_KNOWN, *told)

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


def _entries(chunks: Iterable[LogChunk]) -> Iterator[list[LogChunk]]:
    """Divide pieces among entries, in their order."""
    pieces: list[LogChunk] = []
    size = 0
    for chunk in chunks:
        if pieces and (size + len(chunk.data) > ENTRY_BYTES or len(pieces) >= ENTRY_PIECES):
            yield pieces
            pieces, size = [], 0
        pieces.append(chunk)
        size += len(chunk.data)
    if pieces:
        yield pieces


def _decode(fields: Mapping[bytes, bytes]) -> list[LogChunk] | None:
    """Return the pieces of an entry; None when it is none that `append` wrote."""
    found, at = [], 0
    try:
        data = fields[b"d"]
        for execution_id, path, offset, size, last in decode(fields[b"m"]):
            found.append(LogChunk(str(execution_id), str(path), int(offset), data[at:at + size], last=last > 0, leaves=last == 2))
            at += size
    except (KeyError, ValueError, TypeError):
        return None
    return found if found and at == len(data) else None
