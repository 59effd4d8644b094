"""Operations on the tasks of a run."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rqflow import clock
from rqflow.actions import cancel as cancelling
from rqflow.actions import logs, query, reruns, rewrite, scope, select
from rqflow.actions import mark_lost as lost
from rqflow.actions import run_now as now
from rqflow.actions import why as reasons
from rqflow.actions.model import TaskInstance
from rqflow.actions.scope import Scope
from rqflow.actions.why import Why
from rqflow.api.dags import OneDag, zone
from rqflow.api.hub import Hub
from rqflow.api.operation import Page, about, operation
from rqflow.api.reruns import Reruns, changed_rows, chosen_rows, must_be_unchanged
from rqflow.api.runs import OneRun, ending
from rqflow.dag.version import amend
from rqflow.deploy import rendered as rendering
from rqflow.deploy.rendered import RenderedField
from rqflow.exceptions import NotFound, UsageError
from rqflow.security.roles import Role
from rqflow.states import RunState, TaskState
from rqflow.store.runs import RunRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class OneTask(OneRun):
    """Which task of which run."""

    task_id: str = about("Its id.")


@operation("tasks.get", "GET", "/runs/{run}/tasks/{task_id}", Role.VIEWER)
def get_task(hub: Hub, asked: OneTask) -> TaskInstance:
    """Show a task of a run with all its tries."""
    return logs.task_of(query.show(hub.live, hub.engine, hub.run(asked.run).run_key), asked.task_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class ListTasks(OneRun):
    """Which tasks of a run."""

    task: str = about("An id, a pattern, x+, +x, group:G or state:failed.", "*")
    state: list[TaskState] = about("Only tasks in one of these states.", [])


@operation("tasks.list", "GET", "/runs/{run}/tasks", Role.VIEWER)
def list_tasks(hub: Hub, asked: ListTasks) -> Page[TaskInstance]:
    """List tasks of a run, in topological order, with all their tries."""
    found = query.show(hub.live, hub.engine, hub.run(asked.run).run_key)
    names = {task.task_id for task in found.tasks}
    if asked.task != "*":
        version = query.version_of(hub.live, hub.engine, found)
        names = {version.tasks[index].task_id for index in select.tasks(version, asked.task, query.states_of(found))}
    return Page(items=tuple(task for task in found.tasks if task.task_id in names and (not asked.state or task.state in asked.state)))


@dataclass(frozen=True, kw_only=True)  # without slots: it stands beside another base
class Chosen:
    """What is beside the tasks that are named, which of all these are meant, and whether it is done."""

    regex: str | None = about("Only tasks in whose id this regular expression is found, in place of `task`, which is * then.", None)
    upstream: bool = about("And all that they depend on.", False)
    downstream: bool = about("And all that depends on them.", False)
    only_failed: bool = about("Of these only those that failed, or did not run because of that.", False)
    only_running: bool = about("Of these only those that run: they are stopped.", False)
    dry_run: bool = about("Only list the tasks that are meant.", False)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenOfRuns(Chosen, OneRun):
    """Those of a run, and of other runs of its DAG where `past`, `future`, `since` or `until` says so."""

    past: bool = about("And the same tasks in all runs of the DAG with an earlier logical date.", False)
    future: bool = about("And the same tasks in all runs of the DAG with a later logical date.", False)
    since: datetime | None = about("And the same tasks in the runs of the DAG with this logical date or a later one.", None)
    until: datetime | None = about("Of the other runs only those with this logical date or an earlier one.", None)
    seen_at: datetime | None = about("Refuse when somebody cleared, marked or cancelled something of the run at this time or later.", None)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClearTasks(ChosenOfRuns):
    """Which tasks are to run again; those that run are stopped, and run again."""

    task: str = about("An id, a pattern, x+, +x, group:G or state:failed.", "*")
    same_version: bool = about("As their last tries were, and not as the DAG says now.", False)


def _scope(asked: ClearTasks | MarkTasks) -> Scope:
    since, until = (clock.aware(moment) if moment else None for moment in (asked.since, asked.until))
    return Scope(selector=asked.task, regex=asked.regex, upstream=asked.upstream, downstream=asked.downstream, only_failed=asked.only_failed,
                 only_running=asked.only_running, past=asked.past, future=asked.future, since=since, until=until)


@operation("tasks.clear", "POST", "/runs/{run}/clear", Role.OPERATOR)
def clear_tasks(hub: Hub, asked: ClearTasks) -> Reruns:
    """Let tasks of a run run again, with new tries, as the latest version of the DAG says."""
    wanted = _scope(asked)
    record = hub.run(asked.run, changes=True)
    must_be_unchanged(hub, record, asked.seen_at)
    chosen = scope.of_run(hub.broker, hub.engine, record, wanted)
    hub.must_change([one.run for one in chosen])
    if asked.dry_run:
        return chosen_rows(chosen, hub=hub, same_version=asked.same_version)
    done = changed_rows(reruns.clear(hub.broker, hub.engine, chosen, by=hub.person.name, stops=asked.only_running, same_version=asked.same_version))
    hub.go_on()
    return done


@dataclass(frozen=True, kw_only=True, slots=True)
class ClearDag(Chosen, OneDag):
    """Which tasks of which runs of a DAG are to run again."""

    since: datetime | None = about("Only runs with this logical date or a later one.", None)
    until: datetime | None = about("Only runs with this logical date or an earlier one.", None)
    state: list[RunState] = about("Only runs in one of these states.", [])
    task: str = about("Only these tasks: an id, a pattern, x+, +x, group:G, state:failed.", "*")
    no_subdags: bool = about("Of these none that is in a SubDag of a DAG for Airflow 1.", False)
    same_version: bool = about("As their last tries were, and not as the DAG says now.", False)


@operation("dags.clear", "POST", "/dags/{dag_id}/clear", Role.OPERATOR)
def clear_dag(hub: Hub, asked: ClearDag) -> Reruns:
    """Let tasks of many runs of a DAG run again, with new tries."""
    since, until = (clock.aware(moment) if moment else None for moment in (asked.since, asked.until))
    wanted = Scope(selector=asked.task, regex=asked.regex, no_subdags=asked.no_subdags, upstream=asked.upstream, downstream=asked.downstream,
                   only_failed=asked.only_failed, only_running=asked.only_running)
    hub.dag(asked.dag_id)
    chosen = scope.of_dag(hub.broker, hub.engine, asked.dag_id, wanted, since=since, until=until, states=asked.state)
    hub.must_change([one.run for one in chosen])
    if asked.dry_run:
        return chosen_rows(chosen, hub=hub, same_version=asked.same_version)
    done = changed_rows(reruns.clear(hub.broker, hub.engine, chosen, by=hub.person.name, stops=asked.only_running, same_version=asked.same_version))
    hub.go_on()
    return done


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkTasks(ChosenOfRuns):
    """Which tasks get which state."""

    task: str = about("An id, a pattern, x+, +x, group:G or state:failed.")
    state: str = about("success, failed or skipped.")


@operation("tasks.mark", "POST", "/runs/{run}/mark-tasks", Role.OPERATOR)
def mark_tasks(hub: Hub, asked: MarkTasks) -> Reruns:
    """Give tasks of a run a state by hand; their downstream goes on by it. Those that run are stopped, and get it when they end."""
    if asked.state not in {TaskState.SUCCESS.value, TaskState.FAILED.value, TaskState.SKIPPED.value}:
        raise UsageError(f"state: {asked.state!r} is none of success, failed, skipped")
    wanted = _scope(asked)
    record = hub.run(asked.run, changes=True)
    must_be_unchanged(hub, record, asked.seen_at)
    chosen = scope.of_run(hub.broker, hub.engine, record, wanted)
    hub.must_change([one.run for one in chosen])
    if asked.dry_run:
        return chosen_rows(chosen)
    done = changed_rows(reruns.mark(hub.broker, hub.engine, chosen, TaskState(asked.state), by=hub.person.name))
    hub.go_on()
    return done


@dataclass(frozen=True, kw_only=True, slots=True)
class KillTask(OneTask):
    """How a task is ended."""

    force: bool = about("KILL at once.", False)
    grace: float | None = about("Seconds from the first signal to KILL; worker.kill_grace when not given.", None)
    signal: str = about("The first signal.", "TERM")


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskNow:
    """A task of a run, and its state now; `news`: what the latest version of the DAG has that is new for it."""

    dag_id: str
    run_id: str
    run_key: str
    task_id: str
    state: str
    news: tuple[str, ...] = ()


def _now(record: RunRecord, task_id: str, state: str, news: Sequence[str] = ()) -> TaskNow:
    return TaskNow(dag_id=record.dag_id, run_id=record.run_id, run_key=record.run_key, task_id=task_id, state=state, news=tuple(news))


@operation("tasks.kill", "POST", "/runs/{run}/tasks/{task_id}/kill", Role.OPERATOR)
def kill_task(hub: Hub, asked: KillTask) -> TaskNow:
    """End a task that runs, or waits; it has no further try."""
    record = hub.run(asked.run, changes=True)
    number = signal.Signals.__members__.get(f"SIG{asked.signal.upper().removeprefix('SIG')}")
    if number is None:
        raise UsageError(f"signal: there is no signal {asked.signal!r}")
    how = ending(force=asked.force, grace=asked.grace, number=number)
    state = cancelling.cancel_task(hub.broker, hub.engine, record, asked.task_id, by=hub.person.name, how=how)
    hub.go_on()
    return _now(record, asked.task_id, state.value)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunNow(OneTask):
    """Which task is to start at once."""

    same_version: bool = about("As its last try was, and not as the DAG says now.", False)


@operation("tasks.run_now", "POST", "/runs/{run}/tasks/{task_id}/run-now", Role.OPERATOR)
def run_now(hub: Hub, asked: RunNow) -> TaskNow:
    """Start a task at once that waits for the delay of a retry or the next look of a sensor, or is parked."""
    record = hub.run(asked.run, changes=True)
    version = query.version_of(hub.broker, hub.engine, record)
    index = select.one_task(version, asked.task_id)
    shown = None if asked.same_version else query.show(hub.broker, hub.engine, record.run_key)
    news = rewrite.news(hub.broker, hub.engine, shown, [version.tasks[index]]) if shown else []
    now.run_now(hub.broker, hub.engine, record, index, version.tasks[index].task_id, by=hub.person.name, same_version=asked.same_version)
    hub.go_on()
    return _now(record, version.tasks[index].task_id, TaskState.QUEUED.value, news)


@operation("tasks.mark_lost", "POST", "/runs/{run}/tasks/{task_id}/mark-lost", Role.OPERATOR)
def mark_lost(hub: Hub, asked: OneTask) -> TaskNow:
    """Declare lost what runs of a task on a machine that is gone; the task goes on as its on_lost says."""
    record = hub.run(asked.run, changes=True)
    state = lost.mark_lost(hub.broker, hub.engine, record, asked.task_id, by=hub.person.name)
    return _now(record, asked.task_id, str(state))


@dataclass(frozen=True, kw_only=True, slots=True)
class WhyTask(OneTask):
    """Why which task does not run."""

    tz: str = about("Zone in which times are told: UTC or Area/City.", "UTC")


@operation("tasks.why", "GET", "/runs/{run}/tasks/{task_id}/why", Role.VIEWER)
def why(hub: Hub, asked: WhyTask) -> Why:
    """Say why a task does not run: the one reason that holds it, and what lifts that."""
    record = hub.run(asked.run)
    version = query.version_of(hub.live, hub.engine, record)
    return reasons.task(hub.broker, version, record.run_key, select.one_task(version, asked.task_id), refusal=hub.refusal(), viewer=zone(asked.tz),
                        visible=hub.visible_dag_ids())


@dataclass(frozen=True, kw_only=True, slots=True)
class WhyRun(OneRun):
    """Why the tasks of which run do not run."""

    tz: str = about("Zone in which times are told: UTC or Area/City.", "UTC")


@dataclass(frozen=True, kw_only=True, slots=True)
class TryOfTask(OneTask):
    """Which try of it."""

    try_number: int | None = about("Its number; the last one, or the one that comes, when not given.", None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendering:
    """What a try was given: its template fields, and the variables of its author and of rqflow. Secrets are blotted out."""

    task_id: str
    try_number: int
    #: sha of the version that it was of.
    version: str
    fields: tuple[RenderedField, ...]
    env: dict[str, str]
    #: Why the fields are not rendered, and what to do; empty: they are.
    error: str = ""
    hint: str = ""


@operation("tasks.rendered", "GET", "/runs/{run}/tasks/{task_id}/rendered", Role.VIEWER)
def rendered(hub: Hub, asked: TryOfTask) -> Rendering:
    """Show the template fields of a task as a try of it had them, or will have them, and the variables that it is given.

    They are rendered again, with the Variables, Connections and XComs that there are now. Secrets are blotted out.
    """
    record = hub.run(asked.run)
    task = query.show_task(hub.live, hub.engine, record.run_key, asked.task_id).tasks[0]
    number = asked.try_number if asked.try_number is not None else max(task.try_number, 1)
    one = next((one for one in task.tries if one.try_number == number), None)
    if one is None and asked.try_number is not None:
        raise NotFound(f"{task.task_id} has no try {number}")
    own = query.version_of(hub.live, hub.engine, record)
    sha = (one.version if one else task.version) or own.sha
    later = query.version_by_sha(hub.live, hub.engine, sha) if sha != own.sha else None
    version = amend(own, later) if later else own
    if record.info is None:
        raise NotFound(f"of run {record.run_id} too little is known to render anything")
    made = rendering.of_one_try(hub.live, hub.engine, hub.settings, version, version.by_id[task.task_id], record.info, number)
    return Rendering(task_id=task.task_id, try_number=number, version=version.sha, fields=made.fields, env=dict(made.env), error=made.error,
                     hint=made.hint)


@operation("runs.why", "GET", "/runs/{run}/why", Role.VIEWER)
def why_run(hub: Hub, asked: WhyRun) -> Page[Why]:
    """Say why each task of a run that has not ended does not run."""
    record = hub.run(asked.run)
    version = query.version_of(hub.live, hub.engine, record)
    found = reasons.run(hub.broker, version, record.run_key, refusal=hub.refusal(), viewer=zone(asked.tz), visible=hub.visible_dag_ids())
    return Page(items=tuple(found))
