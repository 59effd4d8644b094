"""From a version and a run to what the steps read: rows of tasks, task instances, RQ jobs. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rqflow.broker import signed
from rqflow.dag import partial
from rqflow.dag.run import RunInfo
from rqflow.dag.trigger_rule import TriggerRule
from rqflow.dag.version import DEFAULT_POOL, DEFAULT_QUEUE, TaskSpec, Version

#: The function that every job names; RQ imports it by this string.
FUNCTION = "rqflow.jobs.run_task"
#: Joins over this many upstream tasks keep the list in the version only, not in the job as well.
MAX_DEPENDENCIES = 100


def job_id(dag_id: str, run_id: str, task_id: str) -> str:
    """Return the id of the RQ job of a task instance, the same for all its tries: letters, digits, - and _ only, as RQ demands."""
    name = "\0".join((dag_id, run_id, task_id))
    slug = re.sub(r"[^A-Za-z0-9]+", "-", f"{dag_id}-{task_id}").strip("-")[:24].strip("-") or "task"
    return f"{slug}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def removed_tasks(version: Version, run: RunInfo) -> frozenset[int]:
    """Return the indices of the tasks of which a run has no instance: those that it was made without, and those outside whose start and end
    dates its logical date lies.
    """
    return partial.left_out(version, run.options) | untimely_tasks(version, run.logical_date)


def untimely_tasks(version: Version, logical_date: datetime) -> frozenset[int]:
    """Return the indices of the tasks outside whose start and end dates a logical date lies."""
    gone = set()
    for task in version.tasks:
        start, end = _moment(task.start_date), _moment(task.end_date)
        if (start and logical_date < start) or (end and logical_date > end):
            gone.add(task.index)
    return frozenset(gone)


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def version_fields(version: Version) -> Iterator[tuple[str, str]]:
    """Yield the (field, value) pairs of the hash of a version: json, signatures, dag, and per task its row and its two lists of neighbours."""
    yield signed.JSON, version.json
    if version.signatures:
        yield signed.SIGNATURES, signed.field(version.signatures)
    yield "dag", json.dumps(dag_limits(version), separators=(",", ":"))
    for task in version.tasks:
        yield str(task.index), row_text(task)
        if task.upstream:
            yield f"u{task.index}", json.dumps(task.upstream, separators=(",", ":"))
        if task.downstream:
            yield f"d{task.index}", json.dumps(task.downstream, separators=(",", ":"))


def dag_limits(version: Version) -> dict[str, int]:
    """Return what the steps need of the whole DAG; the names are explained at dag_says in lua/_core.lua."""
    limits = {"max_active_tasks": version.max_active_tasks, "max_active_runs": version.max_active_runs,
              "dagrun_timeout": int(version.dagrun_timeout * 1_000_000) if version.dagrun_timeout else None}
    return {name: value for name, value in limits.items() if value}


def row_text(task: TaskSpec) -> str:
    """Return the row of a task as it stands in Redis."""
    return json.dumps(task_row(task), separators=(",", ":"))


def task_row(task: TaskSpec) -> dict[str, Any]:
    """Return what the steps need of a task, without what is as most tasks have it; the names are explained in lua/_core.lua."""
    row: dict[str, Any] = {"id": task.task_id, "nu": len(task.upstream), "nd": len(task.downstream)}
    if task.trigger_rule != TriggerRule.ALL_SUCCESS:
        row["r"] = task.trigger_rule
    if task.queue != DEFAULT_QUEUE:
        row["q"] = task.queue
    if task.weight != 1:
        row["w"] = task.weight
    if task.pool != DEFAULT_POOL:
        row["p"] = task.pool
    if task.pool_slots != 1:
        row["ps"] = task.pool_slots
    if task.max_active_per_dag:
        row["ta"] = task.max_active_per_dag
    if task.worker_labels:
        row["l"] = list(task.worker_labels)
    if task.depends_on_past or task.wait_for_downstream:
        row["dp"] = 2 if task.wait_for_downstream else 1
    if task.operator == "empty":
        row["e"] = 1
    if task.grace is not None:
        row["gr"] = int(task.grace * 1_000_000)
    if task.retry_on_other_worker:
        row["ow"] = 1
    if task.on_lost != "retry":
        row["ol"] = task.on_lost
    return row


def task_instance(run: RunInfo, task: TaskSpec, removed: frozenset[int]) -> str:
    """Return the JSON of a task instance as a run begins with it."""
    record: dict[str, Any] = {"s": "removed" if task.index in removed else "pending", "t": 1, "m": task.retries + 1,
                              "j": job_id(run.dag_id, run.run_id, task.task_id)}
    if task.downstream and removed.issuperset(task.downstream):
        # Nothing comes after it in this run, so how it ends is how the run does.
        record["lf"] = 1
    gone = sum(upstream in removed for upstream in task.upstream)
    if gone:
        record["c"] = {"r": gone}
    return json.dumps(record, separators=(",", ":"))


def job_hash(run: RunInfo, version: Version, task: TaskSpec, created_at: datetime) -> dict[str, str]:
    """Return the hash of the RQ job of a task instance. Nothing in it expires and RQ retries nothing: rqflow's steps do that.

    Jobs are a third of what a run takes in Redis: so no `dependency_id`, which RQ's older releases read, beside `dependency_ids`, no `ttl`, which
    is endless when it is not there, no spaces, and times no finer than people read them. Most stay below 448 bytes so, a size of Redis' allocator.
    """
    fields = {
        "created_at": created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "data": json.dumps([FUNCTION, None, [run.key, task.task_id], {}], separators=(",", ":")),
        "origin": task.queue,
        "description": f"{run.dag_id}.{task.task_id} {run.logical_date:%Y-%m-%dT%H:%M}",
        "status": "deferred",
        "timeout": "-1", "result_ttl": "-1", "failure_ttl": "-1",
    }
    if task.upstream and len(task.upstream) <= MAX_DEPENDENCIES:
        names = [job_id(run.dag_id, run.run_id, version.tasks[index].task_id) for index in task.upstream]
        fields["dependency_ids"] = json.dumps(names, separators=(",", ":"))
        if task.trigger_rule != "all_success":
            fields["allow_dependency_failures"] = "1"
    return fields

