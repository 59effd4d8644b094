"""rqflow top: what goes on now, drawn again and again."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from rqflow import clock
from rqflow.actions import top as action
from rqflow.actions.top import Top
from rqflow.api.standing import ShowTop, show_top
from rqflow.cli import output, queue, worker
from rqflow.cli.app import App, pass_app
from rqflow.cli.hub import asking
from rqflow.cli.output import STYLES, Column, Printer, duration
from rqflow.cli.types import COUNT, DURATION
from rqflow.deploy import background
from rqflow.deploy.live import open_live
from rqflow.exceptions import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

TASK_COLUMNS = [
    Column("task_id", "TASK"), Column("run_id", "RUN"), Column("dag_id", "DAG"), Column("state", "STATE"), Column("try_number", "TRY"),
    Column("duration", "DURATION", show=duration), Column("worker", "WORKER"), Column("queue", "QUEUE", wide=True),
    Column("started_at", "STARTED", wide=True),
]
#: The shortest time between two looks.
LEAST = timedelta(milliseconds=100)


@click.command()
@click.option("--once", is_flag=True, help="Print it once; so it is where nobody watches, and with any other output than table.")
@click.option("--interval", type=DURATION, default="1s", show_default=True, help="Time between two looks.")
@click.option("-L", "--limit", type=COUNT, default=200, show_default=True, help="At most so many running tasks.")
@output.listing
@pass_app
def top(app: App, printer: Printer, once: bool, interval: timedelta, limit: int) -> None:
    """Watch workers, queues and running tasks, those first that have run longest; q or Ctrl-C ends it."""
    printer.check(output.fields_of(Top))
    if interval < LEAST:
        raise UsageError(f"--interval: {interval.total_seconds():g} s is too short", hint=f"At least {LEAST.total_seconds():g}s.")
    with _looking(app, limit) as look:
        if once or not sys.stdout.isatty() or not printer.shows_parts:
            _print(printer, look())
        else:
            _watch(look, printer, interval.total_seconds())


@contextmanager
def _looking(app: App, limit: int) -> Iterator[Callable[[], Top]]:
    """Give what looks: at Redis alone, or at a hub elsewhere."""
    if app.server:
        with asking(app) as ask:
            yield lambda: ask(show_top, ShowTop(limit=limit))
        return
    with open_live(app.settings, client_name="rqflow-top") as live:
        yield lambda: action.look(live.broker, lambda: background.live_workers(live), limit)


def _print(printer: Printer, found: Top) -> None:
    if not printer.shows_parts:
        printer.record(asdict(found), name="at")
        return
    output.line(headline(found))
    for rows, columns in ((found.workers, worker.COLUMNS), (found.queues, queue.COLUMNS), (found.tasks, TASK_COLUMNS)):
        printer.blank()
        printer.records(map(asdict, rows), columns)


def headline(found: Top) -> str:
    """Return all of it in one line."""
    slots = sum(one.slots for one in found.workers)
    waiting = sum(one.waiting for one in found.queues)
    return (f"{found.at:%Y-%m-%d %H:%M:%S} UTC: {_count(found.runs, 'run')}, {_count(found.running, 'task')} running in "
            f"{_count(slots, 'slot')} of {_count(len(found.workers), 'worker')}, {waiting} waiting")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _watch(look: Callable[[], Top], printer: Printer, interval: float) -> None:
    """Draw it until q is pressed, or until Ctrl-C, which raises KeyboardInterrupt."""
    from rich.live import Live as Screen  # here: not needed where it is printed once

    console = printer.console()
    with _keys() as pressed, Screen(console=console, screen=True, auto_refresh=False) as screen:
        while True:
            screen.update(drawn(look(), printer, height=console.height), refresh=True)
            until = clock.monotonic() + interval
            while (left := until - clock.monotonic()) > 0:
                if "q" in pressed(left).lower():
                    return


def _nothing(seconds: float) -> str:
    clock.sleep(seconds)
    return ""


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Give a function that waits so many seconds for a key and returns it; "" when none was pressed. Without a terminal on stdin none ever is."""
    if not sys.stdin.isatty():
        yield _nothing
        return
    before = termios.tcgetattr(sys.stdin)

    def pressed(seconds: float) -> str:
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        return os.read(sys.stdin.fileno(), 64).decode(errors="replace") if ready else ""

    try:
        tty.setcbreak(sys.stdin)
        yield pressed
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def drawn(found: Top, printer: Printer, *, height: int) -> RenderableType:
    """Return the screen: workers and queues as far as a third of it goes each, tasks in what is left."""
    from rich.console import Group  # here: see _watch
    from rich.text import Text

    third = max((height - 8) // 3, 2)
    parts: list[RenderableType] = [Text(headline(found), style="bold")]
    left = height - 2
    for rows, columns, what in ((found.workers, worker.COLUMNS, "workers"), (found.queues, queue.COLUMNS, "queues")):
        parts += [Text(""), _table(printer, [asdict(one) for one in rows[:third]], columns, len(rows) - third, what)]
        left -= min(len(rows), third) + 2 + (len(rows) > third)
    room = max(left - 3, 1)
    parts += [Text(""), _table(printer, [asdict(one) for one in found.tasks[:room]], TASK_COLUMNS, found.running - room, "tasks")]
    return Group(*parts)


def _table(printer: Printer, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], hidden: int, what: str) -> RenderableType:
    from rich.table import Table  # here: see _watch
    from rich.text import Text

    shown = [column for column in columns if not column.wide]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in shown:
        table.add_column(column.title, no_wrap=True, overflow="ellipsis")
    for row in rows:
        texts = [printer.cell(column, row[column.key]) for column in shown]
        table.add_row(*(Text(text, style=STYLES.get(text, "")) for text in texts))
    if hidden > 0:
        table.add_row(Text(f"… and {hidden} more {what}", style="dim"))
    return table
