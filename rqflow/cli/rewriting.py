"""What the commands share that clear and mark tasks: the options of a scope, the list of what is meant, the question, and the outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import click

from rqflow.api.operation import Operation
from rqflow.api.reruns import Rerun, Reruns
from rqflow.cli import output
from rqflow.cli.app import App
from rqflow.cli.asking import confirm
from rqflow.cli.hub import asking
from rqflow.cli.output import Column, Printer
from rqflow.cli.types import MOMENT
from rqflow.exceptions import Conflict

COLUMNS = [Column("run_id", "RUN"), Column("task_id", "TASK"), Column("state", "STATE"), Column("done", "DONE"), Column("reason", "REASON"),
           Column("dag_id", "DAG", wide=True), Column("logical_date", "LOGICAL DATE", wide=True)]
#: Fields of what is printed.
FIELDS = ("dag_id", "run_id", "logical_date", "task_id", "state", "done", "reason")
#: Lines that the list of what is meant has at most, for people.
LINES = 30


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


class _Rewrite(Protocol):
    """What is asked of an operation that clears or marks tasks."""

    @property
    def dry_run(self) -> bool:
        """Only list what would be changed."""


I = TypeVar("I", bound=_Rewrite)  # noqa: E741 - input


@dataclass(frozen=True, slots=True)
class Words:
    """How a change is told: of one task, of several, and once it is done."""

    is_to: str
    are_to: str
    done: str


CLEAR = Words("runs again", "run again", "cleared")


def marked(state: str) -> Words:
    """Return how it is told that tasks get a state."""
    return Words(f"becomes {state}", f"become {state}", f"marked {state}")


def rewrite(app: App, printer: Printer, wanted: Operation[I, Reruns], asked: I, words: Words, *, yes: bool) -> int:
    """Show what an operation would change, and what is new for it, ask, and have it done, unless it is a dry run; return the exit code."""
    printer.check(FIELDS)
    with asking(app) as ask:
        planned = ask(wanted, replace(asked, dry_run=True))  # type: ignore[type-var]  # inputs are dataclasses
        for line in planned.news:
            output.note(line)
        if not _is_meant(app, printer, planned.tasks, words, dry_run=asked.dry_run, yes=yes):
            return 0
        done = ask(wanted, asked)
    return _outcome(printer, done.tasks, words.done)


def _is_meant(app: App, printer: Printer, tasks: Sequence[Rerun], words: Words, *, dry_run: bool, yes: bool) -> bool:
    """Show the list, and ask; tell whether it is to be done."""
    lines = _lines(tasks)
    if not tasks:
        output.note(f"no task {words.is_to}: none is in such a state")
    if dry_run or not tasks:
        printer.report(map(_row, tasks), COLUMNS)
        if printer.shows_parts:
            for line in lines:
                output.line(line)
        return False
    count, runs = len(tasks), len(_by_run(tasks))
    for line in lines:
        output.note(line)
    what = f"{count} task{'s' if count > 1 else ''} of {runs} run{'s' if runs > 1 else ''}"
    confirm(app, f"{what} {words.are_to if count > 1 else words.is_to}", yes=yes)
    return True


def _by_run(tasks: Iterable[Rerun]) -> dict[str, list[Rerun]]:
    found: dict[str, list[Rerun]] = {}
    for one in tasks:
        found.setdefault(one.run_key, []).append(one)
    return found


def _lines(tasks: Sequence[Rerun]) -> list[str]:
    """Return a line for each run: the tasks and what state they are in."""
    lines = [f"{own[0].dag_id} {own[0].run_id}: {', '.join(f'{one.task_id} ({one.state.value})' for one in own)}" for own in _by_run(tasks).values()]
    return lines if len(lines) <= LINES else [*lines[:LINES], f"… and {len(lines) - LINES} more runs"]


def _row(one: Rerun) -> dict[str, Any]:
    return {**{name: getattr(one, name) for name in FIELDS}, "state": one.state.value}


def _outcome(printer: Printer, tasks: Sequence[Rerun], word: str) -> int:
    by_run = _by_run(tasks)
    for own in by_run.values():
        run_id = own[0].run_id
        which = f" in {run_id}" if len(by_run) > 1 else ""
        if done := [one.task_id for one in own if one.done]:
            output.note(f"{word}{which}: {', '.join(done)}")
        for why in dict.fromkeys(one.reason for one in own if not one.done):
            output.problem(f"rqflow: run {run_id}: {why}" if which else f"rqflow: {why}")
    printer.report(map(_row, tasks), COLUMNS)
    return 0 if all(one.done for one in tasks) else Conflict.exit_code
