"""rqflow token: what lets programs in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import click

from rqflow import clock
from rqflow.actions.people import tokens
from rqflow.actions.people.tokens import NewToken
from rqflow.api.tokens import CreateToken, ListTokens, OneToken, create_token, list_tokens, revoke_token
from rqflow.api.users import OneUser, get_user
from rqflow.cli import output
from rqflow.cli.app import App, pass_app, who
from rqflow.cli.hub import asking
from rqflow.cli.output import Column, Printer
from rqflow.cli.types import COUNT, DURATION
from rqflow.cli.user import ROLE
from rqflow.deploy.services import open_database
from rqflow.exceptions import UsageError
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
    made = _made(app, name, username, Role(role) if role else None, expires)
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
    with asking(app) as ask:
        if username is not None and not app.server:
            ask(get_user, OneUser(username=username))
        found = ask(list_tokens, ListTokens(username=username, everybody=username is None and not app.server, over=every)).items
    printer.records([_row(one) for one in found], COLUMNS)


@token.command()
@click.argument("number", metavar="ID", type=COUNT)
@output.listing
@pass_app
def revoke(app: App, printer: Printer, number: int) -> None:
    """Let a token let in nobody any more."""
    printer.check(FIELDS)
    with asking(app) as ask:
        record = ask(revoke_token, OneToken(number=number))
    output.note(f"token {number} ({record.name}) of {record.username} is revoked")
    printer.report([_row(record)], COLUMNS)


def _made(app: App, name: str, username: str | None, role: Role | None, expires: timedelta | None) -> NewToken:
    """Make a token. Raises NotFound, NotPermitted, and UsageError for a time that a hub elsewhere cannot be told."""
    if not app.server:
        with open_database(app.settings) as engine:
            return tokens.make(engine, username or who(), name=name, by=who(), role=role, lifetime=expires)
    days = expires.days if expires else 0
    if expires is not None and (expires != timedelta(days=days) or not days):
        raise UsageError(f"--expires {expires}: with --server it is a number of days", hint="Write it like 30d, or never.")
    with asking(app) as ask:
        made = ask(create_token, CreateToken(name=name, role=role, days=days, username=username))
    return NewToken(record=made.record, text=made.token)


def _row(record: TokenRecord) -> Mapping[str, Any]:
    return {name: getattr(record, name) for name in output.fields_of(TokenRecord)} | {"state": record.state(clock.utcnow())}
