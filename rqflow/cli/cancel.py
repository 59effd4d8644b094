"""rqflow run cancel and rqflow task kill: what runs is ended, and how."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import click

from rqflow.actions import cancel as cancelling
from rqflow.actions import query, scope
from rqflow.actions.scope import Scope
from rqflow.broker.messages import Ending
from rqflow.cli import output
from rqflow.cli.app import App, pass_app, who
from rqflow.cli.asking import confirm, go_on
from rqflow.cli.output import Column, Printer
from rqflow.cli.types import DURATION, SIGNAL
from rqflow.deploy.services import open_services
from rqflow.exceptions import Conflict, UsageError
from rqflow.states import TERMINAL_STATES, RunState, TaskState
from rqflow.store.runs import RunRecord

#: What is printed of runs, and of tasks.
RUN_FIELDS, TASK_FIELDS = ("dag_id", "run_id", "state"), ("dag_id", "run_id", "task_id", "state")
RUN_COLUMNS = [Column("run_id", "RUN"), Column("dag_id", "DAG"), Column("state", "STATE")]
TASK_COLUMNS = [Column("task_id", "TASK"), Column("state", "STATE"), Column("run_id", "RUN"), Column("dag_id", "DAG")]


def run_row(record: RunRecord, state: str) -> dict[str, Any]:
    """Return a run and its state as a record."""
    return {"dag_id": record.dag_id, "run_id": record.run_id, "state": state}


def task_row(record: RunRecord, task_id: str, state: str) -> dict[str, Any]:
    """Return a task of a run and its state as a record."""
    return {"dag_id": record.dag_id, "run_id": record.run_id, "task_id": task_id, "state": state}


def _ending(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say how what runs is ended."""
    function = click.option("--grace", type=DURATION, help="Time from the first signal to KILL; worker.kill_grace when not given.")(function)
    return click.option("--force", is_flag=True, help="KILL at once. Given later, it hurries a cancel that is under way.")(function)


def _how(force: bool, grace: timedelta | None, number: int | None = None) -> Ending | None:
    """Return what was asked for, None for nothing; raises UsageError for what contradicts itself."""
    if force and (grace is not None or number is not None):
        raise UsageError("--force is KILL at once; it goes neither with --grace nor with --signal")
    if not force and grace is None and number is None:
        return None
    kills = force or number == signal.SIGKILL
    return Ending(grace=0.0 if kills else grace.total_seconds() if grace is not None else None, number=number or signal.SIGTERM)


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
    how = _how(force, grace)
    code, rows = 0, []
    with open_services(app.settings) as services:
        for found in [query.find_run(services.engine, name) for name in names]:
            try:
                state = cancelling.cancel_run(services.broker, services.engine, found, by=who(), how=how)
            except Conflict as error:
                output.problem(f"rqflow: {error}")
                code = error.exit_code
                continue
            rows.append(run_row(found, state.value))
            said = "cancelled" if state is RunState.CANCELLED else "cancel requested; it ends when its running tasks are gone"
            output.note(f"run {found.run_id} of {found.dag_id}: {said}")
            if away := cancelling.unreachable(services.broker, found):
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
    how, rows = _how(force, grace, number), []
    with open_services(app.settings) as services:
        record = query.find_run(services.engine, run_name)
        chosen = scope.of_run(services.broker, services.engine, record, Scope(selector=selector))
        waits = [one.task_id for found in chosen for one in found.tasks if found.states.get(one.task_id, TaskState.PENDING) not in TERMINAL_STATES]
        if not waits:
            raise Conflict(f"nothing of {selector} in run {record.run_id} runs or waits: it has ended")
        if len(waits) > 1:
            confirm(app, f"{', '.join(waits)} of run {record.run_id} are cancelled", yes=yes)
        for task_id in waits:
            state = cancelling.cancel_task(services.broker, services.engine, record, task_id, by=who(), how=how)
            rows.append(task_row(record, task_id, state.value))
            said = "cancelled" if state is TaskState.CANCELLED else "cancel requested; it ends when its processes are gone"
            output.note(f"{task_id} of run {record.run_id}: {said}")
        go_on(app, services)
    printer.report(rows, TASK_COLUMNS)
