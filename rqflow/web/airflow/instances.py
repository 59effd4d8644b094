"""Task instances and their tries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from rqflow.actions import query
from rqflow.actions.logs import task_of
from rqflow.actions.model import Run, Try
from rqflow.actions.model import TaskInstance as OneTask
from rqflow.api import tasks as operations
from rqflow.api.hub import Hub
from rqflow.api.operation import perform
from rqflow.api.tasks import MarkTasks
from rqflow.dag.version import TaskSpec
from rqflow.exceptions import RunNotFound, TaskNotFound, UsageError
from rqflow.states import TaskState
from rqflow.store import dags, run_pages, task_pages
from rqflow.store.engine import reading
from rqflow.store.run_pages import LOGICAL_DATE, Between
from rqflow.store.runs import RunRecord
from rqflow.store.task_pages import TaskPage, TaskRow
from rqflow.web.airflow import states
from rqflow.web.airflow.asking import ANY, Moments, Part, ThePart, moments, part
from rqflow.web.airflow.instance_models import (
    TaskInstance,
    TaskInstanceChange,
    TaskInstanceList,
    TaskInstanceReference,
    TaskInstanceReferenceList,
    TaskInstancesChange,
    TaskInstancesWanted,
)
from rqflow.web.airflow.runs import references, seen, the_run
from rqflow.web.deps import TheHub

router = APIRouter(include_in_schema=False)

Names = Annotated[list[str] | None, Query()]
Number = Annotated[float | None, Query()]
#: Of the moments of a run those that a task instance has too, in its own words.
_OF_TASK = {run_pages.STARTED_AT: task_pages.STARTED_AT, run_pages.ENDED_AT: task_pages.ENDED_AT, run_pages.CHANGED_AT: task_pages.UPDATED_AT}


@router.get("/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances")
def list_instances(hub: TheHub, dag_id: str, dag_run_id: str, part: ThePart, between: Moments, state: Names = None, pool: Names = None,
                   queue: Names = None, executor: Names = None, duration_gte: Number = None, duration_lte: Number = None) -> TaskInstanceList:
    """List the task instances of a run, as they stand; or of many, as the history has them."""
    wanted = TaskPage(
        dag_ids=None if dag_id == ANY else [dag_id], run_ids=None if dag_run_id == ANY else [dag_run_id], states=_states(state), pools=pool,
        queues=queue, moments={_OF_TASK.get(name, name): one for name, one in between.items()}, shortest=duration_gte, longest=duration_lte,
        offset=part.offset, limit=part.limit)
    if executor:  # there is one way to run tasks, which has no name
        return TaskInstanceList(task_instances=[], total_entries=0)
    if ANY in {dag_id, dag_run_id}:
        return _of_many(hub, wanted, must=True)
    run = query.show(hub.live, hub.engine, the_run(hub, dag_id, dag_run_id).run_key)
    found = [one for one in run.tasks if _passes(run, one, wanted)]
    return TaskInstanceList(task_instances=_as_instances(hub, run, part.of(found)), total_entries=len(found))


@router.post("/dags/~/dagRuns/~/taskInstances/list")
def list_instances_of_many(hub: TheHub, body: TaskInstancesWanted) -> TaskInstanceList:
    """List task instances of any DAG, as the history has them."""
    which: Part = part(body.page_limit, body.page_offset, body.order_by)
    between = moments({LOGICAL_DATE: (body.execution_date_gte, body.execution_date_lte),
                       task_pages.STARTED_AT: (body.start_date_gte, body.start_date_lte),
                       task_pages.ENDED_AT: (body.end_date_gte, body.end_date_lte)})
    if which.order_by:
        raise UsageError(f"Ordering with '{which.order_by[:100]}' is not supported", hint="They come by DAG, logical date and place in the run.")
    if body.executor:
        return TaskInstanceList(task_instances=[], total_entries=0)
    return _of_many(hub, TaskPage(
        dag_ids=body.dag_ids, run_ids=body.dag_run_ids, task_ids=body.task_ids, states=_states(body.state), pools=body.pool, queues=body.queue,
        moments=between, shortest=body.duration_gte, longest=body.duration_lte, offset=which.offset, limit=which.limit), must=False)


@router.get("/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}")
def get_instance(hub: TheHub, dag_id: str, dag_run_id: str, task_id: str) -> TaskInstance:
    """Show a task instance."""
    run = query.show(hub.live, hub.engine, the_run(hub, dag_id, dag_run_id).run_key)
    return _as_instances(hub, run, [task_of(run, task_id)])[0]


@router.get("/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/tries")
def list_tries(hub: TheHub, dag_id: str, dag_run_id: str, task_id: str, part: ThePart) -> TaskInstanceList:
    """List the tries of a task instance, the first one first."""
    _, descends = part.order({"try_number"}, "try_number")
    found = _tries(hub, dag_id, dag_run_id, task_id)
    found = found[::-1] if descends else found
    return TaskInstanceList(task_instances=part.of(found), total_entries=len(found))


@router.get("/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/tries/{task_try_number}")
def get_try(hub: TheHub, dag_id: str, dag_run_id: str, task_id: str, task_try_number: int) -> TaskInstance:
    """Show one try."""
    for one in _tries(hub, dag_id, dag_run_id, task_id):
        if one.try_number == task_try_number:
            return one
    raise TaskNotFound(f"task {task_id} of run {dag_run_id} has no try {task_try_number}")


@router.patch("/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}")
def change_instance(hub: TheHub, dag_id: str, dag_run_id: str, task_id: str, body: TaskInstanceChange) -> TaskInstanceReference:
    """Give a task instance a state, or say that it could be given one."""
    record = the_run(hub, dag_id, dag_run_id)
    must_have(hub, record, task_id)
    perform(hub, operations.mark_tasks, MarkTasks(run=record.run_key, task=task_id, state=body.new_state, dry_run=body.dry_run))
    return TaskInstanceReference(task_id=task_id, dag_id=dag_id, execution_date=record.logical_date, dag_run_id=record.run_id)


@router.post("/dags/{dag_id}/updateTaskInstancesState")
def change_instances(hub: TheHub, dag_id: str, body: TaskInstancesChange) -> TaskInstanceReferenceList:
    """Give a task of a run a state, and what is beside it, or the same tasks of other runs; or say which these are."""
    record = _meant(hub, dag_id, body.dag_run_id, body.execution_date)
    must_have(hub, record, body.task_id)
    found = perform(hub, operations.mark_tasks, MarkTasks(
        run=record.run_key, task=body.task_id, state=body.new_state, upstream=body.include_upstream, downstream=body.include_downstream,
        past=body.include_past, future=body.include_future, dry_run=body.dry_run))
    return references(found, changed=not body.dry_run)


def must_have(hub: Hub, record: RunRecord, task_id: str) -> None:
    """Raise TaskNotFound when a run has no task of this very id."""
    if task_id not in query.version_of(hub.live, hub.engine, record).by_id:
        raise TaskNotFound(f"Task instance not found for task '{task_id}' on DAG run with ID '{record.run_id}'")


def _meant(hub: Hub, dag_id: str, dag_run_id: str | None, moment: datetime | None) -> RunRecord:
    """Return the run of a DAG that an id or a logical date names."""
    if dag_run_id is not None:
        return the_run(hub, dag_id, dag_run_id)
    if moment is None:
        raise UsageError("Give dag_run_id or execution_date")
    hub.dag(dag_id)
    which = run_pages.RunPage(dag_ids=[dag_id], moments=moments({LOGICAL_DATE: (moment, moment)}), limit=1)
    with reading(hub.engine) as connection:
        found, _ = run_pages.page(connection, which)
    if not found:
        raise RunNotFound(f"DAGRun with DAG ID: '{dag_id}' and logical date '{moment.isoformat()}' not found")
    return hub.run(found[0].run_key)


def _states(given: Sequence[str | None] | None) -> set[TaskState] | None:
    return states.of_tasks(given) if given else None


def _passes(run: Run, one: OneTask, wanted: TaskPage) -> bool:
    """Tell whether a task instance of a run that was asked for by name is meant."""
    changed = max(filter(None, (one.queued_at, one.started_at, one.ended_at)), default=None)
    at = {LOGICAL_DATE: run.logical_date, task_pages.STARTED_AT: one.started_at, task_pages.ENDED_AT: one.ended_at, task_pages.UPDATED_AT: changed}
    sets = ((one.state, wanted.states), (one.pool, wanted.pools), (one.queue, wanted.queues))
    seconds = one.duration if one.duration is not None else -1.0
    return (all(values is None or value in values for value, values in sets) and all(_lies(at[name], one) for name, one in wanted.moments.items())
            and (wanted.shortest is None or seconds >= wanted.shortest) and (wanted.longest is None or 0 <= seconds <= wanted.longest))


def _lies(moment: datetime | None, between: Between) -> bool:
    return moment is not None and (between.since is None or moment >= between.since) and (between.until is None or moment <= between.until)


def _of_many(hub: Hub, wanted: TaskPage, *, must: bool) -> TaskInstanceList:
    """Return task instances of many runs of those DAGs that the person may see."""
    visible = seen(hub, wanted.dag_ids, must=must)
    with reading(hub.engine) as connection:
        found, total = task_pages.page(connection, _narrowed(wanted, visible))
        versions = dags.versions(connection, {one.version for one in found if one.version})
    specs = {sha: version.by_id for sha, version in versions.items()}
    return TaskInstanceList(task_instances=[_of_row(one, specs.get(one.version or "", {}).get(one.task_id)) for one in found], total_entries=total)


def _narrowed(wanted: TaskPage, visible: frozenset[str] | None) -> TaskPage:
    known = {name: getattr(wanted, name) for name in TaskPage.__slots__}
    return TaskPage(**{**known, "dag_ids": visible})


def _of_row(row: TaskRow, spec: TaskSpec | None) -> TaskInstance:
    return TaskInstance(
        task_id=row.task_id, task_display_name=row.task_id, dag_id=row.dag_id, dag_run_id=row.run_id, execution_date=row.logical_date,
        start_date=row.started_at, end_date=row.ended_at, duration=row.duration, state=states.OF_TASK[row.state], try_number=row.try_number,
        max_tries=max(row.max_tries - 1, 0), hostname=row.host or "", pool=row.pool, queue=row.queue, queued_when=None, pid=row.pid, **_of_spec(spec))


def _of_spec(spec: TaskSpec | None) -> dict[str, Any]:
    if spec is None:
        return {"pool_slots": 1, "priority_weight": 1, "operator": ""}
    return {"pool_slots": spec.pool_slots, "priority_weight": spec.weight, "operator": spec.operator_name}


def _as_instances(hub: Hub, run: Run, found: Sequence[OneTask]) -> list[TaskInstance]:
    specs = query.version_of(hub.live, hub.engine, run).by_id if found else {}
    return [TaskInstance(**_fields(run, one, specs)) for one in found]


def _fields(run: Run, one: OneTask, specs: Mapping[str, TaskSpec]) -> dict[str, Any]:
    last = next((each for each in one.tries if each.try_number == one.try_number), None)
    return {
        "task_id": one.task_id, "task_display_name": one.task_id, "dag_id": run.dag_id, "dag_run_id": run.run_id, "execution_date": run.logical_date,
        "start_date": one.started_at, "end_date": one.ended_at, "duration": one.duration, "state": states.OF_TASK[one.state],
        "try_number": one.try_number, "max_tries": max(one.max_tries - 1, 0), "hostname": last.host if last else "", "pool": one.pool,
        "queue": one.queue, "queued_when": one.queued_at, "pid": last.pid if last else None, "sla_miss": _sla_miss(run, one),
        **_of_spec(specs.get(one.task_id)),
    }


def _sla_miss(run: Run, one: OneTask) -> dict[str, Any] | None:
    if one.sla_missed is None or run.logical_date is None:
        return None
    return {"task_id": one.task_id, "dag_id": run.dag_id, "execution_date": run.logical_date.isoformat(), "email_sent": False,
            "timestamp": one.sla_missed.isoformat(), "description": None, "notification_sent": False}


def _tries(hub: Hub, dag_id: str, dag_run_id: str, task_id: str) -> list[TaskInstance]:
    run = query.show(hub.live, hub.engine, the_run(hub, dag_id, dag_run_id).run_key)
    one = task_of(run, task_id)
    fields = _fields(run, one, query.version_of(hub.live, hub.engine, run).by_id)
    return [TaskInstance(**{**fields, **_of_try(each)}) for each in one.tries]


def _of_try(one: Try) -> dict[str, Any]:
    return {"try_number": one.try_number, "state": states.OF_TASK[one.state], "start_date": one.started_at, "end_date": one.ended_at,
            "duration": one.duration, "hostname": one.host, "pid": one.pid, "queue": one.queue, "sla_miss": None}
