"""rqflow task: tasks of DAGs and of runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

import click

from rqflow import clock
from rqflow.actions import describe, select, trigger
from rqflow.api.tasks import (
    ClearTasks,
    ListTasks,
    MarkTasks,
    OneTask,
    RunNow,
    clear_tasks,
    get_task,
    list_tasks,
    mark_lost,
    mark_tasks,
    run_now,
)
from rqflow.cli import cancel, output, rewriting, show, trying
from rqflow.cli.app import App, pass_app
from rqflow.cli.cancel import TASK_FIELDS, kill, task_row
from rqflow.cli.definitions import TASK_COLUMNS, is_file, of_run, version_named
from rqflow.cli.hub import asking
from rqflow.cli.logs import task_logs
from rqflow.cli.output import Column, Printer
from rqflow.cli.types import COUNT, MOMENT
from rqflow.cli.why import why_
from rqflow.dag.params import with_given
from rqflow.dag.version import Version
from rqflow.deploy import local
from rqflow.exceptions import NotFound, RunNotFound, UsageError
from rqflow.states import TaskState

T = TypeVar("T")


class TaskGroup(click.Group):
    """The group; `task run` is what Airflow says for one try of a task, here and now."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command, the hidden one too."""
        if cmd_name != "run":
            return super().get_command(ctx, cmd_name)
        from rqflow.cli.airflow17 import run as old  # here: it imports this module

        return old


@click.group(cls=TaskGroup)
def task() -> None:
    """List, show, clear, mark, render and test tasks; read their logs.

    RUN is a run id, the unique beginning of one, DAG@latest, DAG@last-failed or DAG@2026-11-23T00:00.
    """


@task.command("list")
@click.argument("name", metavar="DAG|FILE|RUN")
@click.option("--dag", "dag_id", help="Which DAG, when the file has several.")
@click.option("-t", "--tree", is_flag=True, help="Indent each task below one that it follows.")
@click.option("--state", "states", multiple=True, type=click.Choice([state.value for state in TaskState]), help="Only tasks of a run in this state.")
@output.listing
@pass_app
def list_(app: App, printer: Printer, name: str, dag_id: str | None, tree: bool, states: tuple[str, ...]) -> None:
    """List the tasks of a DAG, of a file, or of a run with their states."""
    version = _definition(app, name) if dag_id is None else version_named(app, name, dag_id)
    if version is not None and states:
        raise UsageError(f"--state asks for the tasks of a run, and {name} is none", hint=f"{version.dag_id}@latest names its newest run.")
    if version is not None:
        rows = [describe.task_fields(version, spec) for spec in version.tasks]
        columns = [*TASK_COLUMNS] if not tree else [Column("shown", "TASK"), *TASK_COLUMNS[1:]]
        printer.records(describe.indented(rows) if tree else rows, columns)
        return
    with asking(app) as ask:
        found = _run_named(lambda: ask(list_tasks, ListTasks(run=name, state=[TaskState(state) for state in states])), name).items
    printer.records([show.task_row(one) for one in found], show.TASK_COLUMNS)


def _definition(app: App, name: str) -> Version | None:
    """Return the version of a DAG or FILE; None when `name` must be a run."""
    if "@" in name and not is_file(name):
        return None
    try:
        return version_named(app, name)
    except NotFound:
        if is_file(name):
            raise
        return None


def _run_named(ask: Callable[[], T], name: str) -> T:
    """Return what is asked about the run that a DAG|FILE|RUN argument names which is neither a DAG nor a file."""
    try:
        return ask()
    except NotFound as error:
        if "@" in name:
            raise
        raise RunNotFound(f"there is no DAG, file or run {name}", hint="`rqflow dag list` and `rqflow run list` show them.") from error


@task.command("show")
@click.argument("run_name", metavar="RUN")
@click.argument("task_id", metavar="TASK")
@click.option("--env", is_flag=True, help="Show the environment variables that rqflow adds for its tries.")
@click.option("--try", "number", type=COUNT, metavar="N", help="Show this try alone.")
@output.listing
@pass_app
def show_(app: App, printer: Printer, run_name: str, task_id: str, env: bool, number: int | None) -> None:
    """Show a task of a run with all its tries."""
    with asking(app) as ask:
        found = ask(get_task, OneTask(run=run_name, task_id=task_id))
        if env:
            version, run = of_run(ask, run_name)
            if run is not None:
                variables = app.masker.hide(local.surroundings(version, version.by_id[task_id], run, max(found.try_number, 1)))
                rows = [{"name": key, "value": value} for key, value in variables.items()]
                printer.records(rows, [Column("name", "NAME"), Column("value", "VALUE")])
                return
    if number is not None:
        tries = [one for one in found.tries if one.try_number == number]
        if not tries:
            raise NotFound(f"{task_id} of run {run_name} has had no try {number}")
        printer.record(show.row(tries[0]), name="try_number")
        return
    printer.record(show.row(found), name="task_id")
    if printer.shows_parts:
        printer.blank()
        printer.records([show.row(one) for one in found.tries], show.TRY_COLUMNS)
        show.calls(printer, found.callbacks)


@task.command("run-now")
@click.argument("run_name", metavar="RUN")
@click.argument("task_id", metavar="TASK")
@click.option("--same-version/--latest", help="As its last try was, or as the DAG says now (the default).")
@output.listing
@pass_app
def run_now_(app: App, printer: Printer, run_name: str, task_id: str, same_version: bool) -> None:
    """Start a task at once that waits for the delay of a retry or the next look of a sensor, or is parked.

    Parked it is for a slot of a pool, a limit, or the run before: that counts no more. It runs as the latest version of its DAG says.
    """
    printer.check(TASK_FIELDS)
    with asking(app) as ask:
        now = ask(run_now, RunNow(run=run_name, task_id=task_id, same_version=same_version))
    for line in now.news:
        output.note(line)
    output.note(f"{task_id} of run {now.run_id} is {now.state}")
    printer.report([task_row(now)], cancel.TASK_COLUMNS)


task.add_command(kill)


@task.command("mark-lost")
@click.argument("run_name", metavar="RUN")
@click.argument("task_id", metavar="TASK")
@output.listing
@pass_app
def mark_lost_(app: App, printer: Printer, run_name: str, task_id: str) -> None:
    """Declare lost what runs of a task on a machine that is gone; the task goes on as its on_lost says.

    Only for a task that is unreachable. Should its machine come back after all, what still runs there is ended, and its result is kept as
    history of its try.
    """
    printer.check(TASK_FIELDS)
    with asking(app) as ask:
        now = ask(mark_lost, OneTask(run=run_name, task_id=task_id))
    output.note(f"{task_id} of run {now.run_id} is lost; it is {now.state} now")
    printer.report([task_row(now)], cancel.TASK_COLUMNS)


task.add_command(why_)


@task.command("clear")
@click.argument("run_name", metavar="RUN")
@click.argument("selector", metavar="TASK")
@rewriting.scoped
@click.option("--same-version/--latest", help="As their last tries were, or as the DAG says now (the default).")
@rewriting.changing
@output.listing
@pass_app
def clear(app: App, /, printer: Printer, run_name: str, selector: str, same_version: bool, dry_run: bool, yes: bool, **asked: Any) -> None:
    """Let tasks of a run run again, with new tries; what was only derived from them is decided anew.

    They run as the latest version of the DAG says; where that is news for them, the difference is shown.

    Tasks that run now are left alone, unless --only-running is given, and all tasks of a run that is being cancelled; the exit code is then
    5. TASK is an id, a pattern, +x, x+, group:G or state:failed.
    """
    wanted = ClearTasks(run=run_name, task=selector, same_version=same_version, dry_run=dry_run, **asked)
    click.get_current_context().exit(rewriting.rewrite(app, printer, clear_tasks, wanted, rewriting.CLEAR, yes=yes))


@task.command("mark")
@click.argument("run_name", metavar="RUN")
@click.argument("selector", metavar="TASK")
@click.argument("state", type=click.Choice([TaskState.SUCCESS.value, TaskState.FAILED.value, TaskState.SKIPPED.value]))
@rewriting.scoped
@rewriting.changing
@output.listing
@pass_app
def mark(app: App, /, printer: Printer, run_name: str, selector: str, state: str, dry_run: bool, yes: bool, **asked: Any) -> None:
    """Give tasks of a run a state by hand; their downstream goes on by it. Those that run are stopped, and get it when they end."""
    wanted = MarkTasks(run=run_name, task=selector, state=state, dry_run=dry_run, **asked)
    click.get_current_context().exit(rewriting.rewrite(app, printer, mark_tasks, wanted, rewriting.marked(state), yes=yes))


task.add_command(task_logs, "logs")


@task.command()
@click.argument("name", metavar="DAG|FILE|RUN")
@click.argument("task_id", metavar="TASK")
@click.argument("date", type=MOMENT, required=False)
@click.option("--dag", "dag_id", help="Which DAG, when the file has several.")
@click.option("-p", "--param", "params", multiple=True, metavar="KEY=VALUE", help="Value of a DAG param, in place of the run's; repeatable.")
@click.option("--env", is_flag=True, help="Show the environment variables that rqflow adds for its first try, too.")
@output.listing
@pass_app
def render(app: App, /, printer: Printer, name: str, task_id: str, date: datetime | None, dag_id: str | None, params: tuple[str, ...],
           env: bool) -> None:
    """Show the template fields of a task as they are rendered for a logical date (now when none is given), or for a run."""
    version = _definition(app, name) if dag_id is None else version_named(app, name, dag_id)
    run = None
    if version is None:
        with asking(app) as ask:
            version, run = _run_named(lambda: of_run(ask, name), name)
        if run is None:
            raise UsageError(f"of run {name} too little is known to render anything")
    run = run or describe.run_at(version, date or clock.utcnow())
    given = trigger.read_params(params, version.params, version.param_specs)
    run = replace(run, params=with_given(run.params, {name: spec for name, spec in version.param_specs.items() if name in given}, given))
    task = version.tasks[select.one_task(version, task_id)]
    values = describe.rendered(version, task, run, unsafe=app.here.core.unsafe_templates, settings=app.here)
    values = app.masker.hide({**values, **(local.surroundings(version, task, run, 1) if env else {})})
    printer.records([{"field": key, "value": value} for key, value in values.items()], [Column("field", "FIELD"), Column("value", "VALUE")])


@task.command()
@click.argument("name", metavar="DAG|FILE")
@click.argument("task_id", metavar="TASK")
@click.argument("date", type=MOMENT, required=False)
@click.option("--dag", "dag_id", help="Which DAG, when the file has several.")
@click.option("-p", "--param", "params", multiple=True, metavar="KEY=VALUE", help="Value of a DAG param; repeatable.")
@click.option("--exit-code", "own_code", is_flag=True, help="End with the exit code of the task itself.")
@output.listing
@pass_app
def test(app: App, /, printer: Printer, name: str, task_id: str, date: datetime | None, dag_id: str | None, params: tuple[str, ...],
         own_code: bool) -> None:
    """Run one try of a task here and now, whatever it depends on; its log goes to stdout, nothing is recorded.

    With -o json and the like stdout has how it ended, and the log goes to stderr.
    """
    printer.check(trying.FIELDS)
    version = version_named(app, name, dag_id)
    spec = version.tasks[select.one_task(version, task_id)]
    with trying.trial(app, version, date=date, pairs=params, keep=False, echo=output.raw if printer.shows_parts else output.raw_note) as run:
        result = run.one_try(spec)
    output.note(f"{task_id}: {result.state.value}{f', {result.reason}' if result.reason else ''}")
    printer.report([trying.row(result)], trying.COLUMNS)
    good = result.state in {TaskState.SUCCESS, TaskState.SKIPPED}
    click.get_current_context().exit(result.exit_code if own_code and result.exit_code is not None else int(not good))
