"""XComs: their names, and one of them with its value."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter

from rqflow import clock
from rqflow.actions import query
from rqflow.actions.logs import task_of
from rqflow.api import xcoms as operations
from rqflow.api.hub import Hub
from rqflow.api.operation import perform
from rqflow.api.xcoms import ListXComs
from rqflow.exceptions import NotFound, TaskNotFound, UsageError
from rqflow.store import task_pages
from rqflow.store.engine import reading
from rqflow.store.runs import RunRecord
from rqflow.web.airflow.asking import ANY, ThePart
from rqflow.web.airflow.instance_models import XCom, XComItem, XComList
from rqflow.web.airflow.runs import seen, the_run
from rqflow.web.deps import TheHub

router = APIRouter(include_in_schema=False)


@router.get("/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries")
def list_entries(hub: TheHub, dag_id: str, dag_run_id: str, task_id: str, part: ThePart, map_index: int = -1,
                 xcom_key: str | None = None) -> XComList:
    """List XComs of a task, of all tasks of a run, or, as the history has them, of many runs."""
    task = None if task_id == ANY else task_id
    if map_index != -1:
        return XComList(xcom_entries=[], total_entries=0)
    if ANY in {dag_id, dag_run_id}:
        if dag_run_id != ANY:
            raise UsageError("A run is named together with its DAG")
        with reading(hub.engine) as connection:
            found, total = task_pages.xcoms(connection, dag_ids=seen(hub, None if dag_id == ANY else [dag_id]), task_id=task, key=xcom_key,
                                            offset=part.offset, limit=part.limit)
        return XComList(xcom_entries=[_item(one.dag_id, one.task_id, one.key, one.logical_date, one.updated_at) for one in found],
                        total_entries=total)
    record = the_run(hub, dag_id, dag_run_id)
    times = _times(hub, record)
    names = [(its, key) for its, key in _values(hub, record, task) if xcom_key in {None, key}]
    return XComList(xcom_entries=[_item(dag_id, its, key, record.logical_date, times.get((its, key)) or _since(record))
                                  for its, key in part.of(names)], total_entries=len(names))


@router.get("/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key:path}")
def get_entry(hub: TheHub, dag_id: str, dag_run_id: str, task_id: str, xcom_key: str, map_index: int = -1, deserialize: bool = False,
              stringify: bool = True) -> XCom:
    """Give an XCom, its value as Python's text of it or, without `stringify`, as JSON."""
    if deserialize:
        raise UsageError("XCom deserialization is disabled", hint="Values are JSON: stringify=false gives them as they are.")
    record = the_run(hub, dag_id, dag_run_id)
    if map_index != -1:
        raise TaskNotFound(f"task {task_id} of run {dag_run_id} is not mapped")
    found = _values(hub, record, task_id)
    if (task_id, xcom_key) not in found:
        task_of(query.show(hub.live, hub.engine, record.run_key), task_id)
        raise NotFound(f"XCom entry not found: {xcom_key} of task {task_id}")
    item = _item(dag_id, task_id, xcom_key, record.logical_date, _times(hub, record).get((task_id, xcom_key)) or _since(record))
    value = found[task_id, xcom_key]
    return XCom(**dict(item), value=str(value) if stringify else value)


def _values(hub: Hub, record: RunRecord, task_id: str | None) -> dict[tuple[str, str], Any]:
    """Return {(task_id, key): value} of a task, or of all tasks of a run."""
    found = perform(hub, operations.list_xcoms, ListXComs(run=record.run_key, task_id=task_id))
    return {(one.task_id, one.key): one.value for one in found.items}


def _times(hub: Hub, record: RunRecord) -> dict[tuple[str, str], datetime]:
    """Return {(task_id, key): when it was pushed} of the XComs of a run that the history has."""
    with reading(hub.engine) as connection:
        found, _ = task_pages.xcoms(connection, run_key=record.run_key)
    return {(one.task_id, one.key): one.updated_at for one in found}


def _since(record: RunRecord) -> datetime:
    """Return since when there can have been an XCom of a run whose time nobody has written down yet."""
    return record.started_at or record.created_at or clock.EPOCH


def _item(dag_id: str, task_id: str, key: str, date: datetime | None, at: datetime) -> XComItem:
    return XComItem(key=key, timestamp=at, execution_date=date, task_id=task_id, dag_id=dag_id)
