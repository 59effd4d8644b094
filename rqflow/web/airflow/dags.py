"""DAGs and their tasks."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse

from rqflow.actions import query, schedule
from rqflow.actions.sights.schedule_words import words as in_words
from rqflow.api import dags as operations
from rqflow.api.dags import ChangeDag, DeleteDag, OneVersion
from rqflow.api.hub import Hub
from rqflow.api.operation import perform
from rqflow.dag import series, timetable
from rqflow.dag.series import Interval
from rqflow.dag.version import TaskSpec, Version
from rqflow.exceptions import NotFound, TaskNotFound, UsageError
from rqflow.store import dag_files, dags
from rqflow.store.dags import DagFilter, DagRecord
from rqflow.store.engine import reading
from rqflow.web.airflow.asking import ANY, Answer, Part, ThePart, chosen, masked, only, span, words
from rqflow.web.airflow.models import Dag, DagChange, DagDetail, DagList, Tag, Task, TaskList
from rqflow.web.deps import TheHub

router = APIRouter(include_in_schema=False)

Names = Annotated[list[str] | None, Query()]
#: By what DAGs may be ordered.
_ORDERS = {"dag_id": lambda one: one.dag_id, "is_paused": lambda one: one.is_paused, "is_active": lambda one: one.is_active,
           "next_dagrun_create_after": lambda one: str(one.next_run_at or "")}


@router.get("/dags")
def list_dags(hub: TheHub, part: ThePart, tags: Names = None, only_active: bool = True, paused: bool | None = None, fields: Names = None,
              dag_id_pattern: str | None = None) -> Response:
    """List DAGs that have one of the tags."""
    found = _found(hub, part, tags=tags, only_active=only_active, paused=paused, pattern=dag_id_pattern)
    page = _page(hub, part.of(found)).dags
    plain = [chosen(one.model_dump(mode="json"), words(fields)) for one in page]
    return Answer({"dags": plain, "total_entries": len(found)})


@router.patch("/dags")
def change_dags(hub: TheHub, part: ThePart, body: DagChange, dag_id_pattern: str, tags: Names = None, only_active: bool = True,
                update_mask: Names = None) -> DagList:
    """Pause the DAGs of a page, or let them go on: all or, when one of them is not the person's to change, none."""
    change = _change(body, update_mask)
    found = _found(hub, part, tags=tags, only_active=only_active, pattern="%" if dag_id_pattern == ANY else dag_id_pattern)
    page = part.of(found)
    for one in page:
        hub.dag(one.dag_id, changes=True)
    for one in page:
        if change is not None:
            perform(hub, operations.change_dag, ChangeDag(dag_id=one.dag_id, is_paused=change))
    now = _page(hub, [hub.dag(one.dag_id) for one in page])
    return DagList(dags=now.dags, total_entries=len(found))


@router.get("/dags/{dag_id}")
def get_dag(hub: TheHub, dag_id: str, fields: Names = None) -> Response:
    """Show a DAG."""
    return only(_page(hub, [hub.dag(dag_id)]).dags[0], words(fields))


@router.get("/dags/{dag_id}/details")
def get_details(hub: TheHub, dag_id: str, fields: Names = None) -> Response:
    """Show a DAG with what its file says."""
    return only(_detail(hub, hub.dag(dag_id)), words(fields))


@router.patch("/dags/{dag_id}")
def change_dag(hub: TheHub, dag_id: str, body: DagChange, update_mask: Names = None) -> Dag:
    """Pause a DAG, or let it go on."""
    change = _change(body, update_mask)
    hub.dag(dag_id)
    if change is not None:
        perform(hub, operations.change_dag, ChangeDag(dag_id=dag_id, is_paused=change))
    return _page(hub, [hub.dag(dag_id)]).dags[0]


@router.delete("/dags/{dag_id}", status_code=204)
def delete_dag(hub: TheHub, dag_id: str) -> None:
    """Delete a DAG with its runs, history and logs."""
    perform(hub, operations.delete_dag, DeleteDag(dag_id=dag_id))


@router.get("/dags/{dag_id}/tasks")
def list_tasks(hub: TheHub, dag_id: str, order_by: str = "task_id") -> TaskList:
    """List the tasks of the newest version of a DAG."""
    hub.dag(dag_id)
    version = query.find_version(hub.engine, dag_id)
    name = order_by.removeprefix("-")
    if name not in TaskSpec.__slots__ or not all(isinstance(getattr(task, name), str | int | float) for task in version.tasks):
        raise UsageError(f"Task objects have no attribute `{name[:100]}` by which they could be ordered")
    ordered = sorted(version.tasks, key=lambda task: getattr(task, name), reverse=order_by.startswith("-"))
    return TaskList(tasks=[_task(version, task) for task in ordered], total_entries=len(ordered))


@router.get("/dags/{dag_id}/tasks/{task_id}")
def get_task(hub: TheHub, dag_id: str, task_id: str) -> Task:
    """Show a task of the newest version of a DAG."""
    hub.dag(dag_id)
    version = query.find_version(hub.engine, dag_id)
    if task_id not in version.by_id:
        raise TaskNotFound(f"{dag_id} has no task {task_id}")
    return _task(version, version.by_id[task_id])


@router.get("/dagSources/{file_token}")
def get_source(request: Request, hub: TheHub, file_token: str) -> Response:
    """Show the file of a DAG, which its `file_token` names."""
    found = perform(hub, operations.source, OneVersion(dag_id=_named(file_token)))
    if request.headers.get("accept", "").partition(",")[0].strip() in {"text/plain", "plain/text"}:
        return PlainTextResponse(found.source)
    return Answer({"content": found.source})


def _change(body: DagChange, mask: Sequence[str] | None) -> bool | None:
    """Return whether DAGs are to be paused; None: nothing is to be changed."""
    found = masked(body, words(mask), {"is_paused"}).get("is_paused")
    return None if found is None else bool(found)


def _found(hub: Hub, part: Part, *, tags: Collection[str] | None, only_active: bool, paused: bool | None = None,
           pattern: str | None) -> list[DagRecord]:
    """Return the DAGs that pass and that the person may see, in the order that was asked for."""
    with reading(hub.engine) as connection:
        known = dags.search(connection, DagFilter(is_paused=paused))
    passes = _like(pattern)
    found = [one for one in known if hub.sees(one) and (one.is_active or not only_active) and (not tags or {*tags} & {*one.tags})
             and passes(one.dag_id)]
    name, descends = part.order(_ORDERS, "dag_id")
    return sorted(found, key=_ORDERS[name], reverse=descends)


def _like(pattern: str | None) -> Callable[[str], bool]:
    """Return what tells whether SQL's LIKE with a % on both sides passes a text: % stands for any characters, _ for one, case does not matter.

    Piece by piece, each where it comes first: one regular expression of all would try what no text passes for as long as nobody waits.
    """
    pieces = [re.compile("".join("." if letter == "_" else re.escape(letter) for letter in piece), re.IGNORECASE | re.DOTALL)
              for piece in (pattern or "").split("%")]

    def passes(text: str) -> bool:
        at = 0
        for piece in pieces:
            found = piece.search(text, at)
            if found is None:
                return False
            at = found.end()
        return True

    return passes


def _page(hub: Hub, found: Sequence[DagRecord]) -> DagList:
    """Return these DAGs as Airflow shows them."""
    with reading(hub.engine) as connection:
        versions = dags.versions(connection, {one.version for one in found if one.version})
        broken = dag_files.problems(connection)
        coming = {one.dag_id: schedule.coming(connection, versions[one.version], 1)
                  for one in found if one.next_run_at and one.version in versions}
    shown = [Dag(**_fields(one, versions.get(one.version or ""), coming.get(one.dag_id), has_errors=one.file in broken)) for one in found]
    return DagList(dags=shown, total_entries=len(shown))


def _fields(one: DagRecord, version: Version | None, coming: Sequence[Interval] | None, *, has_errors: bool) -> dict[str, Any]:
    due = coming[0] if coming else None
    return {
        "dag_id": one.dag_id, "dag_display_name": one.dag_id, "is_paused": one.is_paused, "is_active": one.is_active,
        "last_parsed_time": one.updated_at, "fileloc": one.file, "file_token": token(one.dag_id), "owners": [one.owner] if one.owner else [],
        "description": one.description or None, "schedule_interval": _interval(one.schedule),
        "timetable_description": in_words(one.schedule, one.timezone), "tags": [Tag(name=tag) for tag in one.tags],
        "max_active_tasks": version.max_active_tasks if version else None, "max_active_runs": version.max_active_runs if version else None,
        "max_consecutive_failed_dag_runs": (version.max_consecutive_failed_dag_runs or 0) if version else None,
        "has_task_concurrency_limits": any(task.max_active_per_dag is not None for task in version.tasks) if version else False,
        "has_import_errors": has_errors, "next_dagrun": due.logical_date if due else None,
        "next_dagrun_data_interval_start": due.start if due else None, "next_dagrun_data_interval_end": due.end if due else None,
        "next_dagrun_create_after": due.end if due else one.next_run_at,
    }


def _detail(hub: Hub, one: DagRecord) -> DagDetail:
    plain = dict(_page(hub, [one]).dags[0])
    version = query.find_version(hub.engine, one.dag_id)
    start, end = (series.moment(text) if text else None for text in (version.start_date, version.end_date))
    params = {name: {"__class": "airflow.models.param.Param", "value": value, "description": version.param_specs.get(name, {}).get("description"),
                     "schema": version.param_specs.get(name, {}).get("schema", {})} for name, value in version.params.items()}
    return DagDetail(
        **plain, timezone=version.timezone, catchup=version.catchup, concurrency=version.max_active_tasks, start_date=start, end_date=end,
        dag_run_timeout=span(version.dagrun_timeout), doc_md=version.doc_md or None, params=params,
        is_paused_upon_creation=version.paused_at_creation, last_parsed=one.updated_at,
        template_search_path=list(version.template_searchpath) or None, render_template_as_native_obj=version.render_native)


def _interval(text: str | None) -> dict[str, Any] | None:
    """Return a schedule as Airflow writes it: a length of time, or text such as a cron expression."""
    plain = timetable.plain(text)
    if not plain:
        return None
    kind, colon, rest = plain.partition(":")
    if colon and kind == "timedelta":
        return span(float(rest))
    if colon and kind == "relativedelta":
        return {"__type": "RelativeDelta", **{name: int(number) for name, _, number in (one.partition("=") for one in rest.split(","))}}
    return {"__type": "CronExpression", "value": plain}


def _task(version: Version, task: TaskSpec) -> Task:
    start, end = (series.moment(text) if text else None for text in (task.start_date, task.end_date))
    return Task(
        task_id=task.task_id, task_display_name=task.task_id, owner=task.owner or version.owner, start_date=start, end_date=end,
        trigger_rule=task.trigger_rule, extra_links=[], depends_on_past=task.depends_on_past, wait_for_downstream=task.wait_for_downstream,
        retries=task.retries, queue=task.queue, pool=task.pool, pool_slots=task.pool_slots, execution_timeout=span(task.execution_timeout),
        retry_delay=span(task.retry_delay), retry_exponential_backoff=task.retry_exponential_backoff, priority_weight=task.weight,
        template_fields=list(task.template_fields), downstream_task_ids=sorted(version.tasks[index].task_id for index in task.downstream),
        class_ref={"class_name": task.operator_name, "module_path": f"rqflow.operators.{task.operator}"}, doc_md=task.doc or None)


def token(dag_id: str) -> str:
    """Return what names the file of a DAG in an address."""
    return base64.urlsafe_b64encode(dag_id.encode("utf-8", "surrogatepass")).decode("ascii").rstrip("=")


def _named(file_token: str) -> str:
    """Return the DAG whose file a token names; raises NotFound for one that names none."""
    try:
        return base64.b64decode(file_token + "=" * (-len(file_token) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise NotFound("there is no file of that token", hint="`file_token` of a DAG is one.") from error
