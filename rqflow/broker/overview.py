"""What a look at the whole asks of Redis: signs of life, what runs now, what ended lately, who waits longest. Reads only; bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rqflow.broker import control, keys
from rqflow.broker.broker import Broker
from rqflow.broker.faults import patiently
from rqflow.broker.logstream import Held
from rqflow.broker.replies import text
from rqflow.broker.status import mark_of
from rqflow.clock import from_micros, to_micros
from rqflow.states import TaskState
from rqflow.wire import decode

#: Running tasks that are looked at.
MOST_RUNNING = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Pulse:
    """Signs of life, by Redis' clock."""

    now: datetime
    has_leader: bool
    #: When the leading scheduler looked last for what is unreachable; None: none ever did.
    beat_at: datetime | None
    #: Entries of the event stream that are still kept: most of them wait to be recorded.
    events: int
    #: Why the archive takes no logs; None: it does.
    archive_held: Held | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A task that runs, or counts as running."""

    run_key: str
    index: int
    try_number: int
    worker: str
    started_at: datetime | None
    #: unreachable, cancel requested, or nothing.
    mark: str


def pulse(broker: Broker) -> Pulse:
    """Return the signs of life."""

    def ask() -> Pulse:
        with broker.connection.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.exists(keys.LEADER)
            pipe.get(keys.WATCHED)
            pipe.xlen(keys.EVENTS)
            pipe.hmget(keys.LOGS_HELD, ["reason", "since"])
            (seconds, micros), leader, watched, events, (reason, since) = pipe.execute()
        held = Held(reason=text(reason), since=from_micros(text(since))) if reason and since else None
        return Pulse(now=from_micros(seconds * 1_000_000 + micros), has_leader=bool(leader), beat_at=from_micros(text(watched)) if watched else None,
                     events=int(events), archive_held=held)

    return patiently(broker.connection, ask)


def running_now(broker: Broker) -> list[Running]:
    """Return the tasks that run, at most MOST_RUNNING, the one that runs longest first."""
    places = [(run_key, index) for run_key, indices in control.running(broker).items() for index in indices][:MOST_RUNNING]

    def ask() -> list[bytes | None]:
        with broker.connection.pipeline(transaction=False) as pipe:
            for run_key, index in places:
                pipe.hget(keys.task_key(run_key), str(index))
            return list(pipe.execute())

    found = []
    for (run_key, index), value in zip(places, patiently(broker.connection, ask) if places else [], strict=True):
        record = decode(value) if value else {}
        if record.get("s") == TaskState.RUNNING.value:
            found.append(Running(run_key=run_key, index=index, try_number=record["t"], worker=record.get("w", ""),
                                 started_at=from_micros(record["b"]) if record.get("b") else None, mark=mark_of(record)))
    return sorted(found, key=lambda one: (one.started_at is None, one.started_at, one.run_key, one.index))


def ended_since(broker: Broker, since: datetime, limit: int) -> list[str]:
    """Return the keys of up to `limit` runs that ended since then and that Redis still has, the last first."""
    found = patiently(broker.connection, broker.connection.zrevrangebyscore, keys.DONE, "+inf", to_micros(since) / 1_000_000, start=0, num=limit)
    return [text(key) for key in found]


def longest_waiting(broker: Broker, queues: Sequence[str]) -> dict[str, datetime]:
    """Return {queue: since when the task waits that is first there}; that one has waited longest of those of its weight."""

    def ask() -> dict[str, datetime]:
        with broker.connection.pipeline(transaction=False) as pipe:
            for queue in queues:
                pipe.zrange(keys.READY + queue, 0, 0)
            firsts = [(queue, control.place_of(text(members[0]))) for queue, members in zip(queues, pipe.execute(), strict=True) if members]
            for _, (run_key, index) in firsts:
                pipe.hget(keys.task_key(run_key), str(index))
            records = [(queue, decode(value)) for (queue, _), value in zip(firsts, pipe.execute(), strict=True) if value]
        return {queue: from_micros(record["a"]) for queue, record in records if record.get("a")}

    return patiently(broker.connection, ask) if queues else {}
