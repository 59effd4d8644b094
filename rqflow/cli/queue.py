"""rqflow queue: where tasks wait for workers."""

from __future__ import annotations

from dataclasses import asdict

import click

from rqflow.actions import halting, steering
from rqflow.api.queues import RequeueFailed
from rqflow.api.queues import requeue_failed as requeue_failed_tasks
from rqflow.broker import control
from rqflow.broker.control import QueueStatus
from rqflow.cli import output, rewriting
from rqflow.cli.app import App, pass_app, who
from rqflow.cli.asking import confirm, go_on
from rqflow.cli.output import Column, Printer
from rqflow.deploy.services import open_services

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
    with open_services(app.settings) as services:
        printer.records([asdict(one) for one in control.queues(services.broker)], COLUMNS)


@queue.command()
@click.argument("names", metavar="QUEUE...", nargs=-1, required=True)
@output.listing
@pass_app
def pause(app: App, printer: Printer, names: tuple[str, ...]) -> None:
    """Let queues give no work; what runs goes on, and runs start as ever."""
    printer.check(output.fields_of(QueueStatus))
    with open_services(app.settings) as services:
        for name in names:
            steering.queue(services.broker, name)
        for name in names:
            halting.pause_queue(services.broker, services.engine, name, by=who())
            output.note(f"queue {name} is paused")
        printer.report([asdict(one) for one in control.queues(services.broker) if one.name in names], COLUMNS)


@queue.command()
@click.argument("names", metavar="QUEUE...", nargs=-1, required=True)
@output.listing
@pass_app
def resume(app: App, printer: Printer, names: tuple[str, ...]) -> None:
    """Let queues give work again."""
    printer.check(output.fields_of(QueueStatus))
    with open_services(app.settings) as services:
        for name in names:
            steering.queue(services.broker, name)
        for name in names:
            was_paused = halting.resume_queue(services.broker, services.engine, name, by=who())
            output.note(f"queue {name} {'gives work again' if was_paused else 'was not paused'}")
        go_on(app, services)
        printer.report([asdict(one) for one in control.queues(services.broker) if one.name in names], COLUMNS)


@queue.command()
@click.argument("name", metavar="QUEUE")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output.listing
@pass_app
def empty(app: App, printer: Printer, name: str, yes: bool) -> None:
    """Cancel the tasks that wait for a worker on a queue; what runs goes on."""
    printer.check(output.fields_of(steering.Held))
    with open_services(app.settings) as services:
        waiting = steering.queue(services.broker, name).waiting
        if waiting:
            confirm(app, f"{waiting} task{'s' if waiting > 1 else ''} of the queue {name} {'are' if waiting > 1 else 'is'} cancelled", yes=yes)
        cancelled = halting.empty_queue(services.broker, services.engine, name, by=who())
        go_on(app, services)
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
