"""Retries that wait follow the delay of the version of their DAG that was submitted last; all else of their runs stays as it was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from rqflow.broker.broker import Broker
from rqflow.broker.status import TaskStatus
from rqflow.dag.retry import retry_delay, waits_otherwise
from rqflow.dag.version import TaskSpec, Version
from rqflow.exceptions import RunNotFound
from rqflow.states import TaskState
from rqflow.store import runs
from rqflow.store.engine import Engine, reading


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """A retry that was moved: for when it was planned, and for when it is."""

    run_id: str
    task_id: str
    was: datetime
    due: datetime

    def words(self, zone: tzinfo) -> str:
        """Say it, times in this zone."""
        was, due = self.was.astimezone(zone), self.due.astimezone(zone)
        spelled = f"{was:%H:%M:%S}" if was.date() == due.date() else f"{was:%Y-%m-%d %H:%M:%S}"
        return f"run {self.run_id}: the retry of {self.task_id} is due {due:%Y-%m-%d %H:%M:%S} (was {spelled})"


def align(broker: Broker, engine: Engine, before: Version, after: Version) -> list[Moved]:
    """Move the retries that wait in unfinished runs of a DAG to the end of their try plus the delay that `after` says, where `before` said another.

    Never before now. Safe to repeat. Raises StoreError, BrokerError.
    """
    changed = {task.task_id: task for task in after.tasks
               if task.task_id in before.by_id and waits_otherwise(before.by_id[task.task_id], task)}
    if not changed:
        return []
    live = set(broker.live_runs())
    with reading(engine) as connection:
        found = [run for run in runs.search(connection, runs.RunFilter(dag_id=after.dag_id)) if run.run_key in live]
    moved: list[Moved] = []
    for run in found:
        try:
            waiting = {one.index: one for one in broker.task_statuses(run.run_key) if one.state is TaskState.UP_FOR_RETRY and one.task_id in changed}
        except RunNotFound:  # it has ended, and was forgotten
            continue
        dues = {index: (one.try_number, one.ended_at + _delay(changed, one)) for index, one in waiting.items() if one.ended_at}
        if dues:
            moved += [Moved(run_id=run.run_id, task_id=waiting[index].task_id, was=was, due=due)
                      for index, (was, due) in sorted(broker.align(run.run_key, dues).items())]
    return moved


def _delay(changed: dict[str, TaskSpec], one: TaskStatus) -> timedelta:
    return timedelta(seconds=retry_delay(changed[one.task_id], one.try_number, one.job_id))
