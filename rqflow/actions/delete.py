"""Deleting DAGs and runs: a tombstone first, then their removal from Redis, the history and the archive, which may be broken off anywhere.

The leading scheduler carries every removal through (`Remover`), so that it does not matter what becomes of whoever asked for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from rqflow import clock, logs
from rqflow.broker import deleting
from rqflow.broker.broker import Broker
from rqflow.dag.run import SCHEDULED
from rqflow.recorder import retention
from rqflow.settings import Settings
from rqflow.states import TERMINAL_RUN_STATES, RunState, TaskState
from rqflow.store import dags, deletions, events, runs
from rqflow.store.deletions import RUN, Deletion, Stage
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction
from rqflow.store.runs import RunFilter, RunRecord

logger = logging.getLogger(__name__)

#: After so long a removal is done once more, for events and logs that were on their way.
SETTLE = timedelta(minutes=10)
#: Seconds between two looks for runs in Redis that were deleted: one that was rolled back has them again.
SWEEP = 60.0
_UNFINISHED = [state for state in RunState if state not in TERMINAL_RUN_STATES]


@dataclass(frozen=True, kw_only=True, slots=True)
class Doomed:
    """What the deletion of a DAG concerns."""

    dag_id: str
    runs: int
    #: Those of them that have not ended.
    active: tuple[RunRecord, ...]


def doomed(engine: Engine, dag_id: str) -> Doomed:
    """Return what would go with a DAG; raises DagNotFound."""
    with reading(engine) as connection:
        dags.find(connection, dag_id)
        found = runs.search(connection, RunFilter(dag_id=dag_id, states=_UNFINISHED))
        return Doomed(dag_id=dag_id, runs=runs.count(connection, dag_id), active=tuple(found))


def delete_dag(broker: Broker, engine: Engine, dag_id: str, *, by: str, keeps_logs: bool = False) -> None:
    """Delete a DAG with all of its runs: from now on nothing of it starts, and what runs is cancelled. Raises DagNotFound."""

    def bury(connection: Connection) -> list[str]:
        dags.find(connection, dag_id)
        active = [record.run_key for record in runs.search(connection, RunFilter(dag_id=dag_id, states=_UNFINISHED))]
        deletions.bury_dag(connection, dag_id, who=by, keeps_logs=keeps_logs, now=clock.utcnow())
        events.add(connection, "dag_deleted", who=by, dag_id=dag_id, keeps_logs=keeps_logs)
        return active

    active = run_in_transaction(engine, bury)
    broker.set_ticks({dag_id: None})
    for run_key in active:
        deleting.bury(broker, run_key, by)


def delete_run(broker: Broker, engine: Engine, run: RunRecord, *, by: str, keeps_logs: bool = False) -> None:
    """Delete a run: from now on nothing of it starts, and what runs is cancelled."""

    def bury(connection: Connection) -> None:
        deletions.bury_run(connection, run.run_key, who=by, keeps_logs=keeps_logs, now=clock.utcnow())
        # Not as an event of the run, with which it would go.
        events.add(connection, "run_deleted", who=by, dag_id=run.dag_id, run_id=run.run_id, keeps_logs=keeps_logs)

    run_in_transaction(engine, bury)
    deleting.bury(broker, run.run_key, by)


class Remover:
    """Carries removals through, step by step; each step may be broken off and done again, also by two at a time."""

    def __init__(self, broker: Broker, engine: Engine, settings: Settings) -> None:
        """Work with a `broker` of its own, on the machine that has the archive of logs."""
        self._broker, self._engine, self._folder = broker, engine, Path(settings.logs.folder)
        #: How long running tasks may take to end; then they are left to their workers, which end them when they are heard of.
        self._patience = settings.worker.lease + settings.worker.kill_grace
        self._swept_at: float | None = None

    def step(self, pause: Callable[[], bool] = lambda: False) -> int:
        """Do what can be done now; return how many removals are still under way. With a call of `pause` between two transactions, true: stop.

        Raises StoreError, BrokerError or redis-py's errors.
        """
        if self._swept_at is None or clock.monotonic() - self._swept_at > SWEEP:
            self._sweep()
            self._swept_at = clock.monotonic()
        waiting: set[str] = set()
        while not pause():
            with reading(self._engine) as connection:
                found = [one for one in deletions.to_do(connection, clock.utcnow() - SETTLE) if one.name not in waiting]
            if not found:
                break
            for one in found:
                if pause() or not self._remove(one, pause):
                    waiting.add(one.name)
        with reading(self._engine) as connection:
            return deletions.count_going(connection)

    def _sweep(self) -> None:
        """Take up again what is in Redis although it was removed: a Redis that was set back has it again."""
        keys = self._broker.all_runs()

        def find(connection: Connection) -> None:
            for key in deletions.of_runs(connection, keys):
                deletions.advance(connection, RUN, key, Stage.GOING, clock.utcnow())

        if keys:
            run_in_transaction(self._engine, find)

    def _remove(self, one: Deletion, pause: Callable[[], bool]) -> bool:
        """Remove what is left of one; False when something of it has to be waited for."""
        with reading(self._engine) as connection:
            if deletions.stage(connection, one.kind, one.name) is None:
                # A person has brought it back.
                return True
            if one.kind != RUN and deletions.count_going(connection, one.dag_id):
                return False
        if one.kind == RUN:
            return self._leave_redis(one) and self._leave_history(one, pause)
        if run_in_transaction(self._engine, lambda connection: deletions.bury_runs_of(connection, one.dag_id, who=one.who, now=clock.utcnow())):
            return False
        self._broker.set_ticks({one.dag_id: None})
        return self._leave_history(one, pause)

    def _leave_redis(self, one: Deletion) -> bool:
        deleting.bury(self._broker, one.name, one.who)
        status = self._broker.run_status(one.name)
        if status and status.state is RunState.RUNNING and self._is_held(one):
            return False
        return deleting.remove(self._broker, one.name)

    def _is_held(self, one: Deletion) -> bool:
        """Tell whether a task of the run still runs on a worker that is heard of, which is given some time to end it."""
        running = [task for task in self._broker.task_statuses(one.name) if task.state is TaskState.RUNNING]
        return clock.utcnow() - one.asked_at < self._patience and any(task.unreachable_since is None for task in running)

    def _leave_history(self, one: Deletion, pause: Callable[[], bool]) -> bool:
        """Remove rows, then logs; note that it is done."""
        while not run_in_transaction(self._engine, lambda connection: deletions.remove_rows(connection, one)):
            if pause():
                return False
        if not one.keeps_logs:
            self._leave_archive(one)
        if one.kind == RUN:
            deleting.unbury(self._broker, one.name)
        after = Stage.SETTLING if one.state is Stage.GOING else Stage.GONE
        run_in_transaction(self._engine, lambda connection: deletions.advance(connection, one.kind, one.name, after, clock.utcnow()))
        logger.info("%s %s was deleted by %s, and is gone", one.kind, one.run_id or one.dag_id, one.who,
                    extra=logs.context("deleted", kind=one.kind, dag_id=one.dag_id, run_id=one.run_id))
        return True

    def _leave_archive(self, one: Deletion) -> None:
        try:
            if one.kind != RUN:
                retention.remove_dag(self._folder, one.dag_id)
            elif one.logical_date:
                retention.remove_whole_run(self._folder, one.dag_id, one.logical_date, run_key="" if one.run_type == SCHEDULED else one.name)
        except OSError as error:
            logger.warning("logs of %s, which was deleted, cannot be removed: %s", one.run_id or one.dag_id, error,
                           extra=logs.context("logs_stay", dag_id=one.dag_id))
