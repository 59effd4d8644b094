"""How runs stand: from Redis while it has them, from SQL afterwards.

Tries are from SQL; over them are laid those of which the event stream knows more, for no recorder has written that yet, and the live one.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from rqflow import logs
from rqflow.actions import select
from rqflow.actions.model import Call, Run, TaskInstance, Try, seconds_between
from rqflow.broker import rows
from rqflow.broker.broker import Broker
from rqflow.broker.status import RunStatus, TaskStatus
from rqflow.dag import partial
from rqflow.dag.version import TaskSpec, Version
from rqflow.exceptions import DagNotFound, NotFound, RunNotFound, TaskFailed, TaskNotFound
from rqflow.recorder.reading import Event, read
from rqflow.states import TERMINAL_STATES, TaskState
from rqflow.store import callbacks, dags, runs, sla
from rqflow.store import tasks as store_tasks
from rqflow.store.engine import Connection, Engine, reading
from rqflow.store.runs import RunFilter, RunRecord
from rqflow.store.tasks import TaskRecord, TryRecord

logger = logging.getLogger(__name__)

#: Fields of a task instance that Redis tells, and those that the history tells.
_OF_LIVE = ("state", "try_number", "max_tries", "worker", "queued_at", "started_at", "ended_at", "due_at", "cancel_requested", "unreachable_since",
            "assumed_until", "job_id")
_OF_RECORD = ("state", "try_number", "max_tries", "reason", "worker", "started_at", "ended_at")
_OF_TRY = tuple(name for name in Try.__slots__ if name not in {"duration", "version"})


def find_run(engine: Engine, text: str, *, among: Collection[str] | None = None) -> RunRecord:
    """Return the run that a RUN argument names, `among` those of these DAGs (None: of all).

    Raises RunNotFound, DagNotFound, or UsageError when it names several.
    """
    reference = select.run_reference(text)
    with reading(engine) as connection:
        if isinstance(reference, select.ByName):
            return runs.find(connection, reference.text, among=among)
        if dags.get(connection, reference.dag_id) is None or (among is not None and reference.dag_id not in among):
            raise dags.missing(connection, reference.dag_id, among=among)
        found = _of_dag(connection, reference)
    if found is None:
        raise RunNotFound(f"there is no run {text}", hint=f"`rqflow run list --dag {reference.dag_id}` shows its runs.")
    return found


def _of_dag(connection: Connection, reference: select.Latest | select.ByDate) -> RunRecord | None:
    if isinstance(reference, select.ByDate):
        return runs.at(connection, reference.dag_id, reference.logical_date)
    return runs.last_failed(connection, reference.dag_id) if reference.failed else runs.latest(connection, reference.dag_id)


def find_version(engine: Engine, dag_id: str) -> Version:
    """Return the version that new runs of a DAG take; raises DagNotFound."""
    with reading(engine) as connection:
        dags.find(connection, dag_id)
        version = dags.latest_version(connection, dag_id)
    if version is None:
        raise DagNotFound(f"there is no DAG {dag_id}")
    return version


def numbered_version(engine: Engine, dag_id: str, number: int) -> Version:
    """Return the version of a DAG that has this number; raises DagNotFound, or NotFound when it has no such version."""
    with reading(engine) as connection:
        dags.find(connection, dag_id)
        version = dags.numbered_version(connection, dag_id, number)
    if version is None:
        raise NotFound(f"{dag_id} has no version {number}")
    return version


def list_runs(broker: Broker, engine: Engine, wanted: RunFilter, *, limit: int | None, after: str | None = None) -> list[Run]:
    """Return runs without their tasks, the one made last first; states are those of Redis where it has the run.

    With `after`, the key of a run, those that follow it in that order. Raises RunNotFound for one that is not there.
    """
    with reading(engine) as connection:
        last = runs.by_key(connection, after) if after is not None else None
        if after is not None and last is None:
            raise RunNotFound(f"there is no run {after}")
        found = runs.search(connection, wanted, limit=limit, after=last)
    return as_they_stand(broker, engine, found)


def as_they_stand(broker: Broker, engine: Engine, found: Sequence[RunRecord]) -> list[Run]:
    """Return these runs without their tasks; states are those of Redis where it has the run."""
    with reading(engine) as connection:
        missed = sla.counts(connection, [record.run_key for record in found])
    live = set(broker.live_runs())
    statuses = {key: broker.run_status(key) for key in (one.run_key for one in found if one.run_key in live or not one.is_finished)}
    return [replace(as_run(record, statuses.get(record.run_key)), sla_misses=missed.get(record.run_key, 0)) for record in found]


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What the history has of one run."""

    record: RunRecord
    version: Version | None
    #: By task id.
    tries: Mapping[str, Sequence[TryRecord]]
    missed: Mapping[str, datetime]
    #: By task id; those of the run under an empty one.
    calls: Mapping[str, Sequence[Call]]


def show(broker: Broker, engine: Engine, run_key: str) -> Run:
    """Return a run with its task instances and all their tries; raises RunNotFound."""
    status = broker.run_status(run_key)
    # Before SQL is asked: what a recorder writes between the two is then in both.
    events = broker.unrecorded(status) if status else []
    with reading(engine) as connection:
        known = _recorded(broker, connection, run_key, events)
    live = _live(broker, run_key) if status and broker.run_exists(run_key) else {}
    records: dict[str, TaskRecord] = {}
    if not live:
        # Redis forgets a run when the history has all of it.
        with reading(engine) as connection:
            records = {task.task_id: task for task in store_tasks.of_run(connection, run_key)}
    run = replace(as_run(known.record, status), sla_misses=len(known.missed), callbacks=tuple(known.calls.get("", ())))
    return replace(run, tasks=tuple(_tasks(broker, known, live, records)))


def show_task(broker: Broker, engine: Engine, run_key: str, task_id: str) -> Run:
    """Return a run with one of its task instances alone, and all tries of that, however many others it has.

    Raises RunNotFound, or TaskNotFound.
    """
    status = broker.run_status(run_key)
    events = broker.unrecorded(status) if status else []
    with reading(engine) as connection:
        record = runs.by_key(connection, run_key)
        if record is None:
            raise RunNotFound(f"there is no run {run_key}")
        version = _version(broker, connection, record.version)
        own = [one for one in with_unrecorded(store_tasks.tries(connection, run_key, task_id, with_facts=False), events) if one.task_id == task_id]
    spec = next((one for one in version.tasks if one.task_id == task_id), None) if version else None
    if spec is None:
        raise TaskNotFound(f"run {record.run_id} of {record.dag_id} has no task {task_id}")
    live = broker.task_statuses(run_key, [spec.index]) if status and broker.run_exists(run_key) else []
    with reading(engine) as connection:
        # Asked last: Redis forgets a run when the history has all of it.
        recorded = None if live else store_tasks.get(connection, run_key, task_id)
        missed, calls = sla.missed(connection, run_key), calls_of(connection, run_key, task_id)
    task = _task(partial.as_in(record.info, spec), live[0] if live else None, recorded, own, version=record.version)
    task = replace(task, sla_missed=missed.get(task_id), callbacks=tuple(calls))
    return replace(as_run(record, status), sla_misses=len(missed), tasks=(task,))


def _live(broker: Broker, run_key: str) -> dict[str, TaskStatus]:
    """Return {task id: how it stands in Redis}; nothing where Redis has something else under the key of the run: the history tells it then."""
    try:
        return {task.task_id: task for task in broker.task_statuses(run_key)}
    except TaskFailed as error:
        logger.warning("%s", error.message, extra=logs.context("run_forged", run_key=run_key))
        return {}


def _recorded(broker: Broker, connection: Connection, run_key: str, events: Sequence[Event]) -> _Recorded:
    record = runs.by_key(connection, run_key)
    if record is None:
        raise RunNotFound(f"there is no run {run_key}")
    tries: dict[str, list[TryRecord]] = {}
    for one in with_unrecorded(store_tasks.tries(connection, run_key, with_facts=False), events):
        tries.setdefault(one.task_id, []).append(one)
    calls: dict[str, list[Call]] = {}
    for call in calls_of(connection, run_key):
        calls.setdefault(call.task_id, []).append(call)
    return _Recorded(record, _version(broker, connection, record.version), tries, sla.missed(connection, run_key), calls)


def calls_of(connection: Connection, run_key: str, task_id: str | None = None) -> list[Call]:
    """Return the calls of functions of the DAG for a run and its tasks, or for one task; with an empty one, for the run itself."""
    return [Call(**{name: getattr(call, name) for name in Call.__slots__}) for call in callbacks.of_run(connection, run_key, task_id)]


def with_unrecorded(recorded: Sequence[TryRecord], events: Sequence[Event]) -> list[TryRecord]:
    """Return the tries of a run as the history will have them when `events` are in it too."""
    tries = {(one.task_id, one.try_number): one for one in recorded}
    for row in read(events).tries:
        before = tries.get((row["task_id"], row["try_number"]))
        if before is None or before.seq < row["seq"]:
            tries[row["task_id"], row["try_number"]] = TryRecord(
                **{**row, "state": TaskState(row["state"]), "facts": row["facts"] or {}, "late": before.late if before else None})
    return list(tries.values())


def _tasks(broker: Broker, known: _Recorded, live: Mapping[str, TaskStatus], records: Mapping[str, TaskRecord]) -> Iterator[TaskInstance]:
    """Give the task instances of a run, in the order of its version."""
    version, info = known.version, known.record.info
    unserved = {one.queue: str(one) for one in broker.unserved()} if any(one.state is TaskState.QUEUED for one in live.values()) else {}
    gone = rows.removed_tasks(version, info) if version and info else frozenset()
    for spec in version.tasks if version else ():
        name = spec.task_id
        one = _task(partial.as_in(info, spec), live.get(name), records.get(name), known.tries.get(name, ()), unserved,
                    version=known.record.version, is_removed=spec.index in gone)
        if name in known.missed or name in known.calls:
            one = replace(one, sla_missed=known.missed.get(name), callbacks=tuple(known.calls.get(name, ())))
        yield one


def named(broker: Broker, engine: Engine, text: str) -> Run:
    """Return the run that a RUN argument names, with its task instances; raises RunNotFound, or UsageError when it names several."""
    return show(broker, engine, find_run(engine, text).run_key)


def version_of(broker: Broker, engine: Engine, run: Run | RunRecord) -> Version:
    """Return the version that a run runs; raises RunNotFound when nobody knows it."""
    with reading(engine) as connection:
        version = _version(broker, connection, run.version)
    if version is None:
        raise RunNotFound(f"the version of run {run.run_id} is not known")
    return version


def version_by_sha(broker: Broker, engine: Engine, sha: str | None) -> Version | None:
    """Return the version of this name, or None."""
    with reading(engine) as connection:
        return _version(broker, connection, sha)


def _version(broker: Broker, connection: Connection, sha: str | None) -> Version | None:
    return None if sha is None else broker.version(sha) or broker.learn(dags.version(connection, sha))


def live_tasks(broker: Broker, run_key: str, version: Version) -> list[TaskInstance]:
    """Return the task instances of a run that Redis has, with the current try alone: what a live table needs, without SQL."""
    found = {task.task_id: task for task in broker.task_statuses(run_key)}
    return [_task(spec, found.get(spec.task_id), None, ()) for spec in version.tasks]


def as_run(record: RunRecord, status: RunStatus | None) -> Run:
    """Return a run without its tasks: as the history knows it, and as it stands in Redis where that has it."""
    started_at = status.started_at if status else record.started_at
    ended_at = status.ended_at if status else record.ended_at
    return Run(
        dag_id=record.dag_id, run_id=record.run_id, run_key=record.run_key, state=status.state if status else record.state,
        run_type=record.run_type, version=record.version, logical_date=record.logical_date, data_interval_start=record.data_interval_start,
        data_interval_end=record.data_interval_end, created_at=record.created_at, started_at=started_at, ended_at=ended_at,
        duration=seconds_between(started_at, ended_at), cancel_requested=bool(status and status.cancel_requested),
        conf=record.conf, params=record.params, note=record.note, backfill_id=record.backfill_id,
        started_by=record.started_by or "")


def _task(spec: TaskSpec, live: TaskStatus | None, record: TaskRecord | None, tries: Sequence[TryRecord],
          unserved: Mapping[str, str] | None = None, *, version: str | None = None, is_removed: bool = False) -> TaskInstance:
    """Put together what is known of one task instance; Redis knows best, SQL remembers, else it is pending.

    `unserved` has what is to be said of queues that no worker serves, `version` is that of the run.
    """
    known: dict[str, Any] = {"state": TaskState.PENDING, "max_tries": spec.retries + 1}
    if is_removed:
        # Of what a run has no instance of nothing is ever told.
        known["state"] = TaskState.REMOVED
    elif live:
        known = {name: getattr(live, name) for name in _OF_LIVE}
        known["reason"] = live.reason or marks(live, unserved or {})
    elif record:
        known = {name: getattr(record, name) for name in _OF_RECORD}
    own = {one.try_number: one for one in tries}
    current = live.try_number if live and live.started_at else 0
    made = [_current_try(own.get(number), live, version) if live and number == current else _try(own[number], version)
            for number in sorted({*own, current} - {0})]
    follows = (live.version if live else record.version if record else None) or version
    ended_at = known.get("ended_at") if known["state"] in TERMINAL_STATES else None
    # Made at one go: a run may have 10,000, and each `replace` costs as much as this.
    return TaskInstance(
        task_id=spec.task_id, operator=spec.operator_name, queue=spec.queue, pool=spec.pool, tries=tuple(made), version=follows,
        duration=seconds_between(known.get("started_at"), ended_at), **known)


def marks(live: TaskStatus, unserved: Mapping[str, str]) -> str:
    """Return what is to be said of a running task, or one that waits for a worker, beside its state."""
    if live.state is TaskState.QUEUED:
        return unserved.get(live.queue, "")
    said = ["cancel requested"] if live.cancel_requested else []
    if live.unreachable_since:
        until = f"until {live.assumed_until:%H:%M:%S} UTC" if live.assumed_until else "for as long as it takes"
        said.insert(0, f"unreachable since {live.unreachable_since:%Y-%m-%d %H:%M:%S} UTC, still assumed running {until}")
    return "; ".join(said) if live.state is TaskState.RUNNING else ""


def _try(record: TryRecord, version: str | None) -> Try:
    known = {name: getattr(record, name) for name in _OF_TRY}
    return Try(duration=seconds_between(record.started_at, record.ended_at), version=record.version or version, **known)


def _current_try(record: TryRecord | None, live: TaskStatus, version: str | None) -> Try:
    """Return the try that Redis has now; what SQL has of it already, such as its exit code, is kept."""
    known: dict[str, Any] = {name: getattr(record, name) for name in _OF_TRY} if record else {"try_number": live.try_number, "queue": live.queue}
    ended_at = live.ended_at or known.get("ended_at")
    known |= {"state": live.state, "started_at": live.started_at, "ended_at": ended_at}
    known |= {name: value for name in ("reason", "worker", "execution_id") if (value := getattr(live, name))}
    return Try(duration=seconds_between(live.started_at, ended_at), version=live.version or version, **known)


def states_of(run: Run) -> Mapping[str, TaskState]:
    """Return {task_id: state} of a run."""
    return {task.task_id: task.state for task in run.tasks}
