"""rqflow sla: what should have ended by now."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime

import click

from rqflow.api.slas import ListMisses, list_misses
from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.hub import asking, paged
from rqflow.cli.output import Column, Printer
from rqflow.cli.types import COUNT, MOMENT
from rqflow.store.sla import Miss

COLUMNS = [
    Column("task_id", "TASK"), Column("dag_id", "DAG"), Column("run_id", "RUN"),
    Column("logical_date", "LOGICAL DATE", wide=True), Column("due_at", "DUE"), Column("seen_at", "SEEN"),
]
_FIELDS = [name for name in output.fields_of(Miss) if name != "is_notified"]


@click.group()
def sla() -> None:
    """List the tasks of scheduled runs that did not end in their sla."""


@sla.command("list")
@click.option("--dag", "dag_id", help="Only tasks of this DAG.")
@click.option("--since", type=MOMENT, help="Only what was missed at or after this time.")
@click.option("-L", "--limit", type=COUNT, default=25, show_default=True, help="At most so many.")
@click.option("--all", "unlimited", is_flag=True, help="All of them.")
@output.listing
@pass_app
def list_(app: App, printer: Printer, dag_id: str | None, since: datetime | None, limit: int, unlimited: bool) -> None:
    """List the misses, the one seen last first."""
    printer.check(_FIELDS)
    wanted = ListMisses(dag_id=dag_id, since=since)
    with asking(app) as ask:
        found = paged(lambda after, some: ask(list_misses, replace(wanted, offset=int(after or 0), limit=some)), None if unlimited else limit)
    printer.records([{name: value for name, value in asdict(one).items() if name in _FIELDS} for one in found], COLUMNS)
