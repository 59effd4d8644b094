"""What the commands share that clear and mark tasks: the options of a scope, the list of what is meant, the question, and the outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from rqflow.actions import query, reruns, rewrite
from rqflow.actions.reruns import Changed
from rqflow.actions.scope import Chosen
from rqflow.cli import output
from rqflow.cli.app import App, who
from rqflow.cli.asking import confirm, go_on
from rqflow.cli.output import Column, Printer
from rqflow.cli.types import MOMENT
from rqflow.deploy.services import Services
from rqflow.exceptions import Conflict
from rqflow.states import TaskState

COLUMNS = [Column("run_id", "RUN"), Column("task_id", "TASK"), Column("state", "STATE"), Column("done", "DONE"), Column("reason", "REASON"),
           Column("dag_id", "DAG", wide=True), Column("logical_date", "LOGICAL DATE", wide=True)]
#: Fields of what is printed.
FIELDS = ("dag_id", "run_id", "logical_date", "task_id", "state", "done", "reason")
#: Lines that the list of what is meant has at most, for people.
LINES = 30
#: Runs of which it is said what is new for them.
RUNS = 5


def scoped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which tasks beside the named ones are meant, and in which other runs."""
    for option in (
        click.option("--only-running", is_flag=True, help="Of these only those that run: they are stopped."),
        click.option("--only-failed", is_flag=True, help="Of these only those that failed, or did not run because of that."),
        click.option("--regex", metavar="REGEX", help="Only tasks in whose id this is found; TASK is * then."),
        click.option("--until", type=MOMENT, help="Of the other runs only those with this logical date or an earlier one."),
        click.option("--since", type=MOMENT, help="And the same tasks in the runs of the DAG with this logical date or a later one."),
        click.option("--future", is_flag=True, help="And the same tasks in all runs of the DAG with a later logical date."),
        click.option("--past", is_flag=True, help="And the same tasks in all runs of the DAG with an earlier logical date."),
        click.option("-d", "--downstream", is_flag=True, help="And all that depends on them."),
        click.option("-u", "--upstream", is_flag=True, help="And all that they depend on."),
    ):
        function = option(function)
    return function


def changing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of whatever changes many things."""
    function = click.option("-y", "--yes", is_flag=True, help="Do not ask.")(function)
    return click.option("--dry-run", is_flag=True, help="Only list what would be changed.")(function)


def clear(app: App, printer: Printer, services: Services, chosen: Sequence[Chosen], *, stops: bool, same_version: bool, dry_run: bool,
          yes: bool) -> int:
    """Show what would run again, and what is new for it, ask, and clear it; return the exit code."""
    if not same_version:
        _tell_news(services, chosen)
    if not _is_meant(app, printer, chosen, "runs again", "run again", dry_run=dry_run, yes=yes):
        return 0
    changed = reruns.clear(services.broker, services.engine, chosen, by=who(), stops=stops, same_version=same_version)
    return _outcome(app, printer, services, changed, "cleared")


def mark(app: App, printer: Printer, services: Services, chosen: Sequence[Chosen], state: TaskState, *, dry_run: bool, yes: bool) -> int:
    """Show what would get the state, ask, and mark it; return the exit code."""
    if not _is_meant(app, printer, chosen, f"becomes {state.value}", f"become {state.value}", dry_run=dry_run, yes=yes):
        return 0
    changed = reruns.mark(services.broker, services.engine, chosen, state, by=who())
    return _outcome(app, printer, services, changed, f"marked {state.value}")


def _tell_news(services: Services, chosen: Sequence[Chosen]) -> None:
    """Say what the latest version has that is new for these tasks: of some runs, for it is the same for most."""
    lines: dict[str, None] = {}
    for one in chosen[:RUNS]:
        shown = query.show(services.broker, services.engine, one.run.run_key)
        lines |= dict.fromkeys(rewrite.news(services.broker, services.engine, shown, one.tasks))
    for line in lines:
        output.note(line)


def _is_meant(app: App, printer: Printer, chosen: Sequence[Chosen], is_to: str, are_to: str, *, dry_run: bool, yes: bool) -> bool:
    """Show the list, and ask; tell whether it is to be done."""
    printer.check(FIELDS)
    count = sum(len(one.tasks) for one in chosen)
    if not chosen:
        output.note(f"no task {is_to}: none is in such a state")
    if dry_run or not chosen:
        printer.report([_row(one, task.task_id, done=False) for one in chosen for task in one.tasks], COLUMNS)
        if printer.shows_parts:
            for line in _lines(chosen):
                output.line(line)
        return False
    tasks = f"{count} task{'s' if count > 1 else ''} of {len(chosen)} run{'s' if len(chosen) > 1 else ''}"
    for line in _lines(chosen):
        output.note(line)
    confirm(app, f"{tasks} {are_to if count > 1 else is_to}", yes=yes)
    return True


def _lines(chosen: Sequence[Chosen]) -> list[str]:
    """Return a line for each run: the tasks and what state they are in."""
    tasks = [", ".join(f"{task.task_id} ({_state(one, task.task_id)})" for task in one.tasks) for one in chosen]
    lines = [f"{one.run.dag_id} {one.run.run_id}: {names}" for one, names in zip(chosen, tasks, strict=True)]
    return lines if len(lines) <= LINES else [*lines[:LINES], f"… and {len(lines) - LINES} more runs"]


def _state(one: Chosen, task_id: str) -> str:
    return one.states.get(task_id, TaskState.PENDING).value


def _row(one: Chosen, task_id: str, *, done: bool, reason: str = "") -> dict[str, Any]:
    return {"dag_id": one.run.dag_id, "run_id": one.run.run_id, "logical_date": one.run.logical_date, "task_id": task_id,
            "state": _state(one, task_id), "done": done, "reason": reason}


def _outcome(app: App, printer: Printer, services: Services, changed: Sequence[Changed], word: str) -> int:
    go_on(app, services)
    rows = []
    for one in changed:
        rows += [_row(one.done, task.task_id, done=True) for task in one.done.tasks]
        rows += [_row(one.refused, task.task_id, done=False, reason=one.why) for task in one.refused.tasks]
        which = f" in {one.run.run_id}" if len(changed) > 1 else ""
        if one.done.tasks:
            output.note(f"{word}{which}: {', '.join(task.task_id for task in one.done.tasks)}")
        if one.why:
            output.problem(f"rqflow: run {one.run.run_id}: {one.why}" if which else f"rqflow: {one.why}")
    printer.report(rows, COLUMNS)
    return Conflict.exit_code if any(one.why for one in changed) else 0
