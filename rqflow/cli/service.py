"""rqflow service: the files by which systemd, or a supervisord that is there already, runs the services."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.deploy import statedir, units
from rqflow.deploy.units import SUPERVISOR, UNITS, Installation
from rqflow.exceptions import NotFound, UsageError
from rqflow.settings import Settings

#: What people call a unit.
_NAMES = dict(zip(("scheduler", "webserver", "worker", "tunnel", "target"), UNITS, strict=True))


@click.group()
def service() -> None:
    """Print the files by which systemd or supervisord runs the services."""


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
