"""rqflow redis: the private Redis of a home, held in the foreground."""

from __future__ import annotations

import signal
import threading

import click

from rqflow.cli.app import App, pass_app
from rqflow.deploy import embedded, statedir
from rqflow.exceptions import UsageError

#: Seconds between two looks whether it still answers.
_LOOK = 1.0


@click.command(hidden=True)
@pass_app
def redis(app: App) -> int:
    """Keep the private Redis of this home running, until SIGTERM or Ctrl-C; it ends when nobody else uses it. `rqflow up` starts this."""
    settings = app.service_settings()
    if settings.redis.url:
        raise UsageError("a Redis is configured (redis.url), so there is no private one")
    machine, stop = statedir.this_machine(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    place = embedded.place(statedir.prepare(settings, machine), machine)
    with embedded.running(settings, place, machine):
        while not stop.wait(_LOOK):
            if not embedded.is_ready(place):
                return 1
    return 0
