"""rqflow notice: what people were told, or should have been."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime

import click

from rqflow import mail
from rqflow.actions.notices import Shown
from rqflow.api.notices import ListNotices, OneNotice, RetryNotices, get_notice, list_notices, retry_notices
from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.hub import asking, paged, refuse_server
from rqflow.cli.output import Column, Printer
from rqflow.cli.types import COUNT, MOMENT
from rqflow.exceptions import ConfigError, ServiceUnreachable, UsageError
from rqflow.store.notices import STATES

COLUMNS = [
    Column("message_id", "MESSAGE"), Column("created_at", "MADE"), Column("recipient", "TO"), Column("dag_id", "DAG"), Column("run_id", "RUN"),
    Column("kind", "KIND"), Column("notices", "NOTICES"), Column("shown", "STATE"), Column("tries", "TRIES", wide=True),
    Column("due_at", "NEXT TRY", wide=True), Column("ended_at", "ENDED", wide=True),
]


@click.group()
def notice() -> None:
    """List the messages to people (mail, webhooks, chats), show one, send one again; test the mail server."""


@notice.command("list")
@click.option("--dag", "dag_id", help="Only messages about this DAG.")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="Only messages in this state; repeatable.")
@click.option("--since", type=MOMENT, help="Only messages made at or after this time.")
@click.option("-L", "--limit", type=COUNT, default=25, show_default=True, help="At most so many.")
@click.option("--all", "unlimited", is_flag=True, help="All of them.")
@output.listing
@pass_app
def list_(app: App, printer: Printer, dag_id: str | None, states: tuple[str, ...], since: datetime | None, limit: int, unlimited: bool) -> None:
    """List messages, the newest first, with what is wrong with those that were not sent."""
    printer.check(output.fields_of(Shown))
    wanted = ListNotices(dag_id=dag_id, state=list(states), since=since)
    with asking(app) as ask:
        found = paged(lambda after, some: ask(list_notices, replace(wanted, after=after, limit=some)), None if unlimited else limit)
    printer.records([_row(printer, one) for one in found], COLUMNS)


def _row(printer: Printer, one: Shown) -> dict[str, object]:
    return asdict(one) | ({"shown": one.shown_state} if printer.is_for_people and not printer.fields else {})


@notice.command()
@click.argument("message")
@output.listing
@pass_app
def show(app: App, printer: Printer, message: str) -> None:
    """Show a message, and what it says; MESSAGE is its id, or the beginning of it."""
    with asking(app) as ask:
        letter = ask(get_notice, OneNotice(message=message))
    said = asdict(letter) if not printer.is_for_people or printer.fields else {name: getattr(letter, name) for name in output.fields_of(Shown)}
    printer.record(said, name="message_id")
    if printer.shows_parts:
        printer.blank()
        output.line(f"Subject: {letter.subject}\n\n{letter.text}")


@notice.command()
@click.argument("messages", metavar="MESSAGE...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All that were refused, given up or not sent.")
@pass_app
def retry(app: App, messages: tuple[str, ...], every: bool) -> None:
    """Let messages be tried again that were refused, given up or not sent; the scheduler sends them."""
    if bool(messages) == every:
        raise UsageError("name the messages, or say --all")
    with asking(app) as ask:
        count = ask(retry_notices, RetryNotices(messages=list(messages), every=every)).count
    output.note(f"{count} message{'s' if count != 1 else ''} will be tried again")


@notice.command()
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@pass_app
def test(app: App, addresses: tuple[str, ...]) -> None:
    """Send a mail now, with the settings of [smtp], and say what is wrong."""
    refuse_server(app, "the mail goes out from the machine on which this is called, with its settings")
    given = app.settings.smtp
    if not given.smtp_host:
        raise ConfigError("no SMTP configured", hint="Set smtp_host in [smtp] of rqflow.cfg, or RQFLOW__SMTP__SMTP_HOST.")
    letter = mail.Mail(to=addresses, subject="rqflow: a test", text="This is a test of `rqflow notice test`: mail from here arrives.\n")
    try:
        refused = mail.send(letter, given)
    except mail.MailError as error:
        raise ServiceUnreachable(error.message, hint=error.hint) from error
    for address, reply in refused.items():
        output.problem(f"{given.smtp_host} refuses {address}: {reply}")
    output.note(f"{given.smtp_host}:{given.smtp_port} has taken it for {', '.join(one for one in addresses if one not in refused)}")
    click.get_current_context().exit(7 if refused else 0)
