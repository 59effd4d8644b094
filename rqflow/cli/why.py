"""rqflow why: the one true reason why a task, or a run of a DAG, does not start, and what would lift it."""

from __future__ import annotations

from dataclasses import asdict

import click

from rqflow.actions.why import Why
from rqflow.actions.why_dag import WhyDag
from rqflow.api.dags import WhyNoRun, why_no_run
from rqflow.api.tasks import WhyRun, WhyTask, why, why_run
from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.hub import Ask, asking, zone_name
from rqflow.cli.output import Column, Printer
from rqflow.exceptions import NotFound

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
    with asking(app) as ask:
        if task_id is not None:
            _of_task(app, printer, ask, name, task_id)
        elif not _of_dag(app, printer, ask, name):
            _of_run(app, printer, ask, name)


def _of_task(app: App, printer: Printer, ask: Ask, name: str, task_id: str) -> None:
    printer.check(output.fields_of(Why))
    found = ask(why, WhyTask(run=name, task_id=task_id, tz=zone_name(app)))
    if printer.is_for_people and not printer.fields:
        output.line(f"{found.task_id} is {found.state.value}: {found.reason}")
        _lifted(found.lifted_by)
    else:
        printer.record(asdict(found), name="task_id")


def _of_dag(app: App, printer: Printer, ask: Ask, name: str) -> bool:
    """Tell of a DAG; False when there is none of this name."""
    try:
        found = ask(why_no_run, WhyNoRun(dag_id=name, tz=zone_name(app)))
    except NotFound:
        return False
    printer.check(output.fields_of(WhyDag))
    if printer.is_for_people and not printer.fields:
        output.line(f"{found.dag_id}: {found.reason}")
        _lifted(found.lifted_by)
    else:
        printer.record(asdict(found), name="dag_id")
    return True


def _of_run(app: App, printer: Printer, ask: Ask, name: str) -> None:
    printer.check(output.fields_of(Why))
    found = ask(why_run, WhyRun(run=name, tz=zone_name(app))).items
    if not found:
        output.note("each task of this run has ended")
    printer.records([{**asdict(one), "state": one.state.value} for one in found], _COLUMNS)


def _lifted(by: str) -> None:
    if by:
        output.line(f"What lifts it: {by}")
