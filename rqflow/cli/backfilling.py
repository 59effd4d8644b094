"""What `backfill start` does: asks, starts, watches with a bar on a terminal. Imports what the services need."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import timedelta
from typing import Any

import click

from rqflow.actions import backfill_view as view
from rqflow.actions.backfill import number_words
from rqflow.actions.backfill_view import Backfill
from rqflow.actions.follow import Deadline
from rqflow.api.backfills import (
    BackfillPlan,
    OneBackfill,
    PlanBackfill,
    PlannedDate,
    StartBackfill,
    get_backfill,
    plan_backfill,
    start_backfill,
)
from rqflow.api.dags import MOST
from rqflow.cli import backfill as commands
from rqflow.cli import output, show
from rqflow.cli.app import App
from rqflow.cli.following import Terminated, terminable
from rqflow.cli.hub import Ask, asking
from rqflow.cli.output import Printer, duration
from rqflow.exceptions import ServiceUnreachable, UsageError
from rqflow.states import BackfillState

#: Seconds between two looks at a hub elsewhere.
EVERY = 1.0


def preview(app: App, printer: Printer, wish: StartBackfill) -> None:
    """List the dates of a backfill and what would become of each; of very many only the first."""
    printer.check(commands.DATE_FIELDS)
    with asking(app) as ask:
        planned = _planned(ask, wish, most=min(app.here.scheduler.backfill_ask_above, MOST))
    found = planned.dates
    _tell(planned, wish)
    printer.records([_date_row(one, planned) for one in found], commands.DATE_COLUMNS)
    if planned.total > len(found):
        output.note(f"… and {planned.total - len(found):,} more")
    counts = {deed: sum(one.deed.value == deed for one in found) for deed in ("make", "rerun", "skip")}
    verb = "marked success" if wish.mark_success else "run"
    output.note(f"{number_words(planned.total, is_counted=planned.is_counted)}, {planned.max_active} active at a time; of "
                f"{'these' if planned.total == len(found) else f'the first {len(found):,}'} {counts['make']} would be {verb}, "
                f"{counts['rerun']} run again, {counts['skip']} left as they are. Nothing was started.")


def _planned(ask: Ask, wish: StartBackfill, *, most: int) -> BackfillPlan:
    given = {field.name: getattr(wish, field.name) for field in fields(StartBackfill)}
    return ask(plan_backfill, PlanBackfill(**given, limit=most))


def _date_row(one: PlannedDate, planned: BackfillPlan) -> dict[str, Any]:
    return {"logical_date": one.logical_date, "data_interval_start": one.data_interval_start, "data_interval_end": one.data_interval_end,
            "deed": one.deed.value, "run_id": one.run_id or None, "state": one.state.value if one.state else None,
            "reason": one.reason, "tasks": list(planned.tasks)}


def _tell(planned: BackfillPlan, wish: StartBackfill) -> None:
    for text in planned.notes:
        output.note(text)
    if wish.task_regex:
        output.note(f"tasks: {', '.join(planned.tasks)}")


def start(app: App, printer: Printer, wish: StartBackfill, *, watch: bool | None, timeout: timedelta | None, yes: bool) -> int:
    """Start a backfill, and watch it when `watch`, by default on a terminal; return the exit code. Raises RqflowError with what is wrong."""
    follows = sys.stderr.isatty() if watch is None else watch
    printer.check(output.fields_of(Backfill))
    with asking(app) as ask:
        planned = _planned(ask, wish, most=1)
        _tell(planned, wish)
        _ask(app, planned, yes=yes)
        begun = ask(start_backfill, wish)
        words = number_words(planned.total, is_counted=planned.is_counted)
        output.note(f"backfill {begun.id} of {begun.dag_id} started: {words}, {begun.max_active} active at a time")
        unled(app, begun)
        if follows:
            return watch_(app, ask, printer, begun.id, timeout=timeout)
        if printer.format != "table" or printer.fields:
            commands.details(printer, begun)
        return 0


def unled(app: App, found: Backfill) -> None:
    """Say that no scheduler carries a backfill on, where none is started for it."""
    is_embedded = not app.server and not app.settings.redis.url
    if not is_embedded and found.reason == view.UNLED:
        output.problem("warning: no scheduler is running here that carries it on: rqflow scheduler")


def _ask(app: App, planned: BackfillPlan, *, yes: bool) -> None:
    """Ask whether very many dates are meant; raises UsageError where nobody can be asked, Abort for a no."""
    most = app.here.scheduler.backfill_ask_above
    if yes or planned.total <= most:
        return
    dates = number_words(planned.total, is_counted=planned.is_counted)
    words = f"this backfill of {planned.dag_id} has {dates}, more than {most:,} (scheduler.backfill_ask_above)"
    if not (app.may_ask and sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(words, hint="Add --yes if that is meant; --dry-run lists the first of them.")
    click.confirm(f"{words}. Start it?", abort=True, err=True)


def watch_(app: App, ask: Ask, printer: Printer, number: int, *, timeout: timedelta | None) -> int:
    """Watch a backfill until its end, with a bar on a terminal; return the exit code. Ctrl-C and SIGTERM end the watching alone."""
    try:
        with terminable():
            ended = _bar(_snapshots(app, ask, number, timeout), printer)
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


def _snapshots(app: App, ask: Ask, number: int, timeout: timedelta | None) -> Iterator[Backfill]:
    """Yield a backfill again and again, the last time when it has ended, whatever does not answer meanwhile. Raises TimedOut."""
    deadline, said = Deadline(timeout), False
    while True:
        try:
            found = ask(get_backfill, OneBackfill(backfill=number))
        except ServiceUnreachable as error:
            if not said:
                output.problem(f"warning: {error.message}; it is asked again until it does")
            said = True
        else:
            said = False
            yield found
            if found.is_finished:
                return
        deadline.check(f"backfill {number}")
        deadline.sleep(EVERY if app.server else view.EVERY)


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
