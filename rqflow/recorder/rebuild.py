"""From the history to runs in Redis: what each task instance was at, as far as SQL knows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from rqflow import clock
from rqflow.broker.broker import Broker
from rqflow.broker.restoring import Remembered, restore
from rqflow.broker.rows import job_id
from rqflow.dag.retry import retry_delay, waits_otherwise
from rqflow.dag.run import PreviousRun, RunInfo
from rqflow.dag.version import TaskSpec, Version
from rqflow.recorder import past
from rqflow.states import RunState, TaskState
from rqflow.store import dags, deletions, events, runs, tasks, xcoms
from rqflow.store.engine import Connection, Engine, reading
from rqflow.store.events import EventFilter
from rqflow.store.runs import RunRecord
from rqflow.store.tasks import TaskRecord, TryRecord

_SKIPPED_BY = re.compile(r"skipped by (.+)")
_DERIVED = frozenset({TaskState.SKIPPED, TaskState.UPSTREAM_FAILED, TaskState.CANCELLED})
#: The fact of a try in which a branch says whom it skipped.
SKIPS = "skips"
#: The facts of a try that goes on, or has a next one: in how many seconds after its end, and how often it has given its slot back.
RETRY_IN, LOOKS = "retry_in", "looks"


def rebuild_run(broker: Broker, engine: Engine, run_key: str) -> int:
    """Put one run into Redis as the history has it, or set right what Redis has of it; returns how many task instances changed.

    A run of which the history knows too little, or that was deleted, is left alone. Raises BrokerError, redis-py's errors, StoreError.
    """
    with reading(engine) as connection:
        record = None if deletions.of_runs(connection, [run_key]) else runs.by_key(connection, run_key)
        info = record.info if record else None
        version = dags.version(connection, info.version) if info else None
        if record is None or info is None or version is None:
            return 0
        info = replace(info, previous=_previous(connection, record))
        newest = dags.latest_version(connection, info.dag_id)
        records = tasks.of_run(connection, run_key)
        versions = {sha: found for sha in {one.version for one in records if one.version} if (found := dags.version(connection, sha))}
        remembered = remember(info, version, records, tasks.tries(connection, run_key), xcoms.of_run(connection, run_key), newest=newest,
                              followed=versions)
        by = _cancelled_by(connection, run_key)
        before = past.read(connection, info, version)
        followed = {task.version for task in remembered if task.version and task.version != version.sha}
        others = [versions[sha] for sha in sorted(followed) if sha in versions]
    if record.state is RunState.QUEUED and not remembered and not by:
        return int(broker.create_run(info, version, before=before))
    started, ended = (clock.to_micros(moment) if moment else None for moment in (record.started_at, record.ended_at))
    return restore(broker, info, version, remembered, started_at=started, ended_at=ended, cancelled_by=by, before=before, others=others)


def half_recorded(connection: Connection, since: datetime) -> list[str]:
    """Return the keys of the runs that ended at or after `since` of which the history lacks something of a task: its end, or all of it.

    Recorders write side by side: the end of a run may be in the history, and Redis may have lost what another one had in its hands.
    """
    found = dict.fromkeys(runs.half_recorded(connection, since))
    sizes: dict[str, int] = {}
    for key, (sha, rows) in runs.ended_since(connection, since).items():
        if sha not in sizes:
            version = dags.version(connection, sha)
            sizes[sha] = len(version.tasks) if version else 0
        # A run that has no instance of some task is looked at for nothing.
        if rows < sizes[sha]:
            found[key] = None
    return list(found)


def remember(
    run: RunInfo, version: Version, records: Sequence[TaskRecord], tries: Sequence[TryRecord], values: Mapping[str, Mapping[str, str]],
    *, newest: Version | None = None, followed: Mapping[str, Version] | None = None,
) -> list[Remembered]:
    """Return what the history knows of the task instances of a run, without those to which nothing happened yet. Pure.

    Retries wait as the `newest` version of the DAG says where that says something else than the run's, or than the one of those `followed` by their
    sha that the task follows: its submit has moved them.
    """
    facts = {(one.task_id, one.try_number): one.facts for one in tries}
    found = []
    for record in records:
        spec = version.by_id.get(record.task_id)
        if spec is None or record.state is TaskState.REMOVED:
            continue
        its = (followed or {}).get(record.version or "", version).by_id.get(record.task_id, spec)
        skipped_by = _SKIPPED_BY.fullmatch(record.reason) if record.state is TaskState.SKIPPED else None
        by = version.by_id.get(skipped_by[1]) if skipped_by else None
        found.append(Remembered(
            index=spec.index, state=record.state, try_number=max(record.try_number, 1), max_tries=record.max_tries, seq=record.seq,
            reason=record.reason, worker=record.worker, execution_id=record.execution_id,
            started_at=clock.to_micros(record.started_at) if record.started_at else None,
            ended_at=clock.to_micros(record.ended_at) if record.ended_at else None,
            due_at=_due(record, run, its, facts.get((record.task_id, record.try_number)) or {}, newest=newest),
            looks=int((facts.get((record.task_id, record.try_number)) or {}).get(LOOKS, 0)),
            skips=tuple((facts.get((record.task_id, record.try_number)) or {}).get(SKIPS, ())), skipped_by=by.index if by else None,
            is_derived=record.state in _DERIVED and (bool(by) or record.reason.startswith("trigger rule ")),
            asks=record.state is TaskState.PARKED and "on_lost=wait" in record.reason, xcoms=values.get(record.task_id, {}),
            version=record.version or "",
        ))
    return found


def _due(record: TaskRecord, run: RunInfo, task: TaskSpec, facts: Mapping[str, Any], *, newest: Version | None) -> int | None:
    """Return when the delay of a task instance is over, in microseconds: as the newest version says, as its end told it, else as the task says."""
    if record.state not in {TaskState.UP_FOR_RETRY, TaskState.UP_FOR_RESCHEDULE}:
        return None
    seconds, is_retry = facts.get(RETRY_IN), record.state is TaskState.UP_FOR_RETRY
    later = newest.by_id.get(task.task_id) if newest else None
    if is_retry and later is not None and waits_otherwise(task, later):
        ended = clock.to_micros(record.ended_at) if record.ended_at else record.seq
        return ended + int(retry_delay(later, record.try_number, job_id(run.dag_id, run.run_id, task.task_id)) * 1_000_000)
    if seconds is None:
        seconds = retry_delay(task, record.try_number, job_id(run.dag_id, run.run_id, task.task_id)) if is_retry else 0.0
    return record.seq + int(seconds * 1_000_000)


def _cancelled_by(connection: Connection, run_key: str) -> str:
    """Return who cancelled the run, unless somebody has changed something of it since; else empty."""
    deeds = events.search(connection, EventFilter(run_key=run_key, kinds={events.AUDIT}), limit=1)
    return deeds[0].who if deeds and deeds[0].event == "run_cancelled" else ""


def _previous(connection: Connection, record: RunRecord) -> PreviousRun | None:
    """Return the run before it that had succeeded when it was made."""
    if record.logical_date is None:
        return None
    before = runs.previous(connection, record.dag_id, record.logical_date, states={RunState.SUCCESS})
    if before is None or before.logical_date is None or before.data_interval_start is None or before.data_interval_end is None:
        return None
    if before.ended_at and record.created_at and before.ended_at > record.created_at:
        return None
    return PreviousRun(logical_date=before.logical_date, data_interval_start=before.data_interval_start, data_interval_end=before.data_interval_end,
                       started_at=before.started_at, ended_at=before.ended_at)
