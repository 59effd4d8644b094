"""What the leading scheduler watches in Redis: who is not heard of, what was left half done; and the steps that mend it.

What to do about it is decided in scheduler/recovery.py.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rqflow import logs
from rqflow.broker.broker import Broker
from rqflow.broker.replies import items
from rqflow.clock import from_micros
from rqflow.dag.retry import retry_delay

logger = logging.getLogger(__name__)

#: So many of each kind are looked at in one go.
LIMIT = 200


@dataclass(frozen=True, slots=True)
class Held:
    """A try that a worker holds. `lease_end` is in seconds by Redis' clock, 0 when it does not matter."""

    run_key: str
    index: int
    execution_id: str
    lease_end: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What one look found."""

    #: Redis' time, seconds since the epoch.
    now: float
    #: Nobody had looked for long, so all leases were given anew.
    fresh: bool = False
    #: Leases that are over; tries whose grace is over; unreachable ones of which a notice is due.
    expired: tuple[Held, ...] = ()
    over: tuple[Held, ...] = ()
    notices: tuple[Held, ...] = ()
    #: Runs that take longer than their dagrun_timeout.
    late: tuple[str, ...] = ()
    #: Runs that somebody left with work to do, and those whose creator is writing them since (seconds).
    frontiers: tuple[str, ...] = ()
    preparing: tuple[tuple[str, float], ...] = ()
    #: Queues on whose RQ list jobs are missing.
    queues: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """A try that has been unreachable for long. `grace` is in seconds, 0 is for ever."""

    dag_id: str
    run_id: str
    task_id: str
    try_number: int
    worker: str
    since: datetime
    grace: float


class Watch:
    """The steps of recovery, through one broker."""

    def __init__(self, broker: Broker) -> None:
        """Watch through `broker`, in its thread."""
        self.broker = broker
        self._steps = broker.steps
        self._settings = broker.settings

    def look(self, *, pause: float, first: bool = False) -> Seen:
        """Look around. When more than `pause` seconds lie since the last look of anybody, or this is a leader's `first`, leases are fresh.

        Raises BrokerError when Redis does not answer.
        """
        payload = {"lease": _micros(self._settings.worker.lease.total_seconds()), "pause": _micros(pause), "first": first, "limit": LIMIT}
        reply = self._steps.call("look", payload)
        return Seen(
            now=float(reply["now"]), fresh=bool(reply["fresh"]), expired=_held(reply["expired"]), over=_held(reply["over"]),
            notices=_held(reply["notices"]), late=tuple(items(reply["late"])), frontiers=tuple(items(reply["frontiers"])),
            queues=tuple(items(reply["queues"])),
            preparing=tuple((str(run), float(since)) for run, since in items(reply["preparing"])),
        )

    def mark_unreachable(self, tries: Sequence[Held]) -> int:
        """Mark tries whose leases are over, unless they were renewed meanwhile; returns how many."""
        after = _micros(self._settings.worker.notice_after.total_seconds())
        named = [(held.run_key, held.index, held.execution_id, held.lease_end) for held in tries]
        return int(self._steps.call_believed("unreachable", {"tries": named, "notice_after": after})["marked"])

    def notify(self, tries: Sequence[Held]) -> list[Notice]:
        """Note in the history that these tries have been unreachable for long; returns those that still are."""
        named = [(held.run_key, held.index, held.execution_id) for held in tries]
        noticed = items(self._steps.call("notify", {"tries": named})["noticed"])
        return [Notice(dag_id=dag, run_id=run, task_id=task, try_number=int(number), worker=worker, since=from_micros(int(since)),
                       grace=float(grace) / 1_000_000) for dag, run, task, number, worker, since, grace in noticed]

    def lose(self, held: Held, *, reason: str) -> str:
        """Declare a try lost that cannot be reached: by on_lost the task gets its next try, waits for a person, or that was all.

        Returns the state of the task instance afterwards: `running` when it was heard of meanwhile, `gone` when Redis has it not.
        """
        run, retry_in, name = self.broker.run_info(held.run_key), 0.0, str(held.index)
        version = self.broker.version(run.version) if run else None
        if version:
            task, status = version.tasks[held.index], self.broker.task_statuses(held.run_key, [held.index])[0]
            retry_in, name = retry_delay(task, status.try_number, status.job_id), task.task_id
        payload = {"run": held.run_key, "index": held.index, "execution": held.execution_id, "retry_in": retry_in, "reason": reason}
        reply = self._steps.call_believed("lose", payload)
        self.broker.advance_all(items(reply["unfinished"]))
        if reply["lost"]:
            logger.warning("%s is %s; it is %s now", name, reason, reply["state"], extra=logs.context("lost", task_id=name, run_key=held.run_key))
        return str(reply["state"])

    def expire(self, run_key: str) -> str:
        """Give up a run whose dagrun_timeout is over; returns its state afterwards, `gone` when Redis has it not."""
        reply = self._steps.call_believed("expire", {"run": run_key})
        self.broker.advance_all(items(reply["unfinished"]))
        return str(reply["state"])

    def mend_queue(self, queue: str, *, older_than: float) -> int:
        """Put jobs that are ready for longer than `older_than` seconds on RQ's list again where it lacks them; returns how many."""
        return int(self._steps.call("mend_queue", {"queue": queue, "older_than": _micros(older_than)})["pushed"])


def _micros(seconds: float) -> int:
    return int(seconds * 1_000_000)


def _held(found: Any) -> tuple[Held, ...]:
    return tuple(Held(str(one[0]), int(one[1]), str(one[2]), float(one[3]) if len(one) > 3 else 0.0) for one in items(found))
