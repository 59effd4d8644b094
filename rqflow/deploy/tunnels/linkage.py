"""Through which tunnel Redis and the database are reached, one of this side or of the other; and what is told of it when they are not."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

from rqflow.deploy import statedir
from rqflow.deploy.tunnels import places, status
from rqflow.deploy.tunnels.status import TunnelStatus
from rqflow.exceptions import RqflowError
from rqflow.settings import Settings
from rqflow.tunnel import SERVICES, Direction

#: Where a tunnel of the other side puts its sockets here.
_LANDING = re.compile(r"/\.rqflow/tunnels/([a-z0-9_-]+)/(?:redis|database)\.sock")


def through(settings: Settings) -> str:
    """Return the name of the tunnel through which Redis or the database of this side is reached; empty where there is none.

    That is one of this side with -L, or one of the other side with -R, by the folder in which its sockets appear. Raises ConfigError for settings
    that name no place for the state.
    """
    machine = statedir.this_machine()
    state = statedir.locate(settings, machine)
    for url in (settings.redis.url, settings.database.url):
        if name := places.goes_through(url):
            return name
        if match := _LANDING.search(unquote(url)):
            return match[1]
        for name, tunnel in settings.tunnels.named.items():
            own = places.place(state, machine, name)
            if tunnel.direction is Direction.LOCAL and any(str(own.socket(service)) in unquote(url) for service in SERVICES):
                return name
    return ""


def seen(settings: Settings, name: str) -> TunnelStatus | None:
    """Return how the tunnel of this name is, when it is one of this side that leads here; None: the other side keeps it up."""
    tunnel = settings.tunnels.named.get(name)
    if tunnel is None or tunnel.direction is not Direction.LOCAL:
        return None
    machine = statedir.this_machine()
    return status.told(tunnel, places.place(statedir.locate(settings, machine), machine, name))


def copy_file(settings: Settings) -> Path:
    """Return the file in which the leading scheduler of this side keeps what it knows; its time is when all was seen to work last."""
    return statedir.locate(settings, statedir.this_machine()) / "last-known.json"


def said(settings: Settings) -> str:
    """Return, for people, that the link is down and since when, whoever found out that it is; empty where no tunnel is in between."""
    try:
        name = through(settings)
        if not name:
            return ""
        own = seen(settings, name)
        if own is not None:
            return f"hub link down{_since(own.since)} (tunnel {name}: {own.state})"
        return f"hub link down{_since(_moment(copy_file(settings)))} (tunnel {name})"
    except RqflowError:
        return ""


def hint(settings: Settings) -> str:
    """Return what to do about Redis or a database that does not answer here, when a tunnel leads to it that the other side keeps up; else nothing."""
    try:
        name = through(settings)
    except RqflowError:
        return ""
    if not name or name in settings.tunnels.named:
        return ""
    return f"{said(settings)}. The other side keeps that tunnel up: `rqflow tunnel status` there says what is wrong."


def _since(moment: datetime | None) -> str:
    return f" since {moment:%Y-%m-%d %H:%M:%S} UTC" if moment else ""


def _moment(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None
