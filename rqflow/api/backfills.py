"""Operations on backfills."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rqflow.actions import backfill as action
from rqflow.actions import backfill_view as view
from rqflow.actions.backfill import Planned, Wish
from rqflow.actions.backfill_view import Backfill
from rqflow.api.dags import OneDag, within
from rqflow.api.hub import Hub
from rqflow.api.operation import about, operation
from rqflow.broker.lock import has_leader
from rqflow.dag.backfill import Deed, Rerun
from rqflow.dag.run import RunOptions
from rqflow.exceptions import DagNotFound, NotFound, UsageError
from rqflow.security.roles import Role
from rqflow.states import BackfillState, RunState
from rqflow.store.backfills import BackfillRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class StartBackfill(OneDag):
    """Dates of a DAG that are to be run."""

    first: datetime = about("First logical date; one without a zone is meant by the DAG's clock.")
    last: datetime = about("Last logical date, included.")
    rerun: Rerun = about("Dates that have a run: missing leaves them, failed runs again what failed, all runs all of them again.", Rerun.MISSING)
    reverse: bool = about("Begin with the last date.", False)
    max_active: int | None = about("Runs of it at the same time; the DAG's max_active_runs when not given.", None)
    mark_success: bool = about("Record the dates as a success and run nothing.", False)
    task_regex: str = about("Only tasks in whose id this is found, and what they depend on.", "")
    ignore_dependencies: bool = about("With task_regex: not what they depend on.", False)
    ignore_first_depends_on_past: bool = about("The tasks of the first date do not wait for the date before.", False)
    pool: str = about("Pool of all its tasks.", "")
    conf: dict[str, Any] = about("dag_run.conf of its runs.", {})


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanBackfill(StartBackfill):
    """A backfill of which it is asked what it would do."""

    limit: int = about("Show so many of its dates.", 100)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedDate:
    """A date, what would become of it, and why."""

    logical_date: datetime
    data_interval_start: datetime
    data_interval_end: datetime
    deed: Deed
    #: The run that it has already; empty: none.
    run_key: str = ""
    run_id: str = ""
    state: RunState | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class BackfillPlan:
    """What a backfill would do; nothing is written."""

    dag_id: str
    from_date: datetime
    to_date: datetime
    #: How many dates it has, and whether that was counted: else it is an estimate.
    total: int
    is_counted: bool
    max_active: int
    tasks: tuple[str, ...]
    notes: tuple[str, ...]
    #: The first of them, in the order in which they are run.
    dates: tuple[PlannedDate, ...]


def _planned(hub: Hub, asked: StartBackfill) -> Planned:
    """Return the backfill that is asked for, checked. Raises what `action.plan` does, and NotPermitted."""
    found = hub.dag(asked.dag_id, changes=True)
    if asked.max_active is not None and not 1 <= asked.max_active <= 10_000:
        raise UsageError(f"max_active: {asked.max_active} is not from 1 to 10000")
    options = RunOptions(task_regex=asked.task_regex, alone=asked.ignore_dependencies, pool=asked.pool)
    return action.plan(hub.broker, hub.engine, Wish(
        dag_id=found.dag_id, first=asked.first, last=asked.last, rerun=asked.rerun, newest_first=asked.reverse, max_active=asked.max_active,
        options=options, marks=asked.mark_success, ignores_first_past=asked.ignore_first_depends_on_past, conf=asked.conf))


@operation("backfills.plan", "POST", "/dags/{dag_id}/backfills/plan", Role.OPERATOR)
def plan_backfill(hub: Hub, asked: PlanBackfill) -> BackfillPlan:
    """Show what a backfill would do: its dates, and what becomes of each; nothing is started."""
    planned = _planned(hub, asked)
    found = action.choices(hub.engine, planned, limit=within(asked.limit))
    dates = tuple(PlannedDate(
        logical_date=one.interval.logical_date, data_interval_start=one.interval.start, data_interval_end=one.interval.end, deed=one.deed,
        reason=one.reason, run_key=one.found.run_key if one.found else "", run_id=one.found.run_id if one.found else "",
        state=one.found.state if one.found else None) for one in found)
    return BackfillPlan(
        dag_id=asked.dag_id, from_date=planned.first, to_date=planned.last, total=planned.total, is_counted=planned.is_counted,
        max_active=asked.max_active or planned.version.max_active_runs, tasks=planned.tasks, notes=planned.notes, dates=dates)


@operation("backfills.start", "POST", "/dags/{dag_id}/backfills", Role.OPERATOR)
def start_backfill(hub: Hub, asked: StartBackfill) -> Backfill:
    """Start a backfill; the scheduler carries it on."""
    record = action.start(hub.engine, _planned(hub, asked), by=hub.person.name)
    hub.go_on()
    return _shown(hub, record)


@dataclass(frozen=True, kw_only=True, slots=True)
class ListBackfills:
    """Which backfills."""

    dag_id: str | None = about("Only backfills of this DAG.", None)
    state: list[BackfillState] = about("Only backfills in one of these states.", [])
    limit: int = about("At most so many.", 25)
    after: int | None = about("Only those with a lower number: `next` of the page before.", None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Backfills:
    """Backfills without their runs; `next` is what `after` takes to get those before; None: there are no more."""

    items: tuple[Backfill, ...]
    next: int | None = None


@operation("backfills.list", "GET", "/backfills", Role.VIEWER)
def list_backfills(hub: Hub, asked: ListBackfills) -> Backfills:
    """List backfills, the newest first."""
    limit = within(asked.limit)
    visible = hub.visible_dag_ids()
    found = [one for one in view.list_all(hub.engine, dag_id=asked.dag_id, states=asked.state or None, has_leader=_leads(hub))
             if (visible is None or one.dag_id in visible) and (asked.after is None or one.id < asked.after)]
    return Backfills(items=tuple(found[:limit]), next=found[limit - 1].id if len(found) > limit else None)


@dataclass(frozen=True, kw_only=True, slots=True)
class OneBackfill:
    """Which backfill."""

    backfill: int = about("Its number.")


@operation("backfills.get", "GET", "/backfills/{backfill}", Role.VIEWER)
def get_backfill(hub: Hub, asked: OneBackfill) -> Backfill:
    """Show how far a backfill has come, what it waits for, and its first active and failed runs."""
    return _shown(hub, _found(hub, asked.backfill))


@operation("backfills.pause", "POST", "/backfills/{backfill}/pause", Role.OPERATOR)
def pause_backfill(hub: Hub, asked: OneBackfill) -> Backfill:
    """Let no more runs of a backfill be made; those that were go on."""
    record = _found(hub, asked.backfill, changes=True)
    action.pause(hub.engine, record, by=hub.person.name)
    return _shown(hub, record)


@operation("backfills.resume", "POST", "/backfills/{backfill}/resume", Role.OPERATOR)
def resume_backfill(hub: Hub, asked: OneBackfill) -> Backfill:
    """Let runs of a backfill be made again."""
    record = _found(hub, asked.backfill, changes=True)
    action.resume(hub.engine, record, by=hub.person.name)
    hub.go_on()
    return _shown(hub, record)


@operation("backfills.cancel", "POST", "/backfills/{backfill}/cancel", Role.OPERATOR)
def cancel_backfill(hub: Hub, asked: OneBackfill) -> Backfill:
    """Let no more runs of a backfill be made, and cancel those that have not ended."""
    record = _found(hub, asked.backfill, changes=True)
    action.cancel(hub.engine, record, by=hub.person.name)
    hub.go_on()
    return _shown(hub, record)


def _found(hub: Hub, number: int, *, changes: bool = False) -> BackfillRecord:
    """Return a backfill of a DAG that the person may see, or change. Raises NotFound, NotPermitted."""
    if not 0 < number < 1 << 31:
        raise NotFound(f"there is no backfill {number}")
    record = action.find(hub.engine, str(number))
    try:
        hub.dag(record.dag_id, changes=changes)
    except DagNotFound as error:  # whose name is not told either
        raise NotFound(f"there is no backfill {number}") from error
    return record


def _shown(hub: Hub, record: BackfillRecord) -> Backfill:
    return view.show(hub.engine, record.id, has_leader=_leads(hub))


def _leads(hub: Hub) -> bool:
    """Tell whether a scheduler leads that carries backfills on; True where nobody knows."""
    return bool(hub.away) or has_leader(hub.live.connection)
