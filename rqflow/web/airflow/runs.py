"""DAG runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Query, Response

from rqflow import clock
from rqflow.actions import query
from rqflow.actions.model import Run
from rqflow.api import runs as operations
from rqflow.api.hub import Hub
from rqflow.api.operation import perform
from rqflow.api.reruns import Reruns
from rqflow.api.runs import DeleteRun, MarkRun, RetryRun, StartRun
from rqflow.api.runs import Note as Remark
from rqflow.dag.run import MANUAL
from rqflow.exceptions import RunNotFound, UsageError
from rqflow.store import deletions, run_pages, runs
from rqflow.store.engine import reading
from rqflow.store.run_pages import Between, RunPage
from rqflow.store.runs import RunRecord
from rqflow.web.airflow import states
from rqflow.web.airflow.asking import ANY, Answer, Moments, Part, ThePart, chosen, moments, only, part, words
from rqflow.web.airflow.instance_models import TaskInstanceReference, TaskInstanceReferenceList
from rqflow.web.airflow.models import DagRun, DagRunChange, DagRunList, DagRunsWanted, Dry, NewDagRun, Note
from rqflow.web.deps import TheHub

router = APIRouter(include_in_schema=False)

Names = Annotated[list[str] | None, Query()]
#: By what runs may be ordered, in Airflow's words and in ours.
_ORDERS = {"id": run_pages.CREATED_AT, "state": run_pages.STATE, "dag_id": run_pages.DAG_ID, "execution_date": run_pages.LOGICAL_DATE,
           "logical_date": run_pages.LOGICAL_DATE, "dag_run_id": run_pages.RUN_ID, "start_date": run_pages.STARTED_AT,
           "end_date": run_pages.ENDED_AT, "updated_at": run_pages.CHANGED_AT, "external_trigger": run_pages.RUN_TYPE}


@router.get("/dags/{dag_id}/dagRuns")
def list_runs(hub: TheHub, dag_id: str, part: ThePart, between: Moments, state: Names = None, fields: Names = None) -> Response:
    """List the runs of a DAG, or of all DAGs."""
    page = _page(hub, None if dag_id == ANY else [dag_id], part, between, state)
    plain = [chosen(one.model_dump(mode="json"), words(fields)) for one in page.dag_runs]
    return Answer({"dag_runs": plain, "total_entries": page.total_entries})


@router.post("/dags/~/dagRuns/list")
def list_runs_of_many(hub: TheHub, body: DagRunsWanted) -> DagRunList:
    """List the runs of some DAGs, or of all."""
    between = moments({run_pages.LOGICAL_DATE: (body.execution_date_gte, body.execution_date_lte),
                       run_pages.STARTED_AT: (body.start_date_gte, body.start_date_lte), run_pages.ENDED_AT: (body.end_date_gte, body.end_date_lte)})
    return _page(hub, body.dag_ids, part(body.page_limit, body.page_offset, body.order_by), between, body.states, must=False)


@router.post("/dags/{dag_id}/dagRuns")
def start_run(hub: TheHub, dag_id: str, body: NewDagRun) -> DagRun:
    """Start a run."""
    dates = {clock.aware(one) for one in (body.logical_date, body.execution_date) if one is not None}
    if len(dates) > 1:
        raise UsageError("logical_date conflicts with execution_date", hint="Give one of them.")
    run = perform(hub, operations.start_run, StartRun(
        dag_id=dag_id, conf=body.conf or {}, logical_date=next(iter(dates), None), run_id=body.dag_run_id, note=body.note or "",
        data_interval_start=body.data_interval_start, data_interval_end=body.data_interval_end))
    return as_dag_run(run)


@router.get("/dags/{dag_id}/dagRuns/{dag_run_id}")
def get_run(hub: TheHub, dag_id: str, dag_run_id: str, fields: Names = None) -> Response:
    """Show a run."""
    return only(_now(hub, the_run(hub, dag_id, dag_run_id)), words(fields))


@router.patch("/dags/{dag_id}/dagRuns/{dag_run_id}")
def change_run(hub: TheHub, dag_id: str, dag_run_id: str, body: DagRunChange) -> DagRun:
    """Make a run a success or a failure. queued changes nothing: Airflow's scheduler looks at such a run anew, which is never needed here."""
    record = the_run(hub, dag_id, dag_run_id)
    is_mark = body.state != "queued"
    perform(hub, operations.mark_run, MarkRun(run=record.run_key, state=body.state if is_mark else "success", dry_run=not is_mark))
    return _now(hub, record)


@router.post("/dags/{dag_id}/dagRuns/{dag_run_id}/clear")
def clear_run(hub: TheHub, dag_id: str, dag_run_id: str, body: Dry) -> DagRun | TaskInstanceReferenceList:
    """Let all tasks of a run run again, or say which these are."""
    record = the_run(hub, dag_id, dag_run_id)
    found = perform(hub, operations.retry_run, RetryRun(run=record.run_key, every=True, dry_run=body.dry_run))
    return references(found) if body.dry_run else _now(hub, record)


@router.patch("/dags/{dag_id}/dagRuns/{dag_run_id}/setNote")
def set_note(hub: TheHub, dag_id: str, dag_run_id: str, body: Note) -> DagRun:
    """Write a remark about a run."""
    record = the_run(hub, dag_id, dag_run_id)
    perform(hub, operations.note_run, Remark(run=record.run_key, note=body.note or ""))
    return _now(hub, record)


@router.delete("/dags/{dag_id}/dagRuns/{dag_run_id}", status_code=204)
def delete_run(hub: TheHub, dag_id: str, dag_run_id: str) -> None:
    """Delete a run with its history and logs."""
    perform(hub, operations.delete_run, DeleteRun(run=the_run(hub, dag_id, dag_run_id).run_key))


def the_run(hub: Hub, dag_id: str, dag_run_id: str) -> RunRecord:
    """Return a run that the person may see; also by its key, for ids that do not go into an address. Raises DagNotFound, RunNotFound."""
    with reading(hub.engine) as connection:
        found = runs.get(connection, dag_id, dag_run_id)
        if found is None:
            by_key = runs.by_key(connection, dag_run_id)
            found = by_key if by_key and by_key.dag_id == dag_id else None
        is_gone = found is not None and bool(deletions.of_runs(connection, [found.run_key]))
    with suppress(RunNotFound):
        if found is not None and not is_gone:
            return hub.run(found.run_key)
    hub.dag(dag_id)
    raise RunNotFound(f"DAGRun with DAG ID: '{dag_id}' and DagRun ID: '{dag_run_id}' not found")


def as_dag_run(run: Run) -> DagRun:
    """Return a run in Airflow's words."""
    return DagRun(
        conf=dict(run.conf or {}), dag_id=run.dag_id, dag_run_id=run.run_id, execution_date=run.logical_date, logical_date=run.logical_date,
        data_interval_start=run.data_interval_start, data_interval_end=run.data_interval_end, start_date=run.started_at, end_date=run.ended_at,
        external_trigger=run.run_type == MANUAL, note=run.note or None, run_type=run.run_type or MANUAL, state=states.OF_RUN[run.state])


def references(found: Reruns, *, changed: bool = False) -> TaskInstanceReferenceList:
    """Return the names of task instances that are meant, or with `changed` of those that were changed."""
    return TaskInstanceReferenceList(task_instances=[
        TaskInstanceReference(task_id=one.task_id, dag_id=one.dag_id, execution_date=one.logical_date, dag_run_id=one.run_id)
        for one in found.tasks if one.done or not changed])


def seen(hub: Hub, dag_ids: Collection[str] | None, *, must: bool = True) -> frozenset[str] | None:
    """Return the ids of those of these DAGs that the person may see; None: all. Raises DagNotFound for one that they `must` see."""
    if dag_ids is not None and must:
        return frozenset(hub.dag(dag_id).dag_id for dag_id in dag_ids)
    visible = hub.visible_dag_ids()
    if dag_ids is None:
        return visible
    return frozenset(dag_ids) if visible is None else visible & {*dag_ids}


def _page(hub: Hub, dag_ids: Sequence[str] | None, part: Part, between: Mapping[str, Between], state: Sequence[str | None] | None, *,
          must: bool = True) -> DagRunList:
    name, descends = part.order(_ORDERS, "id")
    wanted = RunPage(dag_ids=seen(hub, dag_ids, must=must), states=states.of_runs(state) if state else None, moments=between, order=_ORDERS[name],
                     descends=descends, offset=part.offset, limit=part.limit)
    with reading(hub.engine) as connection:
        found, total = run_pages.page(connection, wanted)
    return DagRunList(dag_runs=[as_dag_run(one) for one in query.as_they_stand(hub.live, hub.engine, found)], total_entries=total)


def _now(hub: Hub, record: RunRecord) -> DagRun:
    """Return how a run stands now."""
    with reading(hub.engine) as connection:
        found = runs.by_key(connection, record.run_key) or record
    return as_dag_run(query.as_they_stand(hub.live, hub.engine, [found])[0])
