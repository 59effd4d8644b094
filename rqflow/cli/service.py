"""rqflow service: what starts the services with the machine, and the files by which systemd or another supervisord runs them."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import click

from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.output import Column, Printer
from rqflow.deploy import installing, statedir, units
from rqflow.deploy.installing import Outcome, Way
from rqflow.deploy.units import SUPERVISOR, UNITS, Installation
from rqflow.exceptions import NotFound, UsageError
from rqflow.settings import Settings

#: What people call a unit.
_NAMES = dict(zip(("scheduler", "webserver", "worker", "tunnel", "target"), UNITS, strict=True))
STANDING = [Column("name", "NAME"), Column("way", "WAY"), Column("file", "FILE"), Column("state", "STATE")]


@click.group()
def service() -> None:
    """Let the services start with the machine; print the files by which systemd or supervisord runs them."""


@service.command("print")
@click.argument("names", nargs=-1, metavar="[scheduler|webserver|worker|tunnel|target]...")
@click.option("--systemd", "kind", flag_value="systemd", default="systemd", help="Units of systemd (the default).")
@click.option("--supervisor", "kind", flag_value="supervisor", help="Programs for a supervisord that is there already.")
@click.option("--user", "is_user", is_flag=True, help="Units of the user's own systemd, not of the system's.")
@click.option("--account", metavar="NAME", help="Whose processes they are; yours when not given.")
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write them there, each into a file of its own.")
@pass_app
def print_(app: App, names: tuple[str, ...], kind: str, is_user: bool, account: str | None, directory: Path | None) -> None:
    """Print units for this rqflow and this home, all or the named ones; with --directory write them.

    systemctl daemon-reload, then systemctl enable --now rqflow.target, starts what was written into /etc/systemd/system.
    """
    if is_user and account:
        raise UsageError("--account belongs to units of the system; those of --user are the user's")
    if kind == "supervisor" and (names or is_user):
        raise UsageError("--supervisor knows neither names nor --user: it is one file")
    if unknown := [name for name in names if name not in _NAMES]:
        raise NotFound(f"there is no unit {', '.join(unknown)}", hint=f"There are {', '.join(_NAMES)}.")
    made = installation(app.settings, account, is_user=is_user)
    wanted = [SUPERVISOR] if kind == "supervisor" else [_NAMES[name] for name in names or _NAMES]
    put(wanted, made, directory)


def _way(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose a way."""
    for option, way, text in (("--cron", Way.CRON, "An @reboot line of crontab that runs `rqflow up`."),
                              ("--user", Way.USER, "Units of the user's own systemd."), ("--systemd", Way.SYSTEM, "Units of the system.")):
        function = click.option(option, "wanted", flag_value=way.value, help=text)(function)
    return function


@service.command()
@click.argument("programs", nargs=-1, metavar="[scheduler|webserver|worker]...")
@_way
@click.option("--account", metavar="NAME", help="Whose processes they are, of units of the system; the owner of HOME when not given.")
@click.option("--now/--no-now", "starts", default=True, help="Start the services too (the default), not only with the machine.")
@click.option("--force", is_flag=True, help="Overwrite files that somebody else wrote or changed.")
@click.option("--root", type=click.Path(path_type=Path, file_okay=False, exists=True), default="/", help="Into the image of a machine below DIR.")
@pass_app
def install(app: App, programs: tuple[str, ...], wanted: str | None, account: str | None, starts: bool, force: bool, root: Path) -> None:
    """Let the services, or the named ones with all tunnels, start with the machine, in the best way that there is, which it says.

    Root gets units of the system where systemd runs, others units of their own systemd where that lingers, and else an @reboot line of
    crontab that runs `rqflow up`. systemd itself is never started. May be repeated.
    """
    home = app.settings.home
    around = installing.surroundings(root.absolute())
    way, reason = installing.choose(around, Way(wanted) if wanted else None)
    if not home.is_dir():
        raise NotFound(f"there is no home {home}", hint="rqflow init makes one.")
    if account and way is not Way.SYSTEM:
        raise UsageError("--account belongs to units of the system")
    made = installation(app.settings, account or _owner(home), is_user=way is not Way.SYSTEM)
    if unknown := [name for name in programs if name not in made.services]:
        raise NotFound(f"there is no service {', '.join(unknown)}", hint=f"There are {', '.join(made.services)}.")
    made = replace(made, services=tuple(name for name in made.services if name in programs)) if programs else made
    output.note(f"{installing.said(way)}, for {reason}")
    _tell(installing.install(home, made, around, way, reason, starts=starts, replaces=force))


@service.command()
@click.option("--force", is_flag=True, help="Remove files too that were changed since.")
@click.option("--root", type=click.Path(path_type=Path, file_okay=False, exists=True), default="/", help="Of the image of a machine below DIR.")
@pass_app
def uninstall(app: App, force: bool, root: Path) -> None:
    """End the services, and take away what `install` wrote, and nothing else. Tasks that run go on."""
    _tell(installing.uninstall(app.settings.home, installing.surroundings(root.absolute()), replaces=force))


@service.command("status")
@output.listing
@pass_app
def status_(app: App, printer: Printer) -> int:
    """Tell what starts the services with the machine, and how it stands; exits 1 when something of it is missing or does not run."""
    found = installing.standing(app.settings.home, installing.surroundings())
    printer.records([asdict(one) for one in found], STANDING)
    return 0 if all(one.file != "missing" and one.state in {"", "active"} for one in found) else 1


@service.command()
@click.argument("programs", nargs=-1, metavar="[PROGRAM]...")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("-n", "--lines", type=click.IntRange(0), default=100, show_default=True, help="So many last lines.")
@pass_app
def logs(app: App, programs: tuple[str, ...], follow: bool, lines: int) -> None:
    """Show what the services say, all or the named ones: by journalctl where they run as units, else out of the files of supervisord."""
    command = installing.log_command(app.settings, programs, lines=lines, follow=follow)
    os.execvp(command[0], command)  # noqa: S606 - the program that shows them takes our place


def _owner(home: Path) -> str:
    """Return the account to which HOME belongs; its number where that has no name."""
    try:
        return home.owner()
    except KeyError:
        return str(home.stat().st_uid)


def _tell(outcome: Outcome) -> None:
    for name in outcome.written:
        output.note(f"{name} written")
    for name in outcome.removed:
        output.note(f"{name} removed")
    for name in outcome.kept:
        output.problem(f"{name} was changed since it was written, and stays; --force removes it")
    for command in outcome.done:
        output.note(f"{command}: done")
    if outcome.left:
        output.note("systemd does not run here; where it does, this remains to be done:")
        for command in outcome.left:
            output.line(command)


def installation(settings: Settings, account: str | None, *, is_user: bool) -> Installation:
    """Return what files for this rqflow and this home are made for; `account` None: the one of this process, unless the unit is the user's own."""
    workers, tunnels = statedir.locate(settings, statedir.this_machine()) / "workers", tuple(settings.tunnels.named)
    return Installation(command=_command(), home=str(settings.home), account=None if is_user else account or getpass.getuser(),
                        environment_file=_environment_file(is_user), workers=str(workers), tunnels=tunnels,
                        programs=(*units.PROGRAMS, *units.tunnel_programs(tunnels)))


def put(names: Sequence[str], made: Installation, directory: Path | None) -> None:
    """Print these files, or write each into a folder. Raises UsageError for what cannot stand in them, or be written."""
    try:
        texts = {name: units.rendered(name, made) for name in names}
    except ValueError as error:
        raise UsageError(str(error)) from error
    for name, text in texts.items():
        if directory is None:
            output.line(f"# {name}\n{text}" if len(texts) > 1 else text.rstrip("\n"))
        else:
            _write(directory / name, text)


def _command() -> str:
    """Return the command that this is, or the one beside this Python."""
    own = Path(sys.argv[0])
    return str(own.absolute() if own.name == "rqflow" else Path(sys.executable).parent / "rqflow")


def _environment_file(is_user: bool) -> str:
    return "%h/.config/rqflow/env" if is_user else "/etc/rqflow/env"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    output.note(f"{path} written")
