"""rqflow scheduler: the hub's processes in one."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import click

from rqflow.cli import bug  # noqa: F401 - in case that there is one once our files were replaced
from rqflow.cli.app import App, pass_app
from rqflow.deploy import background, hub
from rqflow.deploy.reloading import Reload
from rqflow.deploy.services import open_services
from rqflow.exceptions import UsageError
from rqflow.sdnotify import NOTIFIER
from rqflow.settings import Settings


@click.command()
@click.option("--once", is_flag=True, help="Put Redis right, move what is due now, then end.")
@click.option("--dags", "folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help="Watch this folder, not core.dags_folder.")
@click.option("--no-parse", is_flag=True, help="Watch no folder of DAGs.")
@click.option("--idle-exit", is_flag=True, hidden=True, help="End after scheduler.idle_exit without work; `submit` starts hubs so.")
@pass_app
def scheduler(app: App, once: bool, folder: Path | None, no_parse: bool, idle_exit: bool) -> None:
    """Run the hub in the foreground: schedules, delayed retries, history, log archive, the folder of DAGs.

    Any number may run, on any machine that reaches Redis and the database; one leads, the others stand by. A Redis that is away is
    waited for, and a database too, except with --once.
    """
    if folder is not None and (no_parse or not folder.is_dir()):
        raise UsageError(f"--dags {folder}: " + ("--no-parse watches none" if no_parse else "there is no such folder"))
    settings = app.service_settings()
    if folder is not None:
        settings = replace(settings, core=replace(settings.core, dags_folder=str(folder.absolute())))
    if once:
        with open_services(settings, client_name="rqflow-scheduler", must_answer=False) as services:
            hub.once(services)
        return
    reload = Reload(app.fresh_settings)
    (reload.install_leaving if idle_exit else reload.install)(lambda: os.kill(os.getpid(), signal.SIGTERM))
    NOTIFIER.ready("waits for Redis")
    try:
        _lead(settings, idle_exit=idle_exit, parses=not (no_parse or idle_exit))
    finally:
        # Whatever ended it, the SystemExit of a signal most of all.
        reload.carry_out()


def _lead(settings: Settings, *, idle_exit: bool, parses: bool) -> None:
    with open_services(settings, client_name="rqflow-scheduler", must_answer=False, waits=True) as services:
        if not idle_exit:
            background.replace(services, background.HUB)
        while True:
            with background.alive(services.state, background.HUB):
                # One that `submit` has started is there for what was submitted, and ends soon.
                hub.build(services, idle_exit=idle_exit, parses=parses).run()
            if not services.broker.live_runs():  # else one was started while this hub was ending
                return
