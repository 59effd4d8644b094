"""The stream of what happened: the steps append, recorders read in a consumer group and acknowledge what is in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from rqflow.broker import keys
from rqflow.broker.connection import block
from rqflow.broker.faults import translated
from rqflow.broker.replies import text
from rqflow.wire import decode

GROUP = "recorders"
_FORGET = Path(__file__).with_name("lua").joinpath("forget_readers.lua").read_text(encoding="utf-8")
Entry = tuple[str, list[Any]]
#: A machine that does not ask for so long what of it was recorded is gone.
RECORDED_SECONDS = 30 * 86400


@dataclass(frozen=True, slots=True)
class Seen:
    """What a reader who takes nothing from the recorders saw: the newest id, and {run key: dag_id} of the runs of which something was told."""

    upto: str = ""
    runs: Mapping[str, str] = field(default_factory=dict)


class EventStream:
    """One reader's view of the stream. Each entry holds the events of one step, in their order."""

    def __init__(self, connection: redis.Redis) -> None:
        """Take the connection; the consumer group is made at the first read."""
        self.connection = connection

    def read(self, consumer: str, count: int = 200, block_ms: int = 1000) -> list[Entry]:
        """Return up to `count` entries that no recorder has had, waiting `block_ms` for the first. They stay pending until acknowledged."""
        wait = block(self.connection, block_ms)
        answer = self._grouped(lambda: self.connection.xreadgroup(GROUP, consumer, {keys.EVENTS: ">"}, count=count, block=wait))
        return [entry for _, entries in answer or [] for entry in _decode(entries)]

    def pending(self, consumer: str, count: int = 200) -> list[Entry]:
        """Return entries that `consumer` was given and has not acknowledged: after its restart, or after a failed commit."""
        answer = self._grouped(lambda: self.connection.xreadgroup(GROUP, consumer, {keys.EVENTS: "0"}, count=count))
        return [entry for _, entries in answer or [] for entry in _decode(entries)]

    def take_over(self, consumer: str, idle_ms: int = 15_000, count: int = 200) -> list[Entry]:
        """Return entries that another recorder was given more than `idle_ms` ago and has not acknowledged; they are `consumer`'s now."""
        answer = self._grouped(lambda: self.connection.xautoclaim(keys.EVENTS, GROUP, consumer, min_idle_time=idle_ms, count=count))
        return _decode(answer[1])

    def forget_readers(self, silent_ms: int = 3_600_000) -> int:
        """Remove readers that hold nothing and have been silent for so long: each process that ever recorded leaves one. Returns how many."""
        return int(self._grouped(lambda: translated(self.connection.eval, _FORGET, 1, keys.EVENTS, GROUP, silent_ms)))

    def acknowledge(self, ids: Sequence[str], *, recorded: Mapping[str, Sequence[str]] | None = None) -> None:
        """Say that the events of these entries are in SQL, and so the ends of the executions `recorded` {machine: executions}."""
        if not ids:
            return
        with self.connection.pipeline() as pipe:
            for machine, executions in (recorded or {}).items():
                pipe.sadd(keys.RECORDED + machine, *executions)
                pipe.expire(keys.RECORDED + machine, RECORDED_SECONDS)
            pipe.xack(keys.EVENTS, GROUP, *ids)
            pipe.execute()

    def follow(self, since: str, *, block_ms: int, count: int = 500) -> Seen:
        """Return what came after the id `since`, waiting `block_ms` for it; nobody is kept from having it too."""
        answer: Any = self.connection.xread({keys.EVENTS: since}, count=count, block=block(self.connection, block_ms))
        entries = [entry for _, found in answer or [] for entry in _decode(found)]
        told = [event for _, events in entries for event in events if isinstance(event, dict) and isinstance(event.get("run"), str)]
        return Seen(entries[-1][0] if entries else "", {event["run"]: str(event.get("dag", "")) for event in told})

    def newest(self) -> str:
        """Return the id of the newest entry that there ever was; the events of a step that was answered before are not newer."""
        return text(self._grouped(lambda: self.connection.xinfo_stream(keys.EVENTS))["last-generated-id"])

    def recorded_upto(self) -> str:
        """Return the id below which everything is acknowledged: that of the oldest pending entry, else one after the last delivered."""
        group = next((group for group in self._groups() if text(group["name"]) == GROUP), None)
        return "0-0" if group is None else self._upto(group)

    def unrecorded(self, upto: str, most: int) -> list[Entry]:
        """Return the entries up to the id `upto` that may not be in SQL yet, at most `most` of them; none of them is taken from its recorder."""
        since = self.recorded_upto()
        if is_before(upto, since):
            return []
        return _decode(self.connection.xrange(keys.EVENTS, min=since, max=upto, count=most))

    def _groups(self) -> list[dict[str, Any]]:
        """Return the consumer groups; ours is made when the stream has none."""
        return self._grouped(lambda: self.connection.xinfo_groups(keys.EVENTS)) or [{"name": GROUP, "pending": 0, "last-delivered-id": b"0-0"}]

    def _upto(self, group: dict[str, Any]) -> str:
        """Return the id below which a group has acknowledged everything."""
        # Asked second: what was pending at the first look may be acknowledged by now, and then nothing up to that look is pending.
        try:
            oldest = self.connection.xpending(keys.EVENTS, text(group["name"]))["min"] if group["pending"] else None
        except redis.exceptions.ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            # Redis was emptied between the two: nothing that it has is known to be acknowledged.
            return "0-0"
        if oldest:
            return text(oldest)
        milliseconds, _, number = text(group["last-delivered-id"]).partition("-")
        return f"{milliseconds}-{int(number) + 1}"

    def trim(self) -> None:
        """Drop entries below the oldest that is pending or undelivered in any consumer group, never by length."""
        self.connection.xtrim(keys.EVENTS, minid=min((self._upto(group) for group in self._groups()), key=_order), approximate=False)

    def backlog(self) -> int:
        """Return how many entries wait to be recorded, delivered or not."""
        self.trim()
        return int(self.connection.xlen(keys.EVENTS))

    def _grouped(self, ask: Any) -> Any:
        """Call `ask`; make the group, from the beginning of the stream, when Redis does not have it (first start, or wiped)."""
        try:
            return ask()
        except redis.exceptions.ResponseError as error:
            if "NOGROUP" not in str(error) and "no such key" not in str(error):
                raise
        try:
            self.connection.xgroup_create(keys.EVENTS, GROUP, id="0", mkstream=True)
        except redis.exceptions.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        return ask()


def is_before(one: str, other: str) -> bool:
    """Tell whether the stream id `one` is older than `other`."""
    return _order(one) < _order(other)


def _order(stream_id: str) -> tuple[int, ...]:
    return tuple(map(int, stream_id.split("-")))


def _decode(entries: Any) -> list[Entry]:
    """Return the entries with their events; one that was trimmed away while pending has none."""
    return [(text(entry_id), _events(fields) if fields else []) for entry_id, fields in entries]


def _events(fields: dict[bytes, bytes]) -> list[Any]:
    """Return the events of an entry. One that no step of ours wrote is one event as it came, so that it holds up no other."""
    raw = fields.get(b"e", b"")
    try:
        events = decode(raw.decode())
    except ValueError:
        return [raw.decode(errors="replace")]
    return events if isinstance(events, list) else [events]
