"""What `backfill start` does: asks, starts, watches with a bar on a terminal. Imports what the services need."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import click

from rqflow.actions import backfill as action
from rqflow.actions import backfill_view as view
from rqflow.actions.backfill import Planned, Wish
from rqflow.actions.backfill_view import Backfill
from rqflow.broker.lock import has_leader
from rqflow.cli import backfill as commands
from rqflow.cli import output, show
from rqflow.cli.app import App, who
from rqflow.cli.following import Terminated, terminable
from rqflow.cli.output import Printer, duration
from rqflow.dag.backfill import Choice
from rqflow.deploy import background
from rqflow.deploy.services import Services, open_services
from rqflow.exceptions import UsageError
from rqflow.states import BackfillState


def preview(app: App, printer: Printer, wish: Wish) -> None:
    """List the dates of a backfill and what would become of each; of very many only the first."""
    printer.check(commands.DATE_FIELDS)
    with open_services(app.settings) as services:
        planned = action.plan(services.broker, services.engine, wish)
        most = app.settings.scheduler.backfill_ask_above
        found = action.choices(services.engine, planned, limit=most)
    _tell(planned)
    printer.records([_date_row(one, planned) for one in found], commands.DATE_COLUMNS)
    if planned.total > len(found):
        output.note(f"… and {planned.total - len(found):,} more")
    counts = {deed: sum(one.deed.value == deed for one in found) for deed in ("make", "rerun", "skip")}
    verb = "marked success" if wish.marks else "run"
    output.note(f"{planned.number_words}, {wish.max_active or planned.version.max_active_runs} active at a time; of "
                f"{'these' if planned.total == len(found) else f'the first {len(found):,}'} {counts['make']} would be {verb}, "
                f"{counts['rerun']} run again, {counts['skip']} left as they are. Nothing was started.")


def _date_row(one: Choice, planned: Planned) -> dict[str, Any]:
    return {"logical_date": one.interval.logical_date, "data_interval_start": one.interval.start, "data_interval_end": one.interval.end,
            "deed": one.deed.value, "run_id": one.found.run_id if one.found else None, "state": one.found.state.value if one.found else None,
            "reason": one.reason, "tasks": list(planned.tasks)}


def _tell(planned: Planned) -> None:
    for text in planned.notes:
        output.note(text)
    if planned.wish.options.task_regex:
        output.note(f"tasks: {', '.join(planned.tasks)}")


def start(app: App, printer: Printer, wish: Wish, *, watch: bool | None, timeout: timedelta | None, yes: bool) -> int:
    """Start a backfill, and watch it when `watch`, by default on a terminal; return the exit code. Raises RqflowError with what is wrong."""
    follows = sys.stderr.isatty() if watch is None else watch
    printer.check(output.fields_of(Backfill))
    with open_services(app.settings, client_name="rqflow-backfill") as services:
        planned = action.plan(services.broker, services.engine, wish)
        _tell(planned)
        _ask(app, planned, yes=yes)
        record = action.start(services.engine, planned, by=who())
        output.note(f"backfill {record.id} of {record.dag_id} started: {planned.number_words}, {record.max_active} active at a time")
        if services.is_embedded:
            background.ensure(services, app.file)
        elif not has_leader(services.connection):
            output.problem("warning: no scheduler is running here that carries it on: rqflow scheduler")
        if follows:
            return watch_(services, printer, record.id, timeout=timeout)
        if printer.format != "table" or printer.fields:
            commands.details(printer, view.show(services.engine, record.id))
        return 0


def _ask(app: App, planned: Planned, *, yes: bool) -> None:
    """Ask whether very many dates are meant; raises UsageError where nobody can be asked, Abort for a no."""
    most = app.settings.scheduler.backfill_ask_above
    if yes or planned.total <= most:
        return
    words = f"this backfill of {planned.version.dag_id} has {planned.number_words}, more than {most:,} (scheduler.backfill_ask_above)"
    if not (app.may_ask and sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(words, hint="Add --yes if that is meant; --dry-run lists the first of them.")
    click.confirm(f"{words}. Start it?", abort=True, err=True)


def watch(app: App, services: Services, printer: Printer, number: int, *, timeout: timedelta | None) -> int:
    """Watch a backfill that there is until its end; return the exit code."""
    if services.is_embedded and not view.show(services.engine, number).is_finished:
        background.ensure(services, app.file)
    return watch_(services, printer, number, timeout=timeout)


def watch_(services: Services, printer: Printer, number: int, *, timeout: timedelta | None) -> int:
    """Watch a backfill until its end, with a bar on a terminal; return the exit code. Ctrl-C and SIGTERM end the watching alone."""
    try:
        with terminable():
            ended = _bar(view.snapshots(services.engine, number, timeout=timeout), printer)
    except KeyboardInterrupt as stop:
        output.note(f"\nNo longer watching; backfill {number} goes on.\n  watch it:   rqflow backfill show {number} --watch\n"
                    f"  cancel it:  rqflow backfill cancel {number}")
        return 143 if isinstance(stop, Terminated) else 130
    assert ended, "the last snapshot is that of the end"
    if not printer.shows_parts:
        commands.details(printer, ended)
    elif ended.failed_runs:
        printer.records([show.row(run) for run in ended.failed_runs], commands.RUN_COLUMNS)
    took = duration((ended.ended_at - ended.created_at).total_seconds() if ended.ended_at else None)
    output.note(f"backfill {number} of {ended.dag_id}: {ended.state.value} in {took}; {numbers(ended)}{f': {ended.reason}' if ended.reason else ''}")
    return 0 if ended.state is BackfillState.SUCCESS else 1


def numbers(one: Backfill) -> str:
    """Return how many dates have come how far, for people."""
    parts = ((one.succeeded, "succeeded"), (one.failed, "failed"), (one.skipped, "left as they were"), (one.active, "active"),
             (one.waiting, "waiting"))
    return ", ".join(f"{number:,} {words}" for number, words in parts if number) or "no date"


def _bar(snapshots: Iterable[Backfill], printer: Printer) -> Backfill | None:
    """Show snapshots until they end: as a bar on a terminal, elsewhere as a line for each change; with -q not at all. Return the last."""
    console = printer.console(stderr=True)
    if not console.is_terminal or output.is_quiet():
        return _lines(snapshots)
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # here: takes time that who is no terminal does not need

    last = None
    columns = (TextColumn("backfill {task.fields[number]} of {task.fields[dag]}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"),
               TextColumn("{task.fields[words]}", style="dim"), TimeElapsedColumn(), TextColumn("{task.fields[eta]}", style="dim"))
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=1, number="", dag="", words="", eta="")
        for last in snapshots:
            eta = f"until {last.eta.astimezone(printer.zone):%H:%M:%S}" if last.eta else ""
            words = f"{numbers(last)}{f'; {last.reason}' if last.reason else ''}"
            progress.update(bar, total=max(last.total, last.done), completed=last.done, number=last.id, dag=last.dag_id, words=words, eta=eta)
    return last


def _lines(snapshots: Iterable[Backfill]) -> Backfill | None:
    last, told = None, ""
    for last in snapshots:
        words = f"{last.state.value}: {numbers(last)}{f'; {last.reason}' if last.reason else ''}"
        if words != told:
            told = words
            output.note(words)
    return last
