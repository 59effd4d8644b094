"""Clearing and marking task instances of a run, also of one that Redis has forgotten: it is put back from the history first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rqflow.actions import query
from rqflow.actions.model import Run
from rqflow.broker.broker import Broker
from rqflow.dag import differences
from rqflow.dag.version import TaskSpec, Version
from rqflow.exceptions import Conflict
from rqflow.recorder.rebuild import rebuild_run
from rqflow.states import TaskState
from rqflow.store import dags, events
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction
from rqflow.store.runs import RunRecord


def clear(broker: Broker, engine: Engine, run: RunRecord, indices: Sequence[int], *, by: str, same_version: bool = False,
          stops: bool = False) -> list[int]:
    """Let these task instances run again, with new tries; return those that cannot be cleared: they run now, or the run is being
    cancelled and has not ended. With `stops` those that run are stopped, and run again when they have ended.

    They follow the latest version of their DAG from now on, as in Airflow, unless `same_version`: what a person mends is to be tried.

    Raises Conflict for a run of which the history knows too little to put it back.
    """
    bring_back(broker, engine, run)
    version = None if same_version else latest(engine, run.dag_id)
    refused = broker.clear(run.run_key, indices, by, version=version, stops=stops)
    _note(engine, run, "run_cleared", by, tasks=list(indices), version=version.sha if version else None)
    return refused


def latest(engine: Engine, dag_id: str) -> Version | None:
    """Return the version of a DAG that new runs take; None when it is not known any more."""
    with reading(engine) as connection:
        record = dags.get(connection, dag_id)
        return dags.version(connection, record.version) if record and record.version else None


def news(broker: Broker, engine: Engine, run: Run, tasks: Sequence[TaskSpec]) -> list[str]:
    """Return, line by line, what is new for these tasks of a run in the latest version of its DAG, against the version of their last tries."""
    later = latest(engine, run.dag_id)
    followed = {one.task_id: one.version for one in run.tasks}
    known: dict[str | None, Version | None] = {}
    lines: list[str] = []
    for task in tasks:
        sha = followed.get(task.task_id)
        if later is None or sha == later.sha:
            continue
        if sha not in known:
            known[sha] = query.version_by_sha(broker, engine, sha)
        before = known[sha]
        if before:
            lines += differences.of_task(before, later, task.task_id)
    return lines


def mark(broker: Broker, engine: Engine, run: RunRecord, indices: Sequence[int], state: TaskState, *, by: str) -> None:
    """Give these task instances a state by hand; running ones are stopped and get it when they end. Raises Conflict as `clear` does."""
    bring_back(broker, engine, run)
    broker.mark(run.run_key, indices, state, by)
    _note(engine, run, "run_marked", by, tasks=list(indices), state=state.value)


def bring_back(broker: Broker, engine: Engine, run: RunRecord) -> None:
    """Put a run into Redis that Redis does not have any more; raises Conflict when the history knows too little of it."""
    if broker.run_exists(run.run_key):
        return
    rebuild_run(broker, engine, run.run_key)
    if not broker.run_exists(run.run_key):
        raise Conflict(f"run {run.run_id} of {run.dag_id} cannot be continued: the history does not know its DAG, or its dates",
                       hint="`rqflow submit FILE --run` starts another run.")


def _note(engine: Engine, run: RunRecord, event: str, by: str, **given: Any) -> None:
    def note(connection: Connection) -> None:
        events.add(connection, event, who=by, dag_id=run.dag_id, run_key=run.run_key, **given)

    run_in_transaction(engine, note)
