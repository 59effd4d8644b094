"""Queues with waiting tasks that no live worker serves: since when, and whether that was told. The leading scheduler keeps the record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import redis

from rqflow.broker import keys, status
from rqflow.broker.replies import text
from rqflow.clock import from_micros, to_micros


@dataclass(frozen=True, kw_only=True, slots=True)
class Unserved:
    """A queue that no live worker serves while `waiting` tasks are ready on it. `told`: a person was told of it."""

    queue: str
    since: datetime
    waiting: int
    told: bool = False

    def __str__(self) -> str:
        """Return it as people read it."""
        waits = "1 task waits" if self.waiting == 1 else f"{self.waiting} tasks wait"
        return f"no worker serves the queue {self.queue} since {self.since:%Y-%m-%d %H:%M:%S} UTC; {waits} for one, nothing is lost"


def look(connection: redis.Redis) -> list[Unserved]:
    """Look at all queues, bring the record up to date and return it. For the leader alone.

    Raises redis-py's errors when Redis does not answer.
    """
    before = {one.queue: one for one in standing(connection)}
    queues = sorted(text(key).removeprefix(keys.RQ_QUEUE) for key in connection.smembers(keys.RQ_QUEUES))
    with connection.pipeline(transaction=False) as pipe:
        for queue in queues:
            pipe.zcard(keys.READY + queue)
        pipe.time()
        *sizes, (seconds, micros) = pipe.execute()
    waiting = {queue: int(size) for queue, size in zip(queues, sizes, strict=True) if size}
    served = {queue for worker in status.workers(connection) for queue in worker.queues} if waiting else set()
    now = from_micros(seconds * 1_000_000 + micros)
    found = [Unserved(queue=queue, since=before[queue].since if queue in before else now, waiting=size, told=queue in before and before[queue].told)
             for queue, size in waiting.items() if queue not in served]
    if found != list(before.values()):
        _keep(connection, found)
    return found


def note_told(connection: redis.Redis, queue: str) -> None:
    """Note that a person was told of a queue; it is not told again before it has changed. Raises redis-py's errors."""
    _keep(connection, [Unserved(queue=one.queue, since=one.since, waiting=one.waiting, told=one.told or one.queue == queue)
                       for one in standing(connection)])


def standing(connection: redis.Redis) -> list[Unserved]:
    """Return the record as the leader's last look left it, by name. Raises redis-py's errors."""
    kept = connection.hgetall(keys.UNSERVED)
    return [_read(text(queue), value) for queue, value in sorted(kept.items())]


def _read(queue: str, value: bytes | str) -> Unserved:
    record = json.loads(value)
    return Unserved(queue=queue, since=from_micros(record["since"]), waiting=record["waiting"], told=record["told"])


def _keep(connection: redis.Redis, found: Sequence[Unserved]) -> None:
    with connection.pipeline() as pipe:
        pipe.delete(keys.UNSERVED)
        if found:
            pipe.hset(keys.UNSERVED, mapping={
                one.queue: json.dumps({"since": to_micros(one.since), "waiting": one.waiting, "told": one.told}) for one in found})
        pipe.execute()
