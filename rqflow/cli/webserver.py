"""rqflow webserver and rqflow metrics: what programs ask, over HTTP and here."""

from __future__ import annotations

import click

from rqflow.cli import (
    bug,  # noqa: F401 - in case that there is one once our files were replaced
    output,
)
from rqflow.cli.app import App, pass_app
from rqflow.deploy.metrics import Metrics
from rqflow.deploy.reloading import Reload


@click.command()
@click.option("-p", "--port", type=click.IntRange(0, 65535), metavar="N", help="Port (webserver.port), or the next one that is free.")
@click.option("--host", metavar="ADDRESS", help="Address (webserver.host); only of this machine, for there are no logins yet.")
@pass_app
def webserver(app: App, port: int | None, host: str | None) -> None:
    """Serve /healthz, /readyz and /metrics over HTTP, in the foreground; the page of DAGs and runs comes.

    It waits for nobody: while Redis or the database is away it says so, and goes on.
    """
    from rqflow.web.server import serve  # here: takes a second to import, which `metrics` does not need

    settings = app.service_settings()
    reload = Reload(app.fresh_settings)
    serve(settings, settings.webserver.host if host is None else host, settings.webserver.port if port is None else port, heed_reload=reload.install)
    reload.carry_out()


@click.command()
@pass_app
def metrics(app: App) -> None:
    """Print all metrics, as the web server gives them to Prometheus; counts begin a day ago. Starts nothing."""
    found = Metrics(app.settings)
    try:
        text = found.text()
        while found.is_behind:  # a busy day is counted some at a time
            text = found.text()
        output.raw(text)
    finally:
        found.close()
