"""rqflow why: the one true reason why a task does not run, and what would lift it."""

from __future__ import annotations

from dataclasses import asdict

import click

from rqflow.actions import query, select, why
from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.output import Printer
from rqflow.deploy.live import refusal
from rqflow.deploy.services import open_services


@click.command("why")
@click.argument("run_name", metavar="RUN")
@click.argument("task_id", metavar="TASK")
@output.listing
@pass_app
def why_(app: App, printer: Printer, run_name: str, task_id: str) -> None:
    """Say why a task of a run does not run, or is where it is, and what would lift it."""
    printer.check(output.fields_of(why.Why))
    with open_services(app.settings) as services:
        record = query.find_run(services.engine, run_name)
        version = query.version_of(services.broker, services.engine, record)
        found = why.task(services.broker, version, record.run_key, select.one_task(version, task_id), refusal=refusal(services))
    if printer.is_for_people and not printer.fields:
        output.line(f"{found.task_id} is {found.state.value}: {found.reason}")
        if found.lifted_by:
            output.line(f"What lifts it: {found.lifted_by}")
    else:
        printer.record(asdict(found), name="task_id")
