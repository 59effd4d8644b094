"""rqflow audit: what people did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import click

from rqflow.actions.model import plain
from rqflow.actions.people.audit import Deed
from rqflow.api.audit import ListDeeds, list_deeds
from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.hub import asking, paged
from rqflow.cli.output import Column, Printer
from rqflow.cli.types import COUNT, MOMENT


def _said(given: Mapping[str, Any]) -> str:
    """Return what a deed was done with as people read it: without what was left empty."""
    return ", ".join(f"{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
                     for name, value in given.items() if value not in (None, "", [], {}))


COLUMNS = [
    Column("at", "WHEN"), Column("who", "WHO"), Column("event", "WHAT"), Column("dag_id", "DAG"), Column("run_key", "RUN", wide=True),
    Column("task_id", "TASK", wide=True), Column("detail", "WITH", show=_said),
]



@click.group()
def audit() -> None:
    """List what people did: logins, users, tokens, runs that they started, cleared, cancelled …"""


@audit.command("list")
@click.option("--since", type=MOMENT, help="Only what was done at or after this time.")
@click.option("--until", type=MOMENT, help="Only what was done before this time.")
@click.option("--who", "by", metavar="NAME", help="Only what this person did.")
@click.option("--event", metavar="NAME", help="Only this deed: login_failed, paused …")
@click.option("--dag", "dag_id", metavar="DAG", help="Only what was done to this DAG.")
@click.option("-L", "--limit", type=COUNT, default=50, show_default=True, help="At most so many.")
@click.option("--all", "unlimited", is_flag=True, help="All of them.")
@output.listing
@pass_app
def list_(app: App, printer: Printer, since: datetime | None, until: datetime | None, by: str | None, event: str | None, dag_id: str | None,
          limit: int, unlimited: bool) -> None:
    """List the deeds, the last one first."""
    printer.check(output.fields_of(Deed))
    wanted = ListDeeds(since=since, until=until, who=by, event=event, dag_id=dag_id)
    with asking(app) as ask:
        found = paged(lambda after, some: ask(list_deeds, replace(wanted, after=after, limit=some)), None if unlimited else limit)
    printer.records([plain(one) for one in found], COLUMNS)
