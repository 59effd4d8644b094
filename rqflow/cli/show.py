"""How runs and their tasks are laid out for people; programs get the plain records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rqflow.actions.model import Call, Run, TaskInstance, Try, plain
from rqflow.cli.output import Column, Printer, duration
from rqflow.states import CallbackState, RunState

if TYPE_CHECKING:
    # Imports the libraries of the services, for which a submit does not wait before it loads.
    from rqflow.actions.backfill_view import Backfill, BackfillRun

#: Fields of a run that is started and not followed.
ANNOUNCED = ("dag_id", "run_id", "logical_date")
RUN_COLUMNS = [
    Column("run_id", "RUN"), Column("dag_id", "DAG"), Column("state", "STATE"), Column("run_type", "TYPE", wide=True),
    Column("logical_date", "LOGICAL DATE", wide=True), Column("data_interval_start", "COVERS FROM", wide=True),
    Column("data_interval_end", "UP TO", wide=True), Column("started_at", "STARTED"), Column("duration", "DURATION", show=duration),
    Column("sla_misses", "SLA MISSES", wide=True), Column("note", "NOTE", wide=True),
]
TASK_COLUMNS = [
    Column("task_id", "TASK"), Column("shown", "STATE"), Column("try", "TRY"), Column("duration", "DURATION", show=duration),
    Column("reason", "REASON"), Column("operator", "OPERATOR", wide=True), Column("queue", "QUEUE", wide=True), Column("pool", "POOL", wide=True),
    Column("worker", "WORKER", wide=True), Column("started_at", "STARTED", wide=True), Column("ended_at", "ENDED", wide=True),
]
TRY_COLUMNS = [
    Column("try_number", "TRY"), Column("state", "STATE"), Column("duration", "DURATION", show=duration), Column("exit_code", "EXIT"),
    Column("signal", "SIGNAL"), Column("host", "HOST"), Column("started_at", "STARTED"), Column("reason", "REASON"),
    Column("cpu_seconds", "CPU S", wide=True), Column("max_rss_bytes", "MAX RSS", wide=True), Column("log_bytes", "LOG", wide=True),
    Column("worker", "WORKER", wide=True), Column("pid", "PID", wide=True),
]
CALL_COLUMNS = [
    Column("kind", "CALLBACK"), Column("task_id", "TASK"), Column("try_number", "TRY"), Column("state", "STATE"), Column("started_at", "STARTED"),
    Column("worker", "WORKER"), Column("reason", "REASON"), Column("sends", "SENDS", wide=True), Column("ended_at", "ENDED", wide=True),
]


def row(thing: Run | TaskInstance | Try | Call | Backfill | BackfillRun) -> dict[str, Any]:
    """Return one thing as a record: what programs get, with its times as times, so that people see them in the zone of --tz."""
    times = {field.name: value for field in fields(thing) if isinstance(value := getattr(thing, field.name), datetime)}
    return {**plain(thing), **times}


def tries(task: TaskInstance) -> str:
    """Return which try of how many a task is at; empty before the first."""
    return f"{task.try_number}/{task.max_tries}" if task.try_number and task.has_run else ""


def run_row(run: Run) -> dict[str, Any]:
    """Return a run as one record of a list, without its tasks."""
    return {name: value for name, value in row(run).items() if name not in {"tasks", "callbacks"}}


def task_row(task: TaskInstance) -> dict[str, Any]:
    """Return a task instance as one line of a table."""
    late = f"; sla missed, due {task.sla_missed:%Y-%m-%d %H:%M:%S} UTC" if task.sla_missed else ""
    return row(task) | {"try": tries(task), "shown": task.shown_state, "reason": f"{task.reason}{late}".removeprefix("; ")}


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
    if printer.format != "csv":
        # Of tasks there may be thousands: those that went well are with their task alone.
        calls(printer, [*found.callbacks, *(call for task in found.tasks for call in task.callbacks if call.state is not CallbackState.SUCCESS)])


def calls(printer: Printer, found: Sequence[Call]) -> None:
    """Print a table of calls of authors' functions, when there are any."""
    if found:
        printer.blank()
        printer.records([row(one) for one in found], CALL_COLUMNS)


def exit_code(state: RunState) -> int:
    """Return the exit code for a run that ended so."""
    return 0 if state is RunState.SUCCESS else 1
