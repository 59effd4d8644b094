"""rqflow user: people who may use the page and the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from rqflow.actions.people.users import Departure, Source
from rqflow.api.operation import Nothing
from rqflow.api.sessions import EndSessions, OneSession, Session, list_sessions, revoke_session, revoke_sessions
from rqflow.api.tokens import OfWhom
from rqflow.api.users import (
    AddUser,
    EditUser,
    Leave,
    MakeLink,
    OneUser,
    SetPassword,
    add_user,
    delete_user,
    disable_user,
    edit_user,
    enable_user,
    get_user,
    list_users,
    set_password,
)
from rqflow.api.users import setup_link as make_link
from rqflow.cli import output, secretly
from rqflow.cli.app import App, pass_app
from rqflow.cli.asking import confirm
from rqflow.cli.hub import Ask, asking
from rqflow.cli.output import Column, Printer
from rqflow.cli.owner import owner
from rqflow.exceptions import NotPermitted
from rqflow.security.roles import Role
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
    with asking(app) as ask:
        printer.records([asdict(one) for one in ask(list_users, Nothing()).items], COLUMNS)


@user.command()
@click.argument("name")
@click.option("--role", type=ROLE, default=Role.VIEWER.value, show_default=True, help="What they may do.")
@click.option("--full-name", default="", help="Name as people say it.")
@click.option("--email", default="", help="Mail address.")
@click.option("--password-stdin", "from_stdin", is_flag=True, help="Read the password from stdin, one line.")
@click.option("--no-password", "without", is_flag=True, help="They set one by a link (user setup-link), or come through a proxy or a provider.")
@output.listing
@pass_app
def add(app: App, printer: Printer, name: str, role: str, full_name: str, email: str, from_stdin: bool, without: bool) -> None:
    """Add a person. On a terminal the password is asked for."""
    printer.check(output.fields_of(UserRecord))
    given = None if without else secretly.password(app, name, from_stdin=from_stdin, otherwise=", or --no-password and send them a setup-link")
    with asking(app) as ask:
        made = ask(add_user, AddUser(username=name, role=Role(role), password=given, full_name=full_name, email=email))
    output.note(f"user {name} added: {role}")
    printer.report([asdict(made)], COLUMNS)


@user.command()
@click.argument("name")
@click.option("--role", type=ROLE, help="What they may do.")
@click.option("--source", type=click.Choice([one.value for one in Source]),
              help="Who vouches for them: with oidc the provider may, though they have a password.")
@click.option("--full-name", help="Name as people say it.")
@click.option("--email", help="Mail address; empty: none.")
@output.listing
@pass_app
def edit(app: App, printer: Printer, name: str, role: str | None, source: str | None, full_name: str | None, email: str | None) -> None:
    """Change a person's role, who vouches for them, name or mail address; what is not given stays. It holds from their next request on."""
    printer.check(output.fields_of(UserRecord))
    with asking(app) as ask:
        changed = ask(edit_user, EditUser(username=name, role=Role(role) if role else None, source=Source(source) if source else None,
                                           full_name=full_name, email=email))
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
    with asking(app) as ask:
        ask(get_user, OneUser(username=name))
        ended = ask(set_password, SetPassword(username=name, password=secretly.password(app, name, from_stdin=from_stdin))).sessions_ended
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
    with asking(app) as ask:
        scheduled = ask(get_user, OneUser(username=name)).scheduled
        confirm(app, f"Disable {name}{_about(scheduled, heir)}", yes=yes)
        left = ask(disable_user, Leave(username=name, hand_over=heir))
    _tell(printer, left, "disabled")


@user.command()
@click.argument("name")
@output.listing
@pass_app
def enable(app: App, printer: Printer, name: str) -> None:
    """Let a disabled person in again. Their tokens stay revoked, and their DAGs paused."""
    printer.check(output.fields_of(UserRecord))
    with asking(app) as ask:
        record = ask(enable_user, OneUser(username=name))
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
    with asking(app) as ask:
        scheduled = ask(get_user, OneUser(username=name)).scheduled
        confirm(app, f"Delete {name}{_about(scheduled, heir)}", yes=yes)
        left = ask(delete_user, Leave(username=name, hand_over=heir))
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
    with asking(app) as ask:
        link = ask(make_link, MakeLink(username=name, role=Role(role) if role else None))
    url = f"{app.server.rstrip('/')}{link.path}" if app.server else link.url
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
    with asking(app) as ask:
        if name is not None and not app.server:
            ask(get_user, OneUser(username=name))
        printer.records([_session(one) for one in ask(list_sessions, OfWhom(username=name, everybody=name is None)).items], SESSION_COLUMNS)


@user.command()
@click.argument("name", metavar="NAME|SESSION")
@output.listing
@pass_app
def logout(app: App, printer: Printer, name: str) -> None:
    """End all sessions of a person, or one by what `user sessions` calls it."""
    printer.check(("username", "sessions_ended"))
    with asking(app) as ask:
        done = ask(revoke_sessions, EndSessions(username=name)) if _is_person(ask, name) else ask(revoke_session, OneSession(session=name))
    username, ended = done.username, done.sessions_ended
    output.note(f"{username}: {_counted(ended, 'session')} ended")
    printer.report([{"username": username, "sessions_ended": ended}], [Column("username", "USER"), Column("sessions_ended", "ENDED")])


def _is_person(ask: Ask, name: str) -> bool:
    """Tell whether a name is a person's, and not a session's; who is no admin sees only their own sessions."""
    try:
        return any(one.username == name for one in ask(list_users, Nothing()).items)
    except NotPermitted:
        return any(one.username == name for one in ask(list_sessions, OfWhom()).items)


def _session(one: Session) -> Mapping[str, Any]:
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
