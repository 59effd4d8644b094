"""The run before one, from the history: what tasks that depend on their past wait for."""

from __future__ import annotations

from functools import partial

from rqflow.dag import past
from rqflow.dag.past import RunBefore
from rqflow.dag.run import BACKFILL, MANUAL, SCHEDULED, RunInfo
from rqflow.dag.version import Version
from rqflow.states import TaskState
from rqflow.store import dags, runs, tasks
from rqflow.store.engine import Connection, Engine, run_in_transaction

#: What a task of the run before ended as lets the next one go on.
_FINE = frozenset({TaskState.SUCCESS, TaskState.SKIPPED, TaskState.REMOVED})


def run_before(engine: Engine, run: RunInfo, version: Version) -> RunBefore | None:
    """Return the run before `run` when tasks of it depend on that, else None: there is none, or nothing does. Raises StoreError."""
    if run.ignores_past or not any(task.depends_on_past or task.wait_for_downstream for task in version.tasks):
        return None
    return run_in_transaction(engine, partial(read, run=run, version=version))


def read(connection: Connection, run: RunInfo, version: Version) -> RunBefore | None:
    """Do the same within a transaction.

    The run before is the one of the DAG with the next earlier logical date; what people start in between counts for runs by schedule and of
    backfills as little as these count for each other's dates: a date that somebody tried out must not hold the schedule.
    """
    types = None if run.run_type == MANUAL else {SCHEDULED, BACKFILL}
    before = None if run.ignores_past else runs.previous(connection, run.dag_id, run.logical_date, types=types)
    theirs = dags.version(connection, before.version) if before and before.version else None
    if before is None or theirs is None:
        return None
    waits = past.waits(version, theirs)
    known = {record.task_id: record.state for record in tasks.of_run(connection, before.run_key)}
    # Of a run that has ended a task without a row never was.
    otherwise = TaskState.REMOVED if before.is_finished else TaskState.PENDING
    states = {index: (known.get(theirs.tasks[index].task_id, otherwise), theirs.tasks[index].task_id) for each in waits.values() for index in each}
    unfinished = {index: one for index, one in states.items() if one[0] not in _FINE}
    return RunBefore(run_key=before.run_key, run_id=before.run_id, waits=waits, states=unfinished) if waits else None
