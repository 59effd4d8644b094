"""What commands show while the tunnel to Redis and the database is down: the newest runs as they were last known, with a word that it is so."""

from __future__ import annotations

from rqflow.cli import output
from rqflow.cli.app import App
from rqflow.deploy import lastknown
from rqflow.deploy.lastknown import Known
from rqflow.deploy.tunnels import linkage
from rqflow.exceptions import ServiceUnreachable


def known(app: App, error: ServiceUnreachable) -> Known:
    """Return what was last known, and say since when nothing else is.

    Raises `error` where no tunnel is in between, or no copy is kept, and for a server that is away.
    """
    link = "" if app.server else linkage.said(app.settings)
    found = lastknown.recall(app.settings) if link else None
    if found is None:
        raise error
    output.note(f"{link}; what follows is as it was then")
    return found
