"""rqflow token: what lets programs in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import click

from rqflow import clock
from rqflow.api.operation import LARGEST
from rqflow.api.tokens import CreateToken, ListTokens, OneToken, create_token, list_tokens, revoke_token
from rqflow.api.users import OneUser, get_user
from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.hub import asking
from rqflow.cli.output import Column, Printer
from rqflow.cli.types import COUNT, DURATION
from rqflow.cli.user import ROLE
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
    with asking(app) as ask:
        lasts = {"days": 0} if expires is None else {"seconds": _seconds(expires)}
        made = ask(create_token, CreateToken(name=name, role=Role(role) if role else None, username=username, **lasts))
    until = f"until {made.record.expires_at:%Y-%m-%d %H:%M:%S} UTC" if made.record.expires_at else "until it is revoked"
    output.note(f"token {made.record.id} of {made.record.username}, {made.record.role}, {until}; it is not shown again:")
    if printer.is_for_people and not printer.fields:
        output.line(made.token)
    else:
        printer.record({**_row(made.record), "token": made.token}, name="token")


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


def _seconds(expires: timedelta) -> int:
    """Return a length of time in whole seconds. Raises UsageError for one that no token lasts."""
    seconds = int(expires.total_seconds())
    if not 0 < seconds <= LARGEST:
        raise UsageError(f"--expires {expires}: a token lasts from a second to {timedelta(seconds=LARGEST).days // 365} years",
                         hint="Write it like 30d, or never.")
    return seconds


def _row(record: TokenRecord) -> Mapping[str, Any]:
    return {name: getattr(record, name) for name in output.fields_of(TokenRecord)} | {"state": record.state(clock.utcnow())}
