"""rqflow db: the database of the history."""

from __future__ import annotations

import sys

import click

from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.deploy import services
from rqflow.exceptions import UsageError
from rqflow.store import schema


@click.group()
def db() -> None:
    """Upgrade, check and reset the database that database.url names (SQLite in the state folder by default)."""


@db.command()
@pass_app
def upgrade(app: App) -> None:
    """Bring the database to the revision of this rqflow; makes the tables of an empty one."""
    with services.any_database(app.settings) as engine:
        schema.upgrade(engine)
        output.line(schema.current(engine) or "")


@db.command()
@pass_app
def check(app: App) -> None:
    """Say whether the database answers and has the right revision (exit 5: it needs `rqflow db upgrade`; 7: no answer)."""
    with services.any_database(app.settings) as engine:
        schema.check(engine)
        output.line(schema.current(engine) or "")


@db.command()
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@pass_app
def reset(app: App, yes: bool) -> None:
    """Delete the whole history and make empty tables."""
    if not yes:
        if not app.may_ask or not sys.stdin.isatty():
            raise UsageError("reset deletes the whole history", hint="Add --yes if that is meant.")
        click.confirm("Delete the whole history?", abort=True)
    with services.any_database(app.settings) as engine:
        schema.reset(engine)
    output.note("The history is empty now.")
