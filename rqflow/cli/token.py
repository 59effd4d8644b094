"""rqflow token: what lets programs in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import click

from rqflow import clock
from rqflow.actions.people import tokens, users
from rqflow.cli import output
from rqflow.cli.app import App, pass_app, who
from rqflow.cli.output import Column, Printer
from rqflow.cli.types import COUNT, DURATION
from rqflow.cli.user import ROLE
from rqflow.deploy.services import open_database
from rqflow.security.roles import Role
from rqflow.store.tokens import TokenRecord

COLUMNS = [
    Column("id", "ID"), Column("username", "USER"), Column("name", "NAME"), Column("role", "ROLE"), Column("state", "STATE"),
    Column("expires_at", "UNTIL"), Column("last_used_at", "LAST USE"), Column("created_at", "MADE", wide=True),
    Column("revoked_at", "REVOKED", wide=True),
]
FIELDS = (*output.fields_of(TokenRecord), "state")
_NEVER = "never"


class _Lifetime(click.ParamType[timedelta | None]):
    """A duration, or never."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta | None:
        """Return the length of time, None for never; fails as a usage error."""
        return None if value == _NEVER else DURATION.convert(value, param, ctx)


@click.group()
def token() -> None:
    """Make, list and revoke tokens, by which programs use the API as a person: `Authorization: Bearer rqf_…`, or with the name as Basic."""


@token.command()
@click.argument("name")
@click.option("--user", "username", help="Whose it is; the account that calls when not given.")
@click.option("--scope", "--role", "role", type=ROLE, help="Most that it may do; what its person may when not given.")
@click.option("--expires", type=_Lifetime(), default="90d", show_default=True, metavar="DURATION|never", help="How long it lets in.")
@output.listing
@pass_app
def create(app: App, printer: Printer, name: str, username: str | None, role: str | None, expires: timedelta | None) -> None:
    """Make a token, and print it: it is shown this once. NAME says what it is for."""
    printer.check((*FIELDS, "token"))
    with open_database(app.settings) as engine:
        made = tokens.make(engine, username or who(), name=name, by=who(), role=Role(role) if role else None, lifetime=expires)
    until = f"until {made.record.expires_at:%Y-%m-%d %H:%M:%S} UTC" if made.record.expires_at else "until it is revoked"
    output.note(f"token {made.record.id} of {made.record.username}, {made.record.role}, {until}; it is not shown again:")
    if printer.is_for_people and not printer.fields:
        output.line(made.text)
    else:
        printer.record({**_row(made.record), "token": made.text}, name="token")


@token.command("list")
@click.option("--user", "username", help="Only tokens of this person.")
@click.option("--all", "every", is_flag=True, help="Also those that are over.")
@output.listing
@pass_app
def list_(app: App, printer: Printer, username: str | None, every: bool) -> None:
    """List the tokens, without what lets in."""
    printer.check(FIELDS)
    with open_database(app.settings) as engine:
        if username is not None:
            users.get(engine, username)
        rows = [_row(one) for one in tokens.list_all(engine, username=username)]
    printer.records([row for row in rows if every or row["state"] == "active"], COLUMNS)


@token.command()
@click.argument("number", metavar="ID", type=COUNT)
@output.listing
@pass_app
def revoke(app: App, printer: Printer, number: int) -> None:
    """Let a token let in nobody any more."""
    printer.check(FIELDS)
    with open_database(app.settings) as engine:
        record = tokens.revoke(engine, number, by=who())
    output.note(f"token {number} ({record.name}) of {record.username} is revoked")
    printer.report([_row(record)], COLUMNS)


def _row(record: TokenRecord) -> Mapping[str, Any]:
    return asdict(record) | {"state": record.state(clock.utcnow())}
