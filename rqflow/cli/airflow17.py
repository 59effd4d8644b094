"""Commands of Airflow 1.7 with the options that they had there. Each becomes the words of its new command, which it says on stderr.

What is not one of Airflow's options goes on to the new command as it is, so that `-o json` works here too. `-sd`, a DAG file or a folder of
them, counts where a DAG is read from files; where it is looked up in the database it changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from rqflow import clock
from rqflow.actions import logs, survey
from rqflow.api.dags import OneDag, get_dag
from rqflow.api.runs import OneRun, get_run
from rqflow.cli import dag as dags
from rqflow.cli import output
from rqflow.cli import run as runs
from rqflow.cli import task as tasks
from rqflow.cli.app import App
from rqflow.cli.formerly import renamed
from rqflow.cli.hub import asking
from rqflow.cli.output import Column
from rqflow.cli.why import why_
from rqflow.exceptions import DagNotFound, NotFound, UsageError

_subdir = click.option("-sd", "--subdir", metavar="FILE|DIR", help="File or folder that has the DAG.")
_dag = click.argument("dag_id", metavar="DAG")
_task = click.argument("task_id", metavar="TASK")
_date = click.argument("date", metavar="DATE")


def _old(name: str, new: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a hidden command of a function; it says how it is called now."""

    def make(function: Callable[..., Any]) -> click.Command:
        def said(*args: Any, **given: Any) -> Any:
            renamed(name, new)
            return function(*args, **given)

        # Behind all others, whose decorators put the last one first.
        rest = click.Argument(["rest"], nargs=-1, type=click.UNPROCESSED, metavar="[OPTION]...")
        about = f"What Airflow's `{name}` did: now `rqflow {new}`."
        return click.Command(name, hidden=True, context_settings={"ignore_unknown_options": True}, help=about, callback=click.pass_context(said),
                             params=[*reversed(getattr(function, "__click_params__", [])), rest])

    return make


def _call(ctx: click.Context, command: click.Command, *words: str | Sequence[str]) -> Any:
    """Carry out another command with these words."""
    flat = [word for part in words for word in ([part] if isinstance(part, str) else part)]
    with command.make_context(command.name, flat, parent=ctx.parent) as own:
        return command.invoke(own)


def _place(app: App, dag_id: str, subdir: str | None) -> list[str]:
    """Return the words for a DAG|FILE argument: the DAG's name, or with -sd the file that has it, and the name in it."""
    if subdir is None:
        return [dag_id]
    if not Path(subdir).is_dir():
        return [subdir, "--dag", dag_id]
    for report in survey.survey([Path(subdir)], app.here):
        if any(version.dag_id == dag_id for version in report.versions):
            return [str(report.file), "--dag", dag_id]
    raise DagNotFound(f"no file in {subdir} has a DAG {dag_id}")


@_old("list_dags", "dag list")
@_subdir
@click.option("-r", "--report", is_flag=True, help="Say how long the files of -sd take to load.")
def list_dags(ctx: click.Context, subdir: str | None, report: bool, rest: tuple[str, ...]) -> None:
    """List the DAGs that were submitted, or those of files."""
    if subdir is None:
        if report:
            raise UsageError("-r reads files", hint="Name them with -sd.")
        _call(ctx, dags.list_, rest)
        return
    rows, since = [], clock.monotonic()
    for one in survey.survey([Path(subdir)], ctx.obj.here):
        took, since = clock.monotonic() - since, clock.monotonic()
        about = {"file": str(one.file), "seconds": round(took, 3)}
        rows += [{"dag_id": version.dag_id, "tasks": len(version.tasks), **about} for version in one.versions]
        for problem in one.errors:
            output.problem(problem)
    columns = [Column("dag_id", "DAG"), *([Column("file", "FILE"), Column("tasks", "TASKS"), Column("seconds", "SECONDS")] if report else [])]
    _call(ctx, _printing(rows, columns), rest)


def _printing(rows: Sequence[dict[str, Any]], columns: Sequence[Column]) -> click.Command:
    """Return a command that prints these, with -o and --fields."""
    @click.command("list_dags")
    @output.listing
    def show(printer: output.Printer) -> None:
        printer.records(sorted(rows, key=lambda row: str(row["dag_id"])), columns)

    return show


@_old("list_tasks", "task list")
@_subdir
@click.option("-t", "--tree", is_flag=True, help="Indent each task below one that it follows.")
@_dag
def list_tasks(ctx: click.Context, dag_id: str, subdir: str | None, tree: bool, rest: tuple[str, ...]) -> None:
    """List the tasks of a DAG."""
    _call(ctx, tasks.list_, _place(ctx.obj, dag_id, subdir), ["--tree"] if tree else [], rest)


@_old("pause", "dag pause")
@_subdir
@_dag
def pause(ctx: click.Context, dag_id: str, subdir: str | None, rest: tuple[str, ...]) -> None:  # noqa: ARG001 - paused in the database
    """Pause a DAG."""
    _call(ctx, dags.pause, dag_id, rest)


@_old("unpause", "dag unpause")
@_subdir
@_dag
def unpause(ctx: click.Context, dag_id: str, subdir: str | None, rest: tuple[str, ...]) -> None:  # noqa: ARG001 - the same
    """Let a DAG go on."""
    _call(ctx, dags.unpause, dag_id, rest)


@_old("trigger_dag", "run start")
@_subdir
@click.option("-r", "--run_id", metavar="ID", help="Name of this run.")
@click.option("-c", "--conf", metavar="JSON", help="dag_run.conf of this run.")
@click.option("-e", "--exec_date", metavar="DATE", help="Logical date of this run.")
@_dag
def trigger_dag(ctx: click.Context, dag_id: str, subdir: str | None, rest: tuple[str, ...], **asked: str | None) -> None:  # noqa: ARG001 - of its newest version
    """Start a run."""
    _call(ctx, runs.start, dag_id, *_given({"run_id": "--run-id", "conf": "--conf", "exec_date": "--at"}, asked), rest)


def _given(names: dict[str, str], asked: dict[str, str | None]) -> list[str]:
    """Return the words of those options that were given, under their new names."""
    return [word for name, new in names.items() if (value := asked[name]) is not None for word in (new, value)]


@_old("clear", "run clear")
@_subdir
@click.option("-t", "--task_regex", metavar="REGEX", help="Only tasks in whose id this is found.")
@click.option("-s", "--start_date", metavar="DATE", help="Only runs with this logical date or a later one.")
@click.option("-e", "--end_date", metavar="DATE", help="Only runs with this logical date or an earlier one.")
@click.option("-u", "--upstream", "flags", flag_value="-u", multiple=True, help="And all that these depend on.")
@click.option("-d", "--downstream", "flags", flag_value="-d", multiple=True, help="And all that depends on these.")
@click.option("-c", "--no_confirm", "flags", flag_value="--yes", multiple=True, help="Do not ask.")
@click.option("-f", "--only_failed", "flags", flag_value="--only-failed", multiple=True, help="Only what failed.")
@click.option("-r", "--only_running", "flags", flag_value="--only-running", multiple=True, help="Only what runs: it is stopped, and runs again.")
@click.option("-x", "--exclude_subdags", "flags", flag_value="--exclude-subdags", multiple=True, help="Not what is in sub-DAGs.")
@_dag
def clear(ctx: click.Context, dag_id: str, subdir: str | None, flags: tuple[str, ...], rest: tuple[str, ...], **asked: str | None) -> None:  # noqa: ARG001
    """Let tasks of many runs run again."""
    words = _given({"task_regex": "--regex", "start_date": "--since", "end_date": "--until"}, asked)
    _call(ctx, runs.clear, dag_id, words, flags, rest)


@_old("dag_state", "run show --fields state")
@_subdir
@_dag
@_date
def dag_state(ctx: click.Context, dag_id: str, date: str, subdir: str | None, rest: tuple[str, ...]) -> None:  # noqa: ARG001 - in the database
    """Print the state of the run of a DAG for a date, or None."""
    _call(ctx, _telling({"dag_id": dag_id, "date": date, "state": _state(ctx.obj, dag_id, date, None)}), rest)


@_old("task_state", "task show --fields state")
@_subdir
@_dag
@_task
@_date
def task_state(ctx: click.Context, dag_id: str, task_id: str, date: str, subdir: str | None, rest: tuple[str, ...]) -> None:  # noqa: ARG001 - the same
    """Print the state of a task in the run of its DAG for a date, or None."""
    _call(ctx, _telling({"dag_id": dag_id, "task_id": task_id, "date": date, "state": _state(ctx.obj, dag_id, date, task_id)}), rest)


def _telling(row: dict[str, str]) -> click.Command:
    """Return a command that prints the state as Airflow does, or with -o all of this."""
    @click.command("state")
    @output.listing
    def show(printer: output.Printer) -> None:
        if printer.shows_parts:
            output.line(row["state"])
        else:
            printer.record({name: None if value == "None" else value for name, value in row.items()}, name="state")

    return show


def _state(app: App, dag_id: str, date: str, task_id: str | None) -> str:
    """Return the state as Airflow prints it: None where there is no such run. Raises DagNotFound, TaskNotFound."""
    with asking(app) as ask:
        ask(get_dag, OneDag(dag_id=dag_id))
        try:
            found = ask(get_run, OneRun(run=f"{dag_id}@{date}"))
        except NotFound:
            return "None"
    return str(found.state.value if task_id is None else logs.task_of(found, task_id).state.value)


@_old("task_failed_deps", "why")
@_subdir
@_dag
@_task
@_date
def task_failed_deps(ctx: click.Context, dag_id: str, task_id: str, date: str, subdir: str | None, rest: tuple[str, ...]) -> None:  # noqa: ARG001
    """Say why a task does not run."""
    _call(ctx, why_, f"{dag_id}@{date}", task_id, rest)


@_old("render", "task render")
@_subdir
@_dag
@_task
@_date
def render(ctx: click.Context, dag_id: str, task_id: str, date: str, subdir: str | None, rest: tuple[str, ...]) -> None:
    """Show the template fields of a task for a date."""
    name, *which = _place(ctx.obj, dag_id, subdir)
    _call(ctx, tasks.render, name, task_id, date, which, rest)


@_old("test", "task test")
@_subdir
@click.option("-dr", "--dry_run", is_flag=True, help="Only render the template fields.")
@click.option("-tp", "--task_params", metavar="JSON", help="Values of params: a JSON object.")
@_dag
@_task
@_date
def test(ctx: click.Context, dag_id: str, task_id: str, date: str, subdir: str | None, dry_run: bool, task_params: str | None,
         rest: tuple[str, ...]) -> None:
    """Run one try of a task here and now."""
    name, *which = _place(ctx.obj, dag_id, subdir)
    if dry_run:
        _call(ctx, tasks.render, name, task_id, date, which, rest)
    else:
        _call(ctx, tasks.test, name, task_id, date, which, _params(task_params), rest)


def _params(text: str | None) -> list[str]:
    """Return the -p words of a JSON object."""
    if text is None:
        return []
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UsageError(f"-tp is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageError("-tp must be a JSON object")
    return [word for name, value in found.items() for word in ("-p", f"{name}={value if isinstance(value, str) else json.dumps(value)}")]


@_old("run", "task test")
@_subdir
@click.option("-m", "--mark_success", is_flag=True, help="Mark the task a success in the run of that date, and run nothing.")
@click.option("-f", "--force", is_flag=True, help="Whatever became of it before: always so here.")
@click.option("--pool", metavar="NAME", help="Here and now no pool is asked.")
@click.option("--cfg_path", metavar="FILE", help="Another configuration: `rqflow -c FILE` reads one.")
@click.option("-l", "--local", is_flag=True, help="Here and now: always so.")
@click.option("-A", "--ignore_all_dependencies", is_flag=True, help="Whatever it depends on: always so.")
@click.option("-i", "--ignore_dependencies", is_flag=True, help="Whatever it depends on: always so.")
@click.option("-I", "--ignore_depends_on_past", is_flag=True, help="Whatever it depends on: always so.")
@click.option("--ship_dag", is_flag=True, help="Versions are always shipped.")
@click.option("-p", "--pickle", metavar="ID", help="Nothing is pickled.")
@_dag
@_task
@_date
def run(ctx: click.Context, dag_id: str, task_id: str, date: str, subdir: str | None, mark_success: bool, rest: tuple[str, ...], **_: Any) -> None:
    """Run one try of a task here and now, whatever it depends on; or mark it a success."""
    if mark_success:
        _call(ctx, tasks.mark, f"{dag_id}@{date}", task_id, "success", "--yes", rest)
        return
    name, *which = _place(ctx.obj, dag_id, subdir)
    _call(ctx, tasks.test, name, task_id, date, which, rest)


@_old("delete_dag", "dag delete")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@_dag
def delete_dag(ctx: click.Context, dag_id: str, yes: bool, rest: tuple[str, ...]) -> None:
    """Delete a DAG."""
    _call(ctx, dags.delete, dag_id, ["--yes"] if yes else [], rest)
