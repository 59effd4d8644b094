"""rqflow user: people who may use the page and the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from rqflow.actions.people import sessions, setup, users
from rqflow.actions.people.users import Departure
from rqflow.cli import output, secretly
from rqflow.cli.app import App, pass_app, who
from rqflow.cli.asking import confirm
from rqflow.cli.output import Column, Printer
from rqflow.cli.owner import owner
from rqflow.deploy import page
from rqflow.deploy.services import open_database
from rqflow.security.roles import Role
from rqflow.store.sessions import SessionRecord
from rqflow.store.users import UserRecord

COLUMNS = [
    Column("username", "USER"), Column("role", "ROLE"), Column("full_name", "NAME"), Column("email", "MAIL"), Column("is_active", "ACTIVE"),
    Column("last_login_at", "LAST LOGIN"), Column("source", "SOURCE", wide=True), Column("created_at", "ADDED", wide=True),
    Column("disabled_at", "DISABLED", wide=True),
]
SESSION_FIELDS = ("session", "username", "ip", "agent", "created_at", "seen_at", "expires_at")
SESSION_COLUMNS = [
    Column("session", "SESSION"), Column("username", "USER"), Column("ip", "FROM"), Column("seen_at", "SEEN"), Column("expires_at", "UNTIL"),
    Column("created_at", "LOGIN", wide=True), Column("agent", "BROWSER", wide=True),
]
LINK_FIELDS = ("url", "username", "role", "expires_at")
ROLE = click.Choice([role.value for role in Role])


@click.group()
def user() -> None:
    """List, add and change people who may use the page and the API; let them in no more.

    A viewer sees; an operator starts runs, and changes what is theirs; an admin does everything. Who can read the database, as this command does, is
    an administrator.
    """


@user.command("list")
@output.listing
@pass_app
def list_(app: App, printer: Printer) -> None:
    """List the people."""
    printer.check(output.fields_of(UserRecord))
    with open_database(app.settings) as engine:
        printer.records([asdict(one) for one in users.list_all(engine)], COLUMNS)


@user.command()
@click.argument("name")
@click.option("--role", type=ROLE, default=Role.VIEWER.value, show_default=True, help="What they may do.")
@click.option("--full-name", default="", help="Name as people say it.")
@click.option("--email", default="", help="Mail address.")
@click.option("--password-stdin", "from_stdin", is_flag=True, help="Read the password from stdin, one line.")
@click.option("--no-password", "without", is_flag=True, help="They set one by a link (user setup-link), or come through a proxy.")
@output.listing
@pass_app
def add(app: App, printer: Printer, name: str, role: str, full_name: str, email: str, from_stdin: bool, without: bool) -> None:
    """Add a person. On a terminal the password is asked for."""
    printer.check(output.fields_of(UserRecord))
    given = None if without else secretly.password(app, name, from_stdin=from_stdin, otherwise=", or --no-password and send them a setup-link")
    with open_database(app.settings) as engine:
        made = users.add(engine, name, role=Role(role), by=who(), password=given, full_name=full_name, email=email)
    output.note(f"user {name} added: {role}")
    printer.report([asdict(made)], COLUMNS)


@user.command()
@click.argument("name")
@click.option("--role", type=ROLE, help="What they may do.")
@click.option("--full-name", help="Name as people say it.")
@click.option("--email", help="Mail address; empty: none.")
@output.listing
@pass_app
def edit(app: App, printer: Printer, name: str, role: str | None, full_name: str | None, email: str | None) -> None:
    """Change a person's role, name or mail address; what is not given stays. It holds from their next request on."""
    printer.check(output.fields_of(UserRecord))
    with open_database(app.settings) as engine:
        changed = users.edit(engine, name, by=who(), role=Role(role) if role else None, full_name=full_name, email=email)
    output.note(f"user {name}: {changed.role}{f', {changed.email}' if changed.email else ''}")
    printer.report([asdict(changed)], COLUMNS)


@user.command()
@click.argument("name")
@click.option("--password-stdin", "from_stdin", is_flag=True, help="Read the password from stdin, one line.")
@output.listing
@pass_app
def passwd(app: App, printer: Printer, name: str, from_stdin: bool) -> None:
    """Give a person another password, and end their sessions. On a terminal it is asked for."""
    printer.check(("username", "sessions_ended"))
    with open_database(app.settings) as engine:
        users.get(engine, name)
        ended = users.set_password(engine, name, secretly.password(app, name, from_stdin=from_stdin), by=who())
    output.note(f"user {name} has another password; {_counted(ended, 'session')} ended")
    printer.report([{"username": name, "sessions_ended": ended}], [Column("username", "USER"), Column("sessions_ended", "ENDED")])


DEPARTURE_COLUMNS = [Column("username", "USER"), Column("sessions", "SESSIONS"), Column("tokens", "TOKENS"),
                     Column("scheduled", "SCHEDULED", show=", ".join), Column("handed_over", "HANDED OVER", show=", ".join), Column("heir", "TO")]


@user.command()
@click.argument("name")
@click.option("--hand-over", "heir", metavar="USER", help="Give their DAGs to this person, and let them go on; else the scheduled ones are paused.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output.listing
@pass_app
def disable(app: App, printer: Printer, name: str, heir: str | None, yes: bool) -> None:
    """Let a person in no more: end their sessions, revoke their tokens, pause their scheduled DAGs or hand them over."""
    printer.check(output.fields_of(Departure))
    with open_database(app.settings) as engine:
        users.get(engine, name)
        confirm(app, f"Disable {name}{_about(users.scheduled_dags(engine, name), heir)}", yes=yes)
        left = users.disable(engine, name, by=who(), heir=heir)
    _tell(printer, left, "disabled")


@user.command()
@click.argument("name")
@output.listing
@pass_app
def enable(app: App, printer: Printer, name: str) -> None:
    """Let a disabled person in again. Their tokens stay revoked, and their DAGs paused."""
    printer.check(output.fields_of(UserRecord))
    with open_database(app.settings) as engine:
        record = users.enable(engine, name, by=who())
    output.note(f"user {name} may log in again")
    printer.report([asdict(record)], COLUMNS)


@user.command()
@click.argument("name")
@click.option("--hand-over", "heir", metavar="USER", help="Give their DAGs to this person; else they are the administrators', and paused.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output.listing
@pass_app
def delete(app: App, printer: Printer, name: str, heir: str | None, yes: bool) -> None:
    """Delete a person, with their sessions, tokens and shares. What they did stays in the audit log."""
    printer.check(output.fields_of(Departure))
    with open_database(app.settings) as engine:
        users.get(engine, name)
        confirm(app, f"Delete {name}{_about(users.scheduled_dags(engine, name), heir)}", yes=yes)
        left = users.delete(engine, name, by=who(), heir=heir)
    _tell(printer, left, "deleted")


@user.command("setup-link")
@click.argument("name", required=False)
@click.option("--role", type=ROLE, help="Role of one who is new; admin when no NAME is given, else viewer.")
@output.listing
@pass_app
def setup_link(app: App, printer: Printer, name: str | None, role: str | None) -> None:
    """Print a link, good once and for an hour, by which a person sets a password: NAME, or somebody new who chooses a name.

    This is how the first administrator comes to be.
    """
    printer.check(LINK_FIELDS)
    with open_database(app.settings) as engine:
        link = setup.make(engine, by=who(), username=name, role=Role(role) if role else None)
    url = f"{page.url(app.settings)}{link.path}"
    output.note(f"for {name or 'whoever opens it first'}, as {link.role.value}; good once, until {link.expires_at:%Y-%m-%d %H:%M:%S} UTC:")
    if printer.is_for_people and not printer.fields:
        output.line(url)
    else:
        printer.record({"url": url, "username": name, "role": link.role.value, "expires_at": link.expires_at}, name="url")


@user.command("sessions")
@click.argument("name", required=False)
@output.listing
@pass_app
def sessions_(app: App, printer: Printer, name: str | None) -> None:
    """List the browsers that are logged in, of one person where NAME is given."""
    printer.check(SESSION_FIELDS)
    with open_database(app.settings) as engine:
        if name is not None:
            users.get(engine, name)
        printer.records([_session(one) for one in sessions.list_all(engine, username=name)], SESSION_COLUMNS)


@user.command()
@click.argument("name", metavar="NAME|SESSION")
@output.listing
@pass_app
def logout(app: App, printer: Printer, name: str) -> None:
    """End all sessions of a person, or one by what `user sessions` calls it."""
    printer.check(("username", "sessions_ended"))
    with open_database(app.settings) as engine:
        if any(one.username == name for one in users.list_all(engine)):
            username, ended = name, sessions.revoke_all(engine, name, by=who())
        else:
            found = sessions.find(engine, name)
            sessions.revoke(engine, found.digest, by=who())
            username, ended = found.username, 1
    output.note(f"{username}: {_counted(ended, 'session')} ended")
    printer.report([{"username": username, "sessions_ended": ended}], [Column("username", "USER"), Column("sessions_ended", "ENDED")])


def _session(one: SessionRecord) -> Mapping[str, Any]:
    return {"session": one.name, **{name: getattr(one, name) for name in SESSION_FIELDS if name != "session"}}


def _about(scheduled: Sequence[str], heir: str | None) -> str:
    """Say what becomes of scheduled DAGs, as the end of a question."""
    if not scheduled:
        return ""
    named = ", ".join(scheduled[:5]) + (f" and {len(scheduled) - 5} more" if scheduled[5:] else "")
    return f"; {heir} gets {named}" if heir else f" and pause {named}"


def _tell(printer: Printer, left: Departure, done: str) -> None:
    """Say what became of what a person had."""
    output.note(f"user {left.username} {done}: {_counted(left.sessions, 'session')} ended, {_counted(left.tokens, 'token')} revoked")
    if left.heir and left.handed_over:
        output.note(f"{left.heir} got {', '.join(left.handed_over)}")
    for dag_id in () if left.heir else left.scheduled:
        output.note(f"{dag_id}: paused; `rqflow dag chown {dag_id} USER` gives it to somebody, `rqflow dag unpause {dag_id}` lets it go on")
    printer.report([asdict(left)], DEPARTURE_COLUMNS)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


user.add_command(owner)
