"""Operations on runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from rqflow import clock
from rqflow.actions import cancel as cancelling
from rqflow.actions import delete as removing
from rqflow.actions import notes, query, report, reruns, scope, trigger
from rqflow.actions.model import Run
from rqflow.actions.scope import Scope
from rqflow.api.dags import Deleted, within
from rqflow.api.hub import Hub
from rqflow.api.operation import Page, about, operation
from rqflow.api.reruns import Reruns, changed_rows, chosen_rows
from rqflow.broker.messages import Ending
from rqflow.dag import partial
from rqflow.dag.run import BACKFILL, MANUAL, SCHEDULED, RunInfo
from rqflow.dag.version import Version
from rqflow.exceptions import Conflict, UsageError
from rqflow.security.roles import Role
from rqflow.states import RunState, TaskState
from rqflow.store import runs
from rqflow.store.engine import reading
from rqflow.store.runs import RunFilter

#: What starts a run.
TYPES = (MANUAL, SCHEDULED, BACKFILL)


@dataclass(frozen=True, kw_only=True, slots=True)
class OneRun:
    """Which run."""

    run: str = about("Its run_key, its run id or the unique beginning of that, DAG@latest, DAG@last-failed or DAG@2026-11-23T00:00.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ListRuns:
    """Which runs."""

    dag_id: str | None = about("Only runs of this DAG.", None)
    state: list[RunState] = about("Only runs in one of these states.", [])
    run_type: str | None = about("Only runs that were started so: manual, scheduled or backfill.", None)
    version: str | None = about("Only runs that were made of the version of this sha.", None)
    since: datetime | None = about("Only runs made at or after this time.", None)
    until: datetime | None = about("Only runs made before this time.", None)
    limit: int = about("At most so many.", 25)
    after: str | None = about("Only those that were made before this one: `next` of the page before.", None)


@operation("runs.list", "GET", "/runs", Role.VIEWER)
def list_runs(hub: Hub, asked: ListRuns) -> Page[Run]:
    """List runs, the newest first, without their tasks."""
    if asked.run_type not in {None, *TYPES}:
        raise UsageError(f"run_type: {asked.run_type!r} is none of {', '.join(TYPES)}")
    limit = within(asked.limit)
    since, until = (clock.aware(moment) if moment else None for moment in (asked.since, asked.until))
    wanted = RunFilter(dag_id=asked.dag_id, states=asked.state or None, run_type=asked.run_type, version=asked.version, since=since, until=until,
                       dag_ids=hub.visible_dag_ids())
    found = query.list_runs(hub.live, hub.engine, wanted, limit=limit + 1, after=asked.after)
    return Page(items=tuple(found[:limit]), next=found[limit - 1].run_key if len(found) > limit else None)


@operation("runs.get", "GET", "/runs/{run}", Role.VIEWER)
def get_run(hub: Hub, asked: OneRun) -> Run:
    """Show a run with its tasks and all their tries."""
    return query.show(hub.live, hub.engine, hub.run(asked.run).run_key)


@operation("runs.head", "GET", "/runs/{run}/head", Role.VIEWER)
def head_run(hub: Hub, asked: OneRun) -> Run:
    """Show a run without its tasks."""
    live = hub.live
    record = hub.run(asked.run)
    return query.as_run(record, live.run_status(record.run_key))


@dataclass(frozen=True, kw_only=True, slots=True)
class RunVersion:
    """The version of a DAG that a run runs, and what the run is given, both as workers get them: as JSON."""

    dag_id: str
    run_id: str
    #: Its sha, and its canonical JSON.
    version: str
    json: str
    #: None: too little is known of the run.
    info: str | None


@operation("runs.version", "GET", "/runs/{run}/version", Role.VIEWER)
def version_of_run(hub: Hub, asked: OneRun) -> RunVersion:
    """Show the version of a DAG that a run runs."""
    record = hub.run(asked.run)
    version = query.version_of(hub.live, hub.engine, record)
    info = record.info.to_json() if record.info else None
    return RunVersion(dag_id=record.dag_id, run_id=record.run_id, version=version.sha, json=version.json, info=info)


@dataclass(frozen=True, kw_only=True, slots=True)
class StartRun:
    """A run that is to be started."""

    dag_id: str = about("Of this DAG, of its newest version.")
    params: dict[str, Any] = about("Values of params of the DAG for this run.", {})
    conf: dict[str, Any] = about("dag_run.conf of this run.", {})
    logical_date: datetime | None = about("Its logical date; now when not given.", None)
    data_interval_start: datetime | None = about("Start of what it covers; what the schedule says of the logical date when not given.", None)
    data_interval_end: datetime | None = about("End of what it covers, excluded; given together with the start.", None)
    run_id: str | None = about("Its name; manual__LOGICAL_DATE when not given.", None)
    note: str = about("A remark about it.", "")
    priority: int = about("Added to the weight of each of its tasks.", 0)
    task: str | None = about("Only these tasks, whatever the others are: an id, a pattern, x+, +x, group:G.", None)
    idempotency_key: str | None = about("The same key again starts no second run: the first one is shown. Up to 100 characters.", None)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """A run that would be started."""

    dag_id: str
    run_id: str
    version: str
    logical_date: datetime
    data_interval_start: datetime
    data_interval_end: datetime
    params: Mapping[str, Any]
    conf: Mapping[str, Any]
    priority: int
    note: str
    #: Those of its tasks that it has.
    tasks: tuple[str, ...]


@operation("runs.plan", "POST", "/runs/plan", Role.OPERATOR)
def plan_run(hub: Hub, asked: StartRun) -> PlannedRun:
    """Check what is given for a run, and show the run that would be started; nothing is."""
    run, version = _made(hub, asked)
    tasks = tuple(version.tasks[index].task_id for index in sorted(partial.chosen(version, run.options)))
    return PlannedRun(**{field.name: getattr(run, field.name) for field in fields(PlannedRun) if field.name != "tasks"}, tasks=tasks)


@operation("runs.start", "POST", "/runs", Role.OPERATOR)
def start_run(hub: Hub, asked: StartRun) -> Run:
    """Start a run of a DAG."""
    run, version = _made(hub, asked)
    try:
        trigger.start(hub.broker, hub.engine, run, version, by=hub.person.name)
    except Conflict:
        with reading(hub.engine) as connection:
            known = runs.by_key(connection, run.key)
        if asked.idempotency_key is None or known is None:
            raise
    hub.go_on()
    return replace(query.show(hub.broker, hub.engine, run.key), tasks=())


def _made(hub: Hub, asked: StartRun) -> tuple[RunInfo, Version]:
    """Return the run that is asked for, and its version. Raises UsageError, DagNotFound, TaskNotFound."""
    hub.dag(asked.dag_id)
    version = query.find_version(hub.engine, asked.dag_id)
    now = clock.utcnow()
    run_id = asked.run_id
    if asked.idempotency_key is not None:
        if not 1 <= len(asked.idempotency_key) <= 100:
            raise UsageError("idempotency_key: it must have 1 to 100 characters")
        run_id = run_id or f"{MANUAL}__key-{asked.idempotency_key}"
    moment = clock.aware(asked.logical_date) if asked.logical_date else None
    given = trigger.Given(params=asked.params, conf=asked.conf, logical_date=moment, run_id=run_id, note=asked.note, priority=asked.priority,
                          selector=asked.task, interval=_interval(asked))
    return trigger.by_hand(version, given, now), version


def _interval(asked: StartRun) -> tuple[datetime, datetime] | None:
    """Return the data interval that was given; raises UsageError for half a one."""
    start, end = asked.data_interval_start, asked.data_interval_end
    if start is None and end is None:
        return None
    if start is None or end is None:
        raise UsageError("data_interval_start and data_interval_end are given together, or neither")
    return clock.aware(start), clock.aware(end)


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelRun(OneRun):
    """How a run is ended."""

    force: bool = about("KILL what runs at once.", False)
    grace: float | None = about("Seconds from TERM to KILL; worker.kill_grace when not given.", None)


def ending(*, force: bool, grace: float | None, number: int = 15) -> Ending | None:
    """Return how what runs is ended; None: as ever. Raises UsageError for what contradicts itself."""
    if force and grace is not None:
        raise UsageError("force is KILL at once; it does not go with grace")
    if grace is not None and not 0 <= grace <= 86_400:
        raise UsageError(f"grace: {grace} is not from 0 to 86400 seconds")
    if not force and grace is None and number == 15:
        return None
    return Ending(grace=0.0 if force or number == 9 else grace, number=number)


@operation("runs.cancel", "POST", "/runs/{run}/cancel", Role.OPERATOR)
def cancel_run(hub: Hub, asked: CancelRun) -> Run:
    """Cancel all tasks of a run that have not ended; running ones get TERM, later KILL."""
    record = hub.run(asked.run, changes=True)
    cancelling.cancel_run(hub.broker, hub.engine, record, by=hub.person.name, how=ending(force=asked.force, grace=asked.grace))
    return replace(query.show(hub.broker, hub.engine, record.run_key), tasks=())


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteRun(OneRun):
    """Which run goes."""

    keep_logs: bool = about("Keep the logs of its tasks.", False)


@operation("runs.delete", "DELETE", "/runs/{run}", Role.OPERATOR)
def delete_run(hub: Hub, asked: DeleteRun) -> Deleted:
    """Delete a run with its history and its logs; what runs of it is cancelled."""
    record = hub.run(asked.run, changes=True)
    removing.delete_run(hub.broker, hub.engine, record, by=hub.person.name, keeps_logs=asked.keep_logs)
    hub.go_on()
    return Deleted(dag_id=record.dag_id, run_id=record.run_id, run_key=record.run_key)


@dataclass(frozen=True, kw_only=True, slots=True)
class Note(OneRun):
    """A remark about a run."""

    note: str = about("It takes the place of the one that the run has.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Noted:
    """A run with its remark."""

    dag_id: str
    run_id: str
    note: str


@operation("runs.note", "PUT", "/runs/{run}/note", Role.OPERATOR)
def note_run(hub: Hub, asked: Note) -> Noted:
    """Write a remark about a run."""
    record = hub.run(asked.run, changes=True)
    return Noted(dag_id=record.dag_id, run_id=record.run_id, note=notes.write(hub.engine, record, asked.note, by=hub.person.name))


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkRun(OneRun):
    """What a run is to be."""

    state: str = about("success or failed.")
    dry_run: bool = about("Only list the tasks that would be marked.", False)


@operation("runs.mark", "POST", "/runs/{run}/mark", Role.OPERATOR)
def mark_run(hub: Hub, asked: MarkRun) -> Reruns:
    """Make a run a success, or a failure, by hand: by marking its tasks."""
    record = hub.run(asked.run, changes=True)
    if asked.state not in {TaskState.SUCCESS.value, TaskState.FAILED.value}:
        raise UsageError(f"state: {asked.state!r} is neither success nor failed")
    state = TaskState(asked.state)
    found = reruns.of_whole_run(hub.broker, hub.engine, record, state)
    chosen = [found] if found.tasks else []
    if asked.dry_run:
        return chosen_rows(chosen)
    done = changed_rows(reruns.mark(hub.broker, hub.engine, chosen, state, by=hub.person.name))
    hub.go_on()
    return done


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryRun(OneRun):
    """What of a run is to run again."""

    task: str | None = about("This task and all that depends on it, whatever became of them; not given: what failed, and what did not run because of "
                             "that.", None)
    every: bool = about("All tasks.", False)
    same_version: bool = about("As their last tries were, and not as the DAG says now.", False)
    dry_run: bool = about("Only list the tasks that would run again.", False)


@operation("runs.retry", "POST", "/runs/{run}/retry", Role.OPERATOR)
def retry_run(hub: Hub, asked: RetryRun) -> Reruns:
    """Run the failed part of a run again, as the latest version of the DAG says; what was a success stays."""
    if asked.every and asked.task is not None:
        raise UsageError("every and task exclude each other")
    record = hub.run(asked.run, changes=True)
    wanted = Scope(selector=asked.task or "*", downstream=asked.task is not None, only_failed=not asked.every and asked.task is None)
    chosen = scope.of_run(hub.broker, hub.engine, record, wanted)
    if asked.dry_run:
        return chosen_rows(chosen, hub=hub, same_version=asked.same_version)
    done = changed_rows(reruns.clear(hub.broker, hub.engine, chosen, by=hub.person.name, same_version=asked.same_version))
    hub.go_on()
    return done


@operation("runs.summary", "GET", "/runs/{run}/summary", Role.VIEWER)
def summarize(hub: Hub, asked: OneRun) -> report.Summary:
    """Show a run in numbers: times, processors, memory, the path that made it as long as it was."""
    record = hub.run(asked.run)
    shown = query.show(hub.live, hub.engine, record.run_key)
    return report.summary(shown, query.version_of(hub.live, hub.engine, shown), clock.utcnow())
