"""rqflow queue: where tasks wait for workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from rqflow.actions import steering
from rqflow.api.operation import Nothing
from rqflow.api.queues import OneQueue, RequeueFailed, empty_queue, list_queues, pause_queue, resume_queue
from rqflow.api.queues import requeue_failed as requeue_failed_tasks
from rqflow.broker.control import QueueStatus
from rqflow.cli import output, rewriting
from rqflow.cli.app import App, pass_app
from rqflow.cli.asking import confirm
from rqflow.cli.hub import Ask, asking
from rqflow.cli.output import Column, Printer

COLUMNS = [Column("name", "QUEUE"), Column("waiting", "WAITING"), Column("running", "RUNNING"), Column("failed", "FAILED"),
           Column("workers", "WORKERS"), Column("paused_since", "PAUSED SINCE"), Column("paused_by", "BY")]
TASK_COLUMNS = [Column("run_id", "RUN"), Column("task_id", "TASK"), Column("dag_id", "DAG")]


@click.group()
def queue() -> None:
    """List, pause and empty queues; run again what has failed there."""


@queue.command("list")
@output.listing
@pass_app
def list_(app: App, printer: Printer) -> None:
    """List the queues with the tasks that wait, run and have failed there, of runs that Redis has, and the live workers that serve them."""
    printer.check(output.fields_of(QueueStatus))
    with asking(app) as ask:
        printer.records(_rows(ask), COLUMNS)


def _rows(ask: Ask, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    return [{name: getattr(one, name) for name in output.fields_of(QueueStatus)} for one in ask(list_queues, Nothing()).items
            if names is None or one.name in names]


def _unknown_first(ask: Ask, names: Sequence[str]) -> list[str]:
    """Return the names, before all others those that there are not: about these is complained before anything is done."""
    known = {one.name for one in ask(list_queues, Nothing()).items}
    return sorted(names, key=known.__contains__)


@queue.command()
@click.argument("names", metavar="QUEUE...", nargs=-1, required=True)
@output.listing
@pass_app
def pause(app: App, printer: Printer, names: tuple[str, ...]) -> None:
    """Let queues give no work; what runs goes on, and runs start as ever."""
    printer.check(output.fields_of(QueueStatus))
    with asking(app) as ask:
        for name in _unknown_first(ask, names):
            ask(pause_queue, OneQueue(queue=name))
            output.note(f"queue {name} is paused")
        printer.report(_rows(ask, names), COLUMNS)


@queue.command()
@click.argument("names", metavar="QUEUE...", nargs=-1, required=True)
@output.listing
@pass_app
def resume(app: App, printer: Printer, names: tuple[str, ...]) -> None:
    """Let queues give work again."""
    printer.check(output.fields_of(QueueStatus))
    with asking(app) as ask:
        for name in _unknown_first(ask, names):
            done = ask(resume_queue, OneQueue(queue=name))
            output.note(f"queue {name} {'gives work again' if done.changed else 'was not paused'}")
        printer.report(_rows(ask, names), COLUMNS)


@queue.command()
@click.argument("name", metavar="QUEUE")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output.listing
@pass_app
def empty(app: App, printer: Printer, name: str, yes: bool) -> None:
    """Cancel the tasks that wait for a worker on a queue; what runs goes on."""
    printer.check(output.fields_of(steering.Held))
    with asking(app) as ask:
        waiting = sum(one.waiting for one in ask(list_queues, Nothing()).items if one.name == name)
        if waiting:
            confirm(app, f"{waiting} task{'s' if waiting > 1 else ''} of the queue {name} {'are' if waiting > 1 else 'is'} cancelled", yes=yes)
        cancelled = ask(empty_queue, OneQueue(queue=name)).items
    output.note(f"{len(cancelled)} task{'s' if len(cancelled) != 1 else ''} cancelled")
    printer.report([asdict(one) for one in cancelled], TASK_COLUMNS)


@queue.command("requeue-failed")
@click.argument("name", metavar="QUEUE")
@rewriting.changing
@output.listing
@pass_app
def requeue_failed(app: App, printer: Printer, name: str, dry_run: bool, yes: bool) -> None:
    """Let the tasks of a queue run again that have failed, of runs that Redis has; `run clear DAG --state failed` takes older ones too."""
    asked = RequeueFailed(queue=name, dry_run=dry_run)
    click.get_current_context().exit(rewriting.rewrite(app, printer, requeue_failed_tasks, asked, rewriting.CLEAR, yes=yes))
