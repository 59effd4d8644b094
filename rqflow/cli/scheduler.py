"""rqflow scheduler: the hub's processes in one."""

from __future__ import annotations

import click

from rqflow.cli import bug  # noqa: F401 - in case that there is one once our files were replaced
from rqflow.cli.app import App, pass_app
from rqflow.deploy import background, hub
from rqflow.deploy.services import open_services


@click.command()
@click.option("--once", is_flag=True, help="Put Redis right, move what is due now, then end.")
@click.option("--idle-exit", is_flag=True, hidden=True, help="End after scheduler.idle_exit without work; `submit` starts hubs so.")
@pass_app
def scheduler(app: App, once: bool, idle_exit: bool) -> None:
    """Run the hub in the foreground: schedules, delayed retries, history, log archive.

    Any number may run, on any machine that reaches Redis and the database; one leads, the others stand by. A Redis that is away is
    waited for, and a database too, except with --once.
    """
    with open_services(app.service_settings(), client_name="rqflow-scheduler", must_answer=False, waits=not once) as services:
        if once:
            hub.once(services)
            return
        while True:
            with background.alive(services.state, background.HUB):
                hub.build(services, idle_exit=idle_exit).run()
            if not services.broker.live_runs():  # else one was started while this hub was ending
                return
