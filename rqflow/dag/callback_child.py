"""Callbacks of one kind in a Python process of their own: load the DAG's source, make the context, call the author's functions.

worker/runner.py starts it; what it prints is kept with the record of the callback.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rqflow import mail
from rqflow.dag.airflow.running import current
from rqflow.dag.airflow.uses import USES
from rqflow.dag.callbacks import OF_DAG, OF_TASK, Kind, functions, name_of
from rqflow.dag.context import Context, context_of
from rqflow.dag.execution import load_source
from rqflow.dag.frame import Frame
from rqflow.dag.model import DAG
from rqflow.dag.run import RunInfo
from rqflow.dag.version import TaskSpec, Version
from rqflow.dag.views import TaskInstanceView
from rqflow.dag.xcom_view import XComs
from rqflow.exceptions import TaskFailed


@dataclass(frozen=True, slots=True)
class SlaMiss:
    """A task that did not end in its sla, as `sla_miss_callback` sees it."""

    dag_id: str
    task_id: str
    #: Logical date of its run, and when it should have ended.
    execution_date: Any
    timestamp: Any
    notification_sent: bool = True
    description: str = ""

    def __str__(self) -> str:
        """Return it as Airflow prints one."""
        return str((self.dag_id, self.task_id, self.execution_date.isoformat()))


def run(spec: Mapping[str, Any], result: dict[str, Any]) -> None:
    """Call the functions that `spec` is about, each whatever became of the one before, and fill in the XComs that they push.

    The spec holds `kind`, `version` (path of its JSON), `folder` (its unpacked sources), `run` (a RunInfo as JSON), `task_id`, `try_number`,
    `reason`, `state`, `run_state`, `host`, `pid`, `started_at` and `ended_at` (ISO 8601) of the try, `xcoms` {task_id: {key: JSON text}}, `smtp`
    (settings for mail), and for a missed sla `misses` {task_id: ISO 8601} and `states` {task_id: state}.
    Raises TaskFailed when one of them failed, or the source has them no more; and whatever loading the file raises.
    """
    version = Version.from_json(Path(spec["version"]).read_text(encoding="utf-8"))
    mail.provide(spec.get("smtp") or {})
    dag = load_source(version, Path(spec["folder"]))
    USES.strict = True
    kind = Kind(spec["kind"])
    frame = _frame(spec, version, dag)
    called = _functions(kind, dag, frame)
    if not called:
        raise TaskFailed(f"the file {version.file} has no {OF_TASK.get(kind) or OF_DAG[kind]} any more")
    context = _context(spec, kind, frame)
    arguments = _of_sla(spec, frame, context) if kind is Kind.SLA_MISS else (dict(context),)
    try:
        with current(context):
            failed = [problem for one in called if (problem := _call(one, arguments))]
    finally:
        result["xcoms"].update(frame.xcoms.pushed)
    if failed:
        raise TaskFailed("; ".join(failed))


def on_execute(task: Any, context: Mapping[str, Any]) -> None:
    """Call what a task wants to be called before it begins. An exception is printed, and keeps the task from nothing, as in Airflow."""
    for one in functions(task.__dict__.get(OF_TASK[Kind.EXECUTE])):
        if _call(one, (dict(context),)):
            sys.stderr.write(f"rqflow: on_execute_callback {name_of(one)} raised an exception; the task goes on\n")


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> str:
    """Call a function; print the traceback of what it raises, and say in a line what that was; empty when it raised nothing."""
    try:
        function(*arguments)
    except Exception as error:  # noqa: BLE001 (whatever an author's function raises is told, and the others are called all the same)
        trace = error.__traceback__.tb_next if error.__traceback__ else None
        sys.stderr.write("".join(traceback.format_exception(type(error), error, trace)))
        return f"{name_of(function)}: {type(error).__name__}: {error}".rstrip(": ")
    return ""


def _functions(kind: Kind, dag: DAG, frame: Frame) -> list[Callable[..., Any]]:
    owner, name = (frame.operator, OF_TASK[kind]) if kind in OF_TASK else (dag, OF_DAG[kind])
    return [one for one in functions(owner.__dict__.get(name)) if callable(one)]


def _frame(spec: Mapping[str, Any], version: Version, dag: DAG) -> Frame:
    task = version.by_id.get(spec["task_id"])
    texts = spec.get("xcoms") or {}
    return Frame(
        version=version, task=task or TaskSpec(index=0, task_id="", operator="empty", operator_name="", fields={}),
        run=RunInfo.from_json(json.dumps(spec["run"])), try_number=int(spec.get("try_number") or 0), xcoms=XComs.of(texts), marked=False,
        dag=dag, operator=dag.get_task(task.task_id) if task else None, hostname=str(spec.get("host") or ""),
        started_at=_moment(spec.get("started_at")),
    )  # fmt: skip


def _context(spec: Mapping[str, Any], kind: Kind, frame: Frame) -> Context:
    """Return the variables of the try that the callback is about, and what is to be said of its end."""
    context = context_of(frame)
    reason = str(spec.get("reason") or "")
    context["reason"] = reason
    if kind in {Kind.FAILURE, Kind.RETRY, Kind.RUN_FAILURE}:
        context["exception"] = TaskFailed(reason or "it failed")
    elif kind is Kind.SKIPPED:
        context["exception"] = TaskFailed(reason or "it was skipped")
    context["dag_run"].state = str(spec.get("run_state") or context["dag_run"].state)
    instance = context["ti"]
    instance.state, instance.pid = str(spec.get("state") or ""), spec.get("pid")
    begun, ended = _moment(spec.get("started_at")), _moment(spec.get("ended_at"))
    instance.end_date = frame.date(ended)
    instance.duration = (ended - begun).total_seconds() if begun and ended else None
    return context


def _of_sla(spec: Mapping[str, Any], frame: Frame, context: Context) -> tuple[Any, ...]:
    """Return the five arguments of an sla_miss_callback: DAG, texts about the late and the blocking tasks, misses, blocking task instances."""
    date, misses, states = context["logical_date"], spec.get("misses") or {}, spec.get("states") or {}
    blocking = [task for task in frame.version.tasks if task.task_id in misses and states.get(task.task_id) not in {"success", "skipped"}]
    instances = []
    for task in blocking:
        one = TaskInstanceView(frame.of(task), context["dag_run"], frame.dag.get_task(task.task_id))
        one.state = str(states.get(task.task_id) or "")
        instances.append(one)
    slas = [SlaMiss(frame.version.dag_id, task_id, date, frame.date(due_at)) for task_id, due_at in misses.items()]
    return frame.dag, _lines(misses, date), _lines([task.task_id for task in blocking], date), slas, instances


def _lines(task_ids: Any, date: datetime) -> str:
    return "\n".join(f"{task_id} on {date.isoformat()}" for task_id in task_ids)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
