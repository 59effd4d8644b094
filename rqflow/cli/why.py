"""rqflow why: the one true reason why a task, or a run of a DAG, does not start, and what would lift it."""

from __future__ import annotations

from dataclasses import asdict

import click

from rqflow.actions import query, select, why, why_dag
from rqflow.broker.faults import refusal
from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.output import Column, Printer
from rqflow.deploy.services import Services, open_services
from rqflow.exceptions import DagNotFound

_COLUMNS = [Column("task_id", "TASK"), Column("state", "STATE"), Column("reason", "REASON"), Column("lifted_by", "WHAT LIFTS IT")]


@click.command("why")
@click.argument("name", metavar="RUN|DAG")
@click.argument("task_id", metavar="[TASK]", required=False)
@output.listing
@pass_app
def why_(app: App, printer: Printer, name: str, task_id: str | None) -> None:
    """Say why a task of a run does not run, or is where it is, and what would lift it.

    Without TASK: of a run, why each of its tasks that have not ended is where it is; of a DAG, why no run of it starts.
    """
    with open_services(app.settings) as services:
        if task_id is not None:
            _of_task(app, printer, services, name, task_id)
        elif not _of_dag(app, printer, services, name):
            _of_run(app, printer, services, name)


def _of_task(app: App, printer: Printer, services: Services, name: str, task_id: str) -> None:
    printer.check(output.fields_of(why.Why))
    record = query.find_run(services.engine, name)
    version = query.version_of(services.broker, services.engine, record)
    found = why.task(services.broker, version, record.run_key, select.one_task(version, task_id), refusal=refusal(services.connection),
                     viewer=app.zone)
    if printer.is_for_people and not printer.fields:
        output.line(f"{found.task_id} is {found.state.value}: {found.reason}")
        _lifted(found.lifted_by)
    else:
        printer.record(asdict(found), name="task_id")


def _of_dag(app: App, printer: Printer, services: Services, name: str) -> bool:
    """Tell of a DAG; False when there is none of this name."""
    try:
        found = why_dag.dag(services.broker, services.engine, name, app.zone)
    except DagNotFound:
        return False
    printer.check(output.fields_of(why_dag.WhyDag))
    if printer.is_for_people and not printer.fields:
        output.line(f"{found.dag_id}: {found.reason}")
        _lifted(found.lifted_by)
    else:
        printer.record(asdict(found), name="dag_id")
    return True


def _of_run(app: App, printer: Printer, services: Services, name: str) -> None:
    printer.check(output.fields_of(why.Why))
    record = query.find_run(services.engine, name)
    version = query.version_of(services.broker, services.engine, record)
    found = why.run(services.broker, version, record.run_key, refusal=refusal(services.connection), viewer=app.zone)
    printer.records([{**asdict(one), "state": one.state.value} for one in found], _COLUMNS)


def _lifted(by: str) -> None:
    if by:
        output.line(f"What lifts it: {by}")
