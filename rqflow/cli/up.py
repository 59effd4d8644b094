"""rqflow up, down, restart, status: all services of this machine, under supervisord."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

import click

from rqflow import clock
from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.output import Column, Printer
from rqflow.deploy import health, installing, page
from rqflow.deploy.installing import Way
from rqflow.deploy.supervision import RUNNING, STOPPED, WEBSERVER, NotUp, ProgramStatus, Supervision
from rqflow.deploy.tunnels import linkage
from rqflow.exceptions import RqflowError

COLUMNS = [Column("program", "PROGRAM"), Column("state", "STATE"), Column("pid", "PID"), Column("since", "SINCE"), Column("link", "LINK"),
           Column("reason", "REASON"), Column("log", "LOG", wide=True)]

#: Seconds that the web server gets to listen.
PAGE_PATIENCE = 10.0


@click.command()
@click.argument("programs", nargs=-1, metavar="[PROGRAM]...")
@output.listing
@pass_app
def up(app: App, printer: Printer, programs: tuple[str, ...]) -> int:
    """Start the services of this machine, all or the named ones, and keep them running: scheduler, worker, SSH tunnels, and the private Redis where
    none is configured. Whoever is named gets the tunnels that redis.url and database.url go through, too.

    They are started again whatever ends them, until `rqflow down`. What runs already is left alone.
    """
    found = _supervision(app).up(programs)
    code = _print(printer, found)
    if sys.stderr.isatty() and any(one.program == WEBSERVER and one.state == RUNNING for one in found):
        _tell_page(app)
    return code


def _tell_page(app: App) -> None:
    """Say to a person where the page is, once it is there, and how somebody can log in while nobody can."""
    from rqflow.actions.people import users  # here: the libraries of the database, which the other commands do not need
    from rqflow.deploy.services import open_database

    until = clock.monotonic() + PAGE_PATIENCE
    while not health.look(app.settings, [health.WEBSERVER])[0].is_healthy and clock.monotonic() < until:
        clock.sleep(0.1)
    output.note(f"The page: {page.url(app.settings)}")
    try:
        with open_database(app.settings) as engine:
            is_new = users.count_users(engine) == 0
    except RqflowError as error:  # the services run, and wait for it
        output.note(f"The database cannot be asked now: {error.message}")
        return
    if is_new:
        output.note("Nobody can log in yet: `rqflow user setup-link` prints a link for the first admin.")


@click.command()
@click.argument("programs", nargs=-1, metavar="[PROGRAM]...")
@output.listing
@pass_app
def down(app: App, printer: Printer, programs: tuple[str, ...]) -> None:
    """End the services, all or the named ones. Tasks that run go on, and are taken over by the next worker."""
    try:
        _print(printer, _supervision(app).down(programs))
    except NotUp as error:
        output.note(error.message)
        printer.records([], COLUMNS)


@click.command()
@click.argument("programs", nargs=-1, metavar="[PROGRAM]...")
@output.listing
@pass_app
def restart(app: App, printer: Printer, programs: tuple[str, ...]) -> int:
    """End and start the services, all or the named ones. Tasks that run go on meanwhile."""
    return _print(printer, _supervision(app).restart(programs))


@click.command()
@output.listing
@pass_app
def status(app: App, printer: Printer) -> int:
    """Show the services. Exits 0 when those run that were started, 1 when one does not, none was, or the link of a tunnel is down."""
    found = _supervision(app).status()
    printer.records([asdict(one) for one in found], COLUMNS)
    wanted = [one for one in found if one.state != STOPPED]
    link = linkage.said(app.settings)
    if link:
        from rqflow.deploy import live  # here: redis-py, which is needed for nothing else

        link = link if live.is_link_down(app.settings) else ""
    if link:
        output.note(link)
    return 0 if wanted and not link and all(one.is_well for one in wanted) else 1


def _supervision(app: App) -> Supervision:
    """Return the supervisord of this home, and say so when systemd runs the services: people then mean those."""
    record = installing.recorded(app.settings.home)
    if record is not None and record.way is not Way.CRON:
        output.note(f"The services of {app.settings.home} are installed as {installing.said(record.way)}, which systemctl and "
                    "`rqflow service status` are for; this is about a supervisord beside them.")
    return Supervision(app.settings, app.file)


def _print(printer: Printer, found: Sequence[ProgramStatus]) -> int:
    printer.records([asdict(one) for one in found], COLUMNS)
    return 0 if all(one.state == RUNNING for one in found) else 1
