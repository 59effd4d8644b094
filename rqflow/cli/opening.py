"""rqflow open: the page, here or over ssh."""

from __future__ import annotations

import json
import sys
import webbrowser

import click

from rqflow import clock, settings
from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.following import Terminated, terminable
from rqflow.deploy import opening
from rqflow.exceptions import RqflowError, ServiceUnreachable, UsageError


@click.command("open")
@click.argument("hub", metavar="[USER@HUB]", required=False)
@click.option("--hub-home", default="", metavar="DIR", help="The home over there, when it is another one than that account's own.")
@click.option("-p", "--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Port here of the tunnel; a free one when not given.")
@click.option("--url", "only_url", is_flag=True, help="Only print where the page of this home is.")
@click.option("--no-browser", is_flag=True, help="Only make the tunnel and print where the page is.")
@click.option("--for-tunnel", "tells", is_flag=True, hidden=True)
@pass_app
def open_(app: App, hub: str | None, hub_home: str, port: int, only_url: bool, no_browser: bool, tells: bool) -> None:
    """Open the page in a browser: of this home, of --server, or of a hub that you reach by ssh.

    USER@HUB is what ssh takes, with :PORT for another port. The tunnel stays until Ctrl-C. No web server is started.
    """
    if hub is None and (port or hub_home):
        raise UsageError("--port and --hub-home belong to a hub that is reached by ssh", hint="Name it: rqflow open USER@HUB")
    if hub is not None and (only_url or app.server):
        raise UsageError(f"{'--url' if only_url else '--server'} and a hub that is reached by ssh do not go together")
    if tells:
        output.line(json.dumps(_told(app)))
    elif hub is None:
        url = app.server.rstrip("/") or opening.here(app.settings)
        output.line(url)
        if not only_url and not no_browser:
            _browse(url)
    else:
        click.get_current_context().exit(_through(app, hub, hub_home, port, browses=not no_browser))


def _told(app: App) -> dict[str, str]:
    """Return where the page of this home is, for who asks over ssh."""
    try:
        return {"url": opening.here(app.settings)}
    except RqflowError as error:
        return {"error": error.message}


def _through(app: App, hub: str, home: str, port: int, *, browses: bool) -> int:
    """Make a tunnel to the page of a hub, open it, and keep the tunnel until Ctrl-C; return the exit code."""
    far = opening.Far(hub, app.settings)
    there = far.url(home)
    try:
        with terminable(), far.forwarded(there, port) as (url, process):
            output.line(url)
            output.note(f"the page of {far.remote.target} ({there}) until Ctrl-C")
            if browses:
                _browse(url)
            process.wait()
            clock.sleep(0.2)  # Ctrl-C reaches ssh too, and may end it first
    except KeyboardInterrupt as stop:
        output.note("")
        return 143 if isinstance(stop, Terminated) else 0
    raise ServiceUnreachable(f"the tunnel to {far.remote.target} is gone", hint=f"rqflow open {hub} makes it again.")


def _browse(url: str) -> None:
    """Open a browser where there is a display; elsewhere the person has the URL."""
    environ = settings.environment()
    if sys.platform != "darwin" and not environ.get("DISPLAY") and not environ.get("WAYLAND_DISPLAY"):
        return
    if not webbrowser.open(url):
        output.note("no browser could be started; open the address yourself")
