"""rqflow backfill: past dates of a DAG are run, and how far that has come."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import click

from rqflow.actions import backfill_view as view
from rqflow.actions.backfill_view import Backfill
from rqflow.actions.trigger import read_conf
from rqflow.api.backfills import (
    ListBackfills,
    OneBackfill,
    StartBackfill,
    cancel_backfill,
    get_backfill,
    list_backfills,
    pause_backfill,
    resume_backfill,
)
from rqflow.api.dags import MOST
from rqflow.api.operation import Operation
from rqflow.cli import output, show
from rqflow.cli.app import App, pass_app
from rqflow.cli.hub import Ask, asking
from rqflow.cli.output import Column, Printer
from rqflow.cli.types import COUNT, DURATION, SCHEDULED_DATE
from rqflow.dag.backfill import Rerun
from rqflow.exceptions import NotFound, UsageError
from rqflow.states import BackfillState

#: Options by which a line is known that was written for Airflow 1.7.
OLD = {"-s", "--start_date", "-e", "--end_date"}
COLUMNS = [
    Column("id", "ID"), Column("dag_id", "DAG"), Column("state", "STATE"), Column("from_date", "FROM"), Column("to_date", "TO"),
    Column("total", "DATES"), Column("succeeded", "SUCCEEDED"), Column("failed", "FAILED"), Column("skipped", "SKIPPED"), Column("active", "ACTIVE"),
    Column("waiting", "WAITING"), Column("reason", "REASON"), Column("who", "WHO", wide=True), Column("rerun", "RERUN", wide=True),
    Column("max_active", "MAX ACTIVE", wide=True), Column("eta", "ETA", wide=True), Column("created_at", "CREATED", wide=True),
]
RUN_COLUMNS = [Column("run_id", "RUN"), Column("state", "STATE"), Column("started_at", "STARTED"), Column("ended_at", "ENDED")]
#: Fields of a date that --dry-run lists.
DATE_FIELDS = ("logical_date", "data_interval_start", "data_interval_end", "deed", "run_id", "state", "reason", "tasks")
DATE_COLUMNS = [Column("logical_date", "DATE"), Column("deed", "WHAT"), Column("run_id", "RUN"), Column("state", "STATE", wide=True),
                Column("reason", "WHY"), Column("tasks", "TASKS", wide=True, show=", ".join)]


class BackfillGroup(click.Group):
    """The group; what Airflow 1.7 wrote as `backfill DAG -s DATE -e DATE` becomes `backfill start`, and is watched to its end as there."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the new command before a line of Airflow 1.7."""
        if args and args[0] not in self.commands and any(word.partition("=")[0] in OLD or word[:2] in OLD for word in args):
            output.note("`rqflow backfill DAG -s DATE -e DATE` is now `rqflow backfill start DAG --from DATE --to DATE`")
            args = ["start", "--as-in-1.7", *args]
        return super().parse_args(ctx, args)


@click.group(cls=BackfillGroup)
def backfill() -> None:
    """Run past dates of a DAG, and see how far that has come.

    The scheduler carries a backfill on, whatever becomes of this command. BACKFILL is its number, or a DAG, whose newest one is meant.
    """


@backfill.command("start")
@click.argument("dag_id", metavar="DAG")
@click.option("-sd", "--subdir", "subdir", hidden=True, help="Airflow's; the DAG is one that was submitted.")
@click.option("-s", "--from", "--start_date", "first", type=SCHEDULED_DATE, help="First date; without a zone it is meant by the DAG's clock.")
@click.option("-e", "--to", "--end_date", "last", type=SCHEDULED_DATE, help="Last date, included.")
@click.option("--rerun", type=click.Choice([rerun.value for rerun in Rerun]), default=Rerun.MISSING.value, show_default=True,
              help="Dates that have a run: leave them, run again what failed, or all of them.")
@click.option("--max-active", type=COUNT, help="Runs of it at the same time; the DAG's max_active_runs when not given.")
@click.option("-B", "--reverse", "--run_backwards", "newest_first", is_flag=True, help="Begin with the last date.")
@click.option("-t", "--task-regex", "--task_regex", "task_regex", default="", metavar="REGEX",
              help="Only tasks in whose id this is found, and what they depend on.")
@click.option("-i", "--ignore-dependencies", "--ignore_dependencies", "alone", is_flag=True, help="With -t: not what they depend on.")
@click.option("-I", "--ignore-first-depends-on-past", "--ignore_first_depends_on_past", "ignores_first_past", is_flag=True,
              help="The tasks of the first date do not wait for the date before.")
@click.option("--pool", default="", help="Pool of all its tasks.")
@click.option("-m", "--mark-success", "--mark_success", "marks", is_flag=True, help="Record the dates as a success and run nothing.")
@click.option("-c", "--conf", metavar="JSON|@FILE", help="dag_run.conf of its runs: a JSON object.")
@click.option("-dr", "--dry-run", "--dry_run", "dry_run", is_flag=True, help="List the dates and what would become of them; start nothing.")
@click.option("--watch/--no-watch", default=None, help="Watch it until its end; the exit code is its result. Default on a terminal.")
@click.option("--wait", is_flag=True, help="The same, and say only what goes wrong, as -q does.")
@click.option("--timeout", type=DURATION, help="Stop watching after this time and exit 124; the backfill goes on.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask, however many dates there are.")
@click.option("--as-in-1.7", "as_before", is_flag=True, hidden=True)
@click.option("-l", "--local", "local", is_flag=True, hidden=True)
@click.option("-x", "--donot_pickle", "unpickled", is_flag=True, hidden=True)
@click.option("-a", "--include_adhoc", "adhoc", is_flag=True, hidden=True)
@output.listing
@pass_app
def start(app: App, /, printer: Printer, **given: Any) -> None:
    """Run the dates of a DAG's schedule from one to another, both included, as many at a time as may be active.

    Dates that have a run already are left as they are, unless --rerun says otherwise. That the DAG is paused does not matter.
    """
    from rqflow.cli import backfilling  # here: what starts processes is not needed for looking at backfills

    _check(given)
    names = {"dag_id": "dag_id", "first": "first", "last": "last", "reverse": "newest_first", "max_active": "max_active", "mark_success": "marks",
             "ignore_first_depends_on_past": "ignores_first_past", "task_regex": "task_regex", "ignore_dependencies": "alone", "pool": "pool"}
    wish = StartBackfill(rerun=Rerun(given["rerun"]), conf=read_conf(given["conf"]) if given["conf"] is not None else {},
                         **{name: given[option] for name, option in names.items()})
    if given["dry_run"]:
        backfilling.preview(app, printer, wish)
        return
    if given["wait"]:
        click.get_current_context().find_root().params["quiet"] = True
    click.get_current_context().exit(backfilling.start(
        app, printer, wish, watch=given["wait"] or given["watch"], timeout=given["timeout"], yes=given["yes"]))


def _check(given: dict[str, Any]) -> None:
    """Bring the options of Airflow 1.7 into shape, and raise UsageError for those that lack their partner."""
    if given["as_before"]:
        # One date stands for itself; and the command stays until the end.
        given["first"], given["last"] = given["first"] or given["last"], given["last"] or given["first"]
        given["watch"] = True if given["watch"] is None else given["watch"]
    for name, option in (("first", "--from"), ("last", "--to")):
        if given[name] is None:
            raise UsageError(f"{option} is missing", hint="Give the first date with --from and the last one with --to, which may be `now`.")
    if given["alone"] and not given["task_regex"]:
        output.note("-i means nothing without -t: all tasks are run")
    for name, words in (("local", "-l: its tasks are run by the workers that there are"), ("unpickled", "-x: no DAG is ever pickled"),
                        ("adhoc", "-a: no task is ad hoc")):
        if given[name]:
            output.note(f"{words}, with or without it")
    if given["timeout"] and not (given["watch"] or given["wait"]):
        raise UsageError("--timeout says how long is watched", hint="Add --watch or --wait.")


@backfill.command("list")
@click.option("--dag", "dag_id", help="Only backfills of this DAG.")
@click.option("--state", "states", multiple=True, type=click.Choice([state.value for state in BackfillState]),
              help="Only backfills in this state; repeatable.")
@click.option("-L", "--limit", type=COUNT, default=25, show_default=True, help="At most so many.")
@click.option("--all", "unlimited", is_flag=True, help="All of them.")
@output.listing
@pass_app
def list_(app: App, printer: Printer, dag_id: str | None, states: tuple[str, ...], limit: int, unlimited: bool) -> None:
    """List backfills, the newest first."""
    printer.check(name for name in output.fields_of(view.Backfill) if not name.endswith("_runs"))
    wanted = ListBackfills(dag_id=dag_id, state=[BackfillState(state) for state in states])
    with asking(app) as ask:
        found = _listed(ask, wanted, None if unlimited else limit)
    printer.records([{name: value for name, value in show.row(one).items() if not name.endswith("_runs")} for one in found], COLUMNS)


@backfill.command("show")
@click.argument("name", metavar="BACKFILL")
@click.option("--watch", is_flag=True, help="Watch it until its end; the exit code is its result.")
@click.option("--wait", is_flag=True, help="The same, and say only what goes wrong, as -q does.")
@click.option("--timeout", type=DURATION, help="Stop watching after this time and exit 124.")
@output.listing
@pass_app
def show_(app: App, printer: Printer, name: str, watch: bool, wait: bool, timeout: timedelta | None) -> None:
    """Show how far a backfill has come, what it waits for, and its active and failed runs."""
    from rqflow.cli import backfilling  # here: takes time that a mere look does not need

    if timeout and not (watch or wait):
        raise UsageError("--timeout says how long is watched", hint="Add --watch or --wait.")
    printer.check(output.fields_of(view.Backfill))
    if wait:
        click.get_current_context().find_root().params["quiet"] = True
    with asking(app) as ask:
        found = named(ask, name)
        if watch or wait:
            click.get_current_context().exit(backfilling.watch_(app, ask, printer, found.id, timeout=timeout))
    details(printer, found)


def _listed(ask: Ask, wanted: ListBackfills, most: int | None) -> list[Backfill]:
    """Return all backfills, or the first `most`, page by page."""
    found: list[Backfill] = []
    while True:
        page = ask(list_backfills, replace(wanted, limit=MOST if most is None else min(MOST, most - len(found))))
        found += page.items
        if page.next is None or (most is not None and len(found) >= most):
            return found
        wanted = replace(wanted, after=page.next)


def named(ask: Ask, name: str) -> Backfill:
    """Return the backfill of this number, or the newest one of a DAG of this name; raises NotFound."""
    if name.isascii() and name.isdecimal() and len(name) < 10:
        with suppress(NotFound):  # of a DAG, then
            return ask(get_backfill, OneBackfill(backfill=int(name)))
    found = ask(list_backfills, ListBackfills(dag_id=name, limit=1)).items
    if not found:
        raise NotFound(f"there is no backfill {name}", hint="`rqflow backfill list` shows them; the name of a DAG means its newest one.")
    return ask(get_backfill, OneBackfill(backfill=found[0].id))


def details(printer: Printer, found: view.Backfill) -> None:
    """Print a backfill: all of it for programs, its numbers and its runs that matter for people."""
    if not printer.shows_parts:
        printer.record(show.row(found), name="id")
        return
    head = {name: value for name, value in show.row(found).items() if not name.endswith("_runs") and value not in (None, "", {}, False)}
    if not found.is_counted:
        head["total"] = f"about {found.total:,}"
    head.pop("is_counted", None)
    printer.record({name: printer.cell(Column(name, ""), value) if isinstance(value, datetime) else value for name, value in head.items()}, name="id")
    for runs in (found.active_runs, found.failed_runs):
        if runs:
            printer.blank()
            printer.records([show.row(run) for run in runs], RUN_COLUMNS)


STEERED_FIELDS = ("id", "dag_id", "state", "changed")
STEERED_COLUMNS = [Column("id", "ID"), Column("dag_id", "DAG"), Column("state", "STATE"), Column("changed", "CHANGED")]


def _steering(name: str, act: Operation[OneBackfill, Backfill], stays: BackfillState | None, done: str, already: str, words: str) -> None:
    """Add a command that changes the state of backfills; one that is in the state `stays`, None: in any but paused, is not changed."""

    @click.argument("names", metavar="BACKFILL...", nargs=-1, required=True)
    @output.listing
    @pass_app
    def command(app: App, printer: Printer, names: tuple[str, ...]) -> None:
        from rqflow.cli import backfilling  # here: takes time that a mere look does not need

        printer.check(STEERED_FIELDS)
        rows = []
        with asking(app, carries=False) as ask:
            for before in [named(ask, one) for one in names]:
                now = ask(act, OneBackfill(backfill=before.id))
                is_news = before.state is BackfillState.PAUSED if stays is None else before.state is not stays
                output.note(f"backfill {now.id} of {now.dag_id}: {done if is_news else already}")
                rows.append({"id": now.id, "dag_id": now.dag_id, "state": now.state.value, "changed": is_news})
            backfilling.unled(app, now)
        printer.report(rows, STEERED_COLUMNS)

    backfill.command(name, help=words)(command)


_steering("pause", pause_backfill, BackfillState.PAUSED, "paused; its runs that were made go on", "was paused already",
          "Make no more runs of backfills; those that were go on.")
_steering("resume", resume_backfill, None, "goes on", "was not paused", "Let paused backfills go on.")
_steering("cancel", cancel_backfill, BackfillState.CANCELLING, "is being cancelled, with its runs that have not ended", "was being cancelled already",
          "End backfills, and cancel their runs that have not ended; those that have stay.")
