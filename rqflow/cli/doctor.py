"""rqflow doctor: what may be wrong with this installation, or with a DAG, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict

import click

from rqflow.actions.verdict import Verdict
from rqflow.api.health import examine
from rqflow.api.operation import Nothing
from rqflow.api.standing import ExamineDag, examine_dag
from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.hub import asking, zone_name
from rqflow.cli.output import Column, Printer
from rqflow.deploy import doctor

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
        with asking(app) as ask:
            answers = ask(examine_dag, ExamineDag(dag_id=dag_id, task_id=task_id, tz=zone_name(app))).items
        printer.records([asdict(one) | {"verdict": one.verdict.value} for one in answers], ASKED)
        return 0 if all(one.verdict is not Verdict.PROBLEM for one in answers) else 1
    if app.server:
        with asking(app) as ask:
            found = list(ask(examine, Nothing()).items)
    else:
        found = doctor.examine(app.settings)
    printer.records([asdict(one) | {"verdict": one.verdict.value} for one in found], COLUMNS)
    return 0 if doctor.is_well(found) else 1
