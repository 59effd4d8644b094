"""rqflow run cancel and rqflow task kill: what runs is ended, and how."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from rqflow.actions.model import Run
from rqflow.api.runs import CancelRun, OneRun, cancel_run, head_run
from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.asking import confirm
from rqflow.cli.hub import asking
from rqflow.cli.output import Column, Printer
from rqflow.cli.types import DURATION, SIGNAL
from rqflow.exceptions import Conflict, UsageError
from rqflow.states import TERMINAL_STATES, RunState, TaskState

if TYPE_CHECKING:
    from rqflow.api.tasks import TaskNow

#: What is printed of runs, and of tasks.
RUN_FIELDS, TASK_FIELDS = ("dag_id", "run_id", "state"), ("dag_id", "run_id", "task_id", "state")
RUN_COLUMNS = [Column("run_id", "RUN"), Column("dag_id", "DAG"), Column("state", "STATE")]
TASK_COLUMNS = [Column("task_id", "TASK"), Column("state", "STATE"), Column("run_id", "RUN"), Column("dag_id", "DAG")]


def run_row(run: Run, state: str) -> dict[str, Any]:
    """Return a run and its state as a record."""
    return {"dag_id": run.dag_id, "run_id": run.run_id, "state": state}


def task_row(one: TaskNow) -> dict[str, Any]:
    """Return a task of a run and its state as a record."""
    return {name: getattr(one, name) for name in TASK_FIELDS}


def _ending(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say how what runs is ended."""
    function = click.option("--grace", type=DURATION, help="Time from the first signal to KILL; worker.kill_grace when not given.")(function)
    return click.option("--force", is_flag=True, help="KILL at once. Given later, it hurries a cancel that is under way.")(function)


def _check(force: bool, grace: timedelta | None, number: int | None = None) -> None:
    """Raise UsageError for what contradicts itself."""
    if force and (grace is not None or number is not None):
        raise UsageError("--force is KILL at once; it goes neither with --grace nor with --signal")


def _seconds(grace: timedelta | None) -> float | None:
    return grace.total_seconds() if grace is not None else None


@click.command()
@click.argument("names", metavar="RUN...", nargs=-1, required=True)
@_ending
@output.listing
@pass_app
def cancel(app: App, printer: Printer, names: tuple[str, ...], force: bool, grace: timedelta | None) -> None:
    """Cancel all tasks of runs that have not ended; running ones get TERM, later KILL.

    A run that cannot be cancelled is named, and the others are cancelled all the same; the exit code is then 5.
    """
    printer.check(RUN_FIELDS)
    from rqflow.api.tasks import ListTasks, list_tasks  # here: not needed for looking at runs

    _check(force, grace)
    code, rows = 0, []
    with asking(app) as ask:
        for found in [ask(head_run, OneRun(run=name)) for name in names]:
            try:
                ended = ask(cancel_run, CancelRun(run=found.run_key, force=force, grace=_seconds(grace)))
            except Conflict as error:
                output.problem(f"rqflow: {error}")
                code = error.exit_code
                continue
            rows.append(run_row(found, ended.state.value))
            said = "cancelled" if ended.state is RunState.CANCELLED else "cancel requested; it ends when its running tasks are gone"
            output.note(f"run {found.run_id} of {found.dag_id}: {said}")
            if ended.is_finished:
                continue
            running = ask(list_tasks, ListTasks(run=found.run_key, state=[TaskState.RUNNING])).items
            if away := [one.task_id for one in running if one.unreachable_since]:
                output.note(f"{', '.join(away)}: unreachable, and ended when the worker is heard of again; `rqflow task mark-lost` gives it up")
    printer.report(rows, RUN_COLUMNS)
    click.get_current_context().exit(code)


@click.command()
@click.argument("run_name", metavar="RUN")
@click.argument("selector", metavar="TASK")
@click.option("--signal", "number", type=SIGNAL, help="The first signal, by its name; TERM when not given.")
@_ending
@click.option("-y", "--yes", is_flag=True, help="Do not ask, where several are meant.")
@output.listing
@pass_app
def kill(app: App, printer: Printer, run_name: str, selector: str, number: int | None, force: bool, grace: timedelta | None, yes: bool) -> None:
    """Cancel tasks of a run, and leave the others to go on: what runs gets TERM, later KILL, and has no further try.

    TASK is an id, a pattern, +x, x+, group:G or state:running. Those that have ended are passed over; exit 5 when all have.
    """
    printer.check(TASK_FIELDS)
    from rqflow.api.tasks import KillTask, ListTasks, kill_task, list_tasks  # here: not needed for looking at runs

    _check(force, grace, number)
    rows = []
    with asking(app) as ask:
        record = ask(head_run, OneRun(run=run_name))
        chosen = ask(list_tasks, ListTasks(run=record.run_key, task=selector)).items
        waits = [one.task_id for one in chosen if one.state not in TERMINAL_STATES]
        if not waits:
            raise Conflict(f"nothing of {selector} in run {record.run_id} runs or waits: it has ended")
        if len(waits) > 1:
            confirm(app, f"{', '.join(waits)} of run {record.run_id} are cancelled", yes=yes)
        name = signal.Signals(number or signal.SIGTERM).name.removeprefix("SIG")
        for task_id in waits:
            now = ask(kill_task, KillTask(run=record.run_key, task_id=task_id, force=force, grace=_seconds(grace), signal=name))
            rows.append(task_row(now))
            said = "cancelled" if now.state == TaskState.CANCELLED.value else "cancel requested; it ends when its processes are gone"
            output.note(f"{task_id} of run {record.run_id}: {said}")
    printer.report(rows, TASK_COLUMNS)
