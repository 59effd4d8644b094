"""rqflow health: whether the parts of a system live, for probes."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

import click

from rqflow.api.health import ShowHealth, get_health
from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.hub import asking
from rqflow.cli.output import Column, Printer
from rqflow.cli.types import DURATION
from rqflow.deploy import health
from rqflow.deploy.health import COMPONENTS, Health

COLUMNS = [Column("component", "COMPONENT"), Column("state", "STATE"), Column("heartbeat", "HEARTBEAT"), Column("detail", "DETAIL")]


@click.command("health")
@click.option("--component", "components", multiple=True, type=click.Choice(COMPONENTS), help="Look at this part alone; repeatable.")
@click.option("--max-age", type=DURATION, metavar="D", help="A worker whose last sign of life is older does not count; worker.lease when not given.")
@output.listing
@pass_app
def health_(app: App, printer: Printer, components: tuple[str, ...], max_age: timedelta | None) -> int:
    """Tell whether Redis, database, scheduler and workers live; exits 1 when one of those that are asked for does not. Starts nothing."""
    if app.server:
        with asking(app) as ask:
            found = ask(get_health, ShowHealth(component=list(components), max_age=max_age.total_seconds() if max_age else None)).items
    else:
        found = tuple(health.look(app.settings, components or None, max_age=max_age))
    printer.records([_row(one) for one in found], COLUMNS)
    return 0 if all(one.is_healthy for one in found) else 1


def _row(one: Health) -> dict[str, object]:
    return asdict(one) | {"state": "healthy" if one.is_healthy else "unhealthy"}
