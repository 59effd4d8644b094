"""rqflow doctor: what may be wrong with this installation, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict

import click

from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.output import Column, Printer
from rqflow.deploy import doctor

COLUMNS = [Column("check", "CHECK"), Column("verdict", "VERDICT"), Column("detail", "DETAIL"), Column("remedy", "WHAT TO DO")]


@click.command("doctor")
@output.listing
@pass_app
def doctor_(app: App, printer: Printer) -> int:
    """Check configuration, disks, tunnels, database, Redis, clocks, scheduler, workers, DAG files and mail; exits 1 for a problem.

    Nothing is changed.
    """
    found = doctor.examine(app.settings)
    printer.records([asdict(one) | {"verdict": one.verdict.value} for one in found], COLUMNS)
    return 0 if doctor.is_well(found) else 1
