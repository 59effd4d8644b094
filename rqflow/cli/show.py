"""How runs and their tasks are laid out for people; programs get the plain records."""

from __future__ import annotations

from typing import Any

from rqflow.actions.model import Run, TaskInstance, plain
from rqflow.cli.output import Column, Printer, duration
from rqflow.states import RunState, TaskState

RUN_COLUMNS = [
    Column("run_id", "RUN"), Column("dag_id", "DAG"), Column("state", "STATE"), Column("run_type", "TYPE", wide=True),
    Column("logical_date", "LOGICAL DATE", wide=True), Column("started_at", "STARTED"), Column("duration", "DURATION", show=duration),
    Column("note", "NOTE", wide=True),
]
TASK_COLUMNS = [
    Column("task_id", "TASK"), Column("state", "STATE"), Column("tries", "TRY"), Column("duration", "DURATION", show=duration),
    Column("reason", "REASON"), Column("operator", "OPERATOR", wide=True), Column("queue", "QUEUE", wide=True), Column("pool", "POOL", wide=True),
    Column("worker", "WORKER", wide=True), Column("started_at", "STARTED", wide=True), Column("ended_at", "ENDED", wide=True),
]
TRY_COLUMNS = [
    Column("try_number", "TRY"), Column("state", "STATE"), Column("duration", "DURATION", show=duration), Column("exit_code", "EXIT"),
    Column("signal", "SIGNAL"), Column("host", "HOST"), Column("started_at", "STARTED"), Column("reason", "REASON"),
    Column("cpu_seconds", "CPU S", wide=True), Column("max_rss_bytes", "MAX RSS", wide=True), Column("log_bytes", "LOG", wide=True),
    Column("worker", "WORKER", wide=True), Column("pid", "PID", wide=True),
]
_TIMES = ("logical_date", "data_interval_start", "data_interval_end", "created_at", "started_at", "ended_at")


def run_row(run: Run) -> dict[str, Any]:
    """Return a run as one record of a list, without its tasks."""
    row: dict[str, Any] = plain(run)
    row.pop("tasks")
    return row | {name: getattr(run, name) for name in _TIMES}


def task_row(task: TaskInstance) -> dict[str, Any]:
    """Return a task instance as one line of a table."""
    row: dict[str, Any] = plain(task)
    tries = f"{task.try_number}/{task.max_tries}" if task.try_number and task.state is not TaskState.PENDING else ""
    return row | {"tries": tries, "started_at": task.started_at, "ended_at": task.ended_at}


def run(printer: Printer, found: Run) -> None:
    """Print a run: all of it for programs, head and table of tasks for people."""
    if printer.format in {"json", "yaml", "name"} or printer.fields:
        printer.record(plain(found), name="run_id")
        return
    head = run_row(found) | {"duration": duration(found.duration)}
    if printer.format != "csv":
        printer.record({name: value for name, value in head.items() if value not in (None, "", {}, False)}, name="run_id")
        printer.blank()
    printer.records([task_row(task) for task in found.tasks], TASK_COLUMNS)


def exit_code(state: RunState) -> int:
    """Return the exit code for a run that ended so."""
    return 0 if state is RunState.SUCCESS else 1
