"""Letting task instances of a DAG run again."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter

from rqflow.api import tasks as operations
from rqflow.api.operation import perform
from rqflow.api.tasks import ClearDag, ClearTasks
from rqflow.exceptions import UsageError
from rqflow.web.airflow.instance_models import TaskInstanceReferenceList, TaskInstancesClear
from rqflow.web.airflow.runs import references, the_run
from rqflow.web.deps import TheHub

router = APIRouter(include_in_schema=False)


@router.post("/dags/{dag_id}/clearTaskInstances")
def clear_instances(hub: TheHub, dag_id: str, body: TaskInstancesClear) -> TaskInstanceReferenceList:
    """Let tasks of a run, or of the runs of some dates, run again; or say which these are."""
    hub.dag(dag_id)
    if body.only_failed and body.only_running:
        raise UsageError("only_failed is set to true and only_running is set to true")
    named = _named(body)
    shared: dict[str, Any] = {
        "regex": named, "upstream": body.include_upstream, "downstream": body.include_downstream, "only_failed": body.only_failed,
        "only_running": body.only_running, "dry_run": body.dry_run}
    if body.dag_run_id is not None:
        if body.start_date or body.end_date:
            raise UsageError("Exactly one of dag_run_id or (start_date and end_date) must be provided")
        record = the_run(hub, dag_id, body.dag_run_id)
        found = perform(hub, operations.clear_tasks, ClearTasks(
            run=record.run_key, past=body.include_past, future=body.include_future, **shared))
    else:
        found = perform(hub, operations.clear_dag, ClearDag(
            dag_id=dag_id, since=None if body.include_past else body.start_date, until=None if body.include_future else body.end_date, **shared))
    return references(found, changed=not body.dry_run)


def _names(body: TaskInstancesClear) -> list[str]:
    """Return the ids of tasks that are named, each of them alone or with the index of a mapped one; raises UsageError for what is no such pair."""
    found = [one if isinstance(one, str) else one[0] if one else "" for one in body.task_ids or ()]
    if not all(isinstance(one, str) for one in found):
        raise UsageError("task_ids: each is an id, or an id and an index")
    return [str(one) for one in found]


def _named(body: TaskInstancesClear) -> str | None:
    """Return what finds the tasks of these very ids; None: all tasks."""
    if body.task_ids is None:
        return None
    if not body.task_ids:
        raise UsageError("task_ids must not be empty")
    return f"^(?:{'|'.join(map(re.escape, _names(body)))})$"
