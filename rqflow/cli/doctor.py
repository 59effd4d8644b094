"""rqflow doctor: what may be wrong with this installation, or with a DAG, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict

import click

from rqflow.actions import questions
from rqflow.actions.verdict import Verdict
from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.output import Column, Printer
from rqflow.deploy import doctor
from rqflow.deploy.services import open_services

COLUMNS = [Column("check", "CHECK"), Column("verdict", "VERDICT"), Column("detail", "DETAIL"), Column("remedy", "WHAT TO DO")]
ASKED = [Column("question", "QUESTION"), Column("verdict", "VERDICT"), Column("answer", "ANSWER"), Column("remedy", "WHAT TO DO")]


@click.command("doctor")
@click.argument("dag_id", metavar="[DAG]", required=False)
@click.argument("task_id", metavar="[TASK]", required=False)
@output.listing
@pass_app
def doctor_(app: App, printer: Printer, dag_id: str | None, task_id: str | None) -> int:
    """Check configuration, keys, disks, tunnels, database, Redis, clocks, scheduler, workers, DAG files and mail. Changes nothing.

    It exits 1 for a problem. With DAG, and TASK: walk through what people ask when it did not run as expected, with each answer and what to do.
    """
    if dag_id is not None:
        with open_services(app.settings) as services:
            answers = questions.ask(services.broker, services.engine, services.settings, dag_id, task_id, viewer=app.zone)
        printer.records([asdict(one) | {"verdict": one.verdict.value} for one in answers], ASKED)
        return 0 if all(one.verdict is not Verdict.PROBLEM for one in answers) else 1
    found = doctor.examine(app.settings)
    printer.records([asdict(one) | {"verdict": one.verdict.value} for one in found], COLUMNS)
    return 0 if doctor.is_well(found) else 1
