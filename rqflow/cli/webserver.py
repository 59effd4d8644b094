"""rqflow webserver and rqflow metrics: what programs ask, over HTTP and here."""

from __future__ import annotations

from typing import Any

import click

from rqflow.api.operation import Nothing
from rqflow.cli import (
    bug,  # noqa: F401 - in case that there is one once our files were replaced
    output,
)
from rqflow.cli.app import App, pass_app
from rqflow.deploy.metrics import Metrics
from rqflow.deploy.reloading import Reload


@click.command()
@click.option("-p", "--port", type=click.IntRange(0, 65535), metavar="N", help="Port (webserver.port), or the next one that is free.")
@click.option("--host", "-hn", "--hostname", metavar="ADDRESS", help="Address (webserver.host); one that other machines reach needs a user first.")
@click.option("--forwarded-allow-ips", "proxies", metavar="ADDRESS,...", help="Proxies that are believed about where requests come from "
                                                                            "(webserver.trusted_proxies).")
@click.option("--tls-cert", metavar="FILE", help="Certificate, for https (webserver.tls_cert).")
@click.option("--tls-key", metavar="FILE", help="Its key (webserver.tls_key).")
@click.option("--access-log", is_flag=True, help="Tell of each request.")
@click.option("-d", "--debug", is_flag=True, help="Tell of each request, and more of everything else.")
@pass_app
def webserver(app: App, /, access_log: bool, debug: bool, **given: Any) -> None:
    """Serve the page, the REST API, /healthz, /readyz and /metrics over HTTP, in the foreground.

    It waits for nobody: while Redis is away the history is shown, and while the database is, a page that says so.
    """
    from rqflow.web.server import Way, serve  # here: takes a second to import, which `metrics` does not need

    app.verbosity += 1 if debug else 0
    settings = app.service_settings()
    reload = Reload(app.fresh_settings)
    known = settings.webserver
    chosen: dict[str, Any] = {
        "host": known.host, "port": known.port, "proxies": known.trusted_proxies, "tls_cert": known.tls_cert,
        "tls_key": known.tls_key} | {name: value for name, value in given.items() if value is not None}
    serve(settings, Way(**chosen, access_log=access_log or debug), heed_reload=reload.install)
    reload.carry_out()


@click.command()
@pass_app
def metrics(app: App) -> None:
    """Print all metrics, as the web server gives them to Prometheus; counts begin a day ago. Starts nothing."""
    if app.server:
        from rqflow.api.standing import show_metrics  # here: not needed to serve
        from rqflow.cli.hub import asking  # here: the same

        with asking(app) as ask:
            output.raw(ask(show_metrics, Nothing()).text.encode())
        return
    found = Metrics(app.settings)
    try:
        output.raw(found.whole_text())
    finally:
        found.close()
