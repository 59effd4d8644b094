"""rqflow run exec: one command, run by a worker and recorded."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import click

from rqflow import clock
from rqflow.actions import execute as action
from rqflow.actions import logs, query, unsigned
from rqflow.actions.model import Run
from rqflow.cli import output, show, signing
from rqflow.cli.app import App, pass_app
from rqflow.cli.output import Printer
from rqflow.cli.types import DURATION
from rqflow.deploy import background
from rqflow.deploy.services import Services, open_services
from rqflow.exceptions import NotFound
from rqflow.states import RunState


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.argument("command", metavar="[--] CMD...", nargs=-1, type=click.UNPROCESSED)
@click.option("-Q", "--queue", metavar="NAME", help="Queue whose workers may run it.")
@click.option("--name", metavar="NAME", help="What it is called; the name of the program when not given.")
@click.option("--env", "pairs", multiple=True, metavar="NAME=VALUE", help="A variable of its environment; repeatable.")
@click.option("--cwd", metavar="DIR", help="Folder in which it runs, on the worker; on the embedded default the current one when not given.")
@click.option("--note", default="", help="A remark about this run.")
@click.option("--follow/--no-follow", default=None, help="Watch it until its end, then print what it has printed; the default on a terminal.")
@click.option("--timeout", type=DURATION, help="Stop watching after this time and exit 124; the command goes on.")
@output.listing
@pass_app
def exec_(app: App, printer: Printer, command: tuple[str, ...], queue: str | None, name: str | None, pairs: tuple[str, ...], cwd: str | None,
          note: str, follow: bool | None, timeout: timedelta | None) -> None:
    """Run a command as a run with one task: a worker runs it, its log and its result are recorded.

    The words are those of the command, as they are: for a pipe or a `$`, write  bash -c '…'. The exit code is the result when it is watched.
    """
    follow = sys.stderr.isatty() if follow is None else follow
    printer.check(output.fields_of(Run) if follow else show.ANNOUNCED)
    env = action.read_env(pairs)
    action.a_version(command, name=name, queue=queue, env=env, cwd=cwd)
    if app.server:
        from rqflow.api.submitting import ExecCommand  # here: as below
        from rqflow.cli.submitting import execute_command  # here: as below

        asked = ExecCommand(command=list(command), name=name, queue=queue, env=env, cwd=cwd, note=note)
        click.get_current_context().exit(execute_command(app, printer, asked, timeout=timeout, follow=follow))
    from rqflow.cli import starting  # here: what starts runs is not needed for looking at runs

    with open_services(app.settings, client_name="rqflow-exec") as services:
        folder = cwd or (str(Path.cwd()) if services.is_embedded else None)
        version = action.a_version(command, name=name, queue=queue, env=env, cwd=folder)
        if app.settings.security.signing:
            version, = signing.pen(app).sign(services.engine, [version])
        unsigned.refuse(unsigned.lacking(services.engine, services.settings, [version]))
        action.bring_back(services.engine, version)
        run = action.a_run(version, clock.utcnow(), note=note)
        started = background.ensure(services, app.file) if services.is_embedded else []
        code = starting.carry_out(app, services, printer, [(run, version)], started, timeout=timeout, follow=follow)
        if follow and printer.shows_parts:
            _print_log(services, run.key)
    click.get_current_context().exit(code)


def _print_log(services: Services, run_key: str) -> None:
    """Print what the command has printed; of one that failed the end was shown already."""
    found = query.show(services.broker, services.engine, run_key)
    if found.state is RunState.SUCCESS:
        try:
            for chunk in logs.read(services.settings, found, found.tasks[0].task_id, max(found.tasks[0].try_number, 1)):
                output.raw(chunk)
        except NotFound as error:
            output.note(error.message)
