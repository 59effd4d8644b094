"""Watching runs: snapshots of one as it goes on, and waiting for the end of some. Watching owns nothing: to stop is harmless."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import redis

from rqflow import clock, logs
from rqflow.actions import query
from rqflow.actions.model import Run, TaskInstance
from rqflow.broker.broker import Broker
from rqflow.broker.faults import Outage
from rqflow.dag.version import Version
from rqflow.exceptions import BrokerError, RunNotFound, TimedOut
from rqflow.states import TERMINAL_RUN_STATES, TERMINAL_STATES, RunState, TaskState
from rqflow.store import runs
from rqflow.store.engine import Engine, reading

logger = logging.getLogger(__name__)

#: Seconds between two looks, and for which the end of a run may take to arrive in SQL.
EVERY, RECORD_PATIENCE = 0.1, 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """How a run stands at one moment."""

    state: RunState
    tasks: tuple[TaskInstance, ...]
    #: False: nothing has changed since the snapshot before.
    is_new: bool = True

    @property
    def is_finished(self) -> bool:
        """Whether the run has ended."""
        return self.state in TERMINAL_RUN_STATES

    @property
    def unfinished(self) -> list[TaskInstance]:
        """The task instances that have not ended."""
        return [task for task in self.tasks if task.state not in TERMINAL_STATES]


class Deadline:
    """The time that --timeout gives; without one it never comes."""

    def __init__(self, timeout: timedelta | None) -> None:
        """Begin to count."""
        self._began = clock.monotonic()
        self._timeout = timeout

    def sleep(self, seconds: float) -> None:
        """Wait so long, or until the time is over."""
        left = seconds if self._timeout is None else self._began + self._timeout.total_seconds() - clock.monotonic()
        clock.sleep(max(min(seconds, left), 0.0))

    def check(self, what: str) -> None:
        """Raise TimedOut when the time is over."""
        if self._timeout is not None and clock.monotonic() - self._began >= self._timeout.total_seconds():
            raise TimedOut(f"{what} has not ended within {self._timeout.total_seconds():g} s; it goes on")


def snapshots(broker: Broker, engine: Engine, run_key: str, version: Version, *, timeout: timedelta | None = None) -> Iterator[Snapshot]:
    """Yield the run again and again, ten times a second, the last time when it has ended; over any loss of Redis.

    Raises TimedOut when the run has not ended within `timeout`.
    """
    deadline, outage = Deadline(timeout), Outage(logger)
    last_event = ""
    tasks: tuple[TaskInstance, ...] = ()
    while True:
        try:
            status = broker.run_status(run_key)
            outage.over()
            if status is None:
                run = query.show(broker, engine, run_key)
                yield Snapshot(state=run.state, tasks=run.tasks)
                if run.is_finished:
                    return
            else:
                is_new = status.last_event != last_event or not tasks
                if is_new:
                    last_event, tasks = status.last_event, tuple(query.live_tasks(broker, run_key, version))
                yield Snapshot(state=status.state, tasks=tasks, is_new=is_new)
                if status.state in TERMINAL_RUN_STATES:
                    return
        except (redis.exceptions.RedisError, BrokerError) as error:
            outage.note(error)
        except RunNotFound as error:
            logger.debug("looking again: %s", error, extra=logs.context("follow_retry", run_key=run_key))
        deadline.check("the run")
        clock.sleep(EVERY)


def recorded(broker: Broker, engine: Engine, run_key: str) -> Run:
    """Return a run that has ended as SQL has it, waiting a moment for what is still on its way there."""
    deadline = clock.monotonic() + RECORD_PATIENCE
    while True:
        with reading(engine) as connection:
            record = runs.by_key(connection, run_key)
        if (record is not None and record.is_finished) or clock.monotonic() > deadline:
            return query.show(broker, engine, run_key)
        clock.sleep(0.02)


def wait(
    broker: Broker, engine: Engine, run_keys: Sequence[str], *, timeout: timedelta | None = None, until_any: bool = False,
) -> dict[str, RunState]:
    """Wait until all runs have ended, or with `until_any` one of them, over any loss of Redis; return the states of those that have.

    Raises TimedOut.
    """
    deadline, outage = Deadline(timeout), Outage(logger)
    ended: dict[str, RunState] = {}
    while True:
        for run_key in run_keys:
            state = ended.get(run_key) or _state(broker, engine, run_key, outage)
            if state is not None and state in TERMINAL_RUN_STATES:
                ended[run_key] = state
        if len(ended) == len(set(run_keys)) or (ended and until_any):
            return ended
        deadline.check("what was waited for")
        clock.sleep(EVERY)


def _state(broker: Broker, engine: Engine, run_key: str, outage: Outage) -> RunState | None:
    """Return the state of a run; None while Redis does not answer, of which `outage` tells."""
    try:
        status = broker.run_status(run_key)
    except (redis.exceptions.RedisError, BrokerError) as error:
        outage.note(error)
        return None
    outage.over()
    if status is not None:
        return status.state
    with reading(engine) as connection:
        record = runs.by_key(connection, run_key)
    if record is None:
        raise RunNotFound(f"there is no run {run_key}")
    return record.state


def stall(snapshot: Snapshot, is_served: Callable[[str], bool]) -> list[TaskInstance]:
    """Return the tasks that wait on queues nobody serves, when nothing else of the run can go on; else nothing.

    Pending tasks are left out of the account: they wait for those.
    """
    waiting = [task for task in snapshot.unfinished if task.state is not TaskState.PENDING]
    if any(task.state is not TaskState.QUEUED for task in waiting) or any(is_served(queue) for queue in {task.queue for task in waiting}):
        return []
    return waiting
