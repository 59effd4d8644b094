"""What is where on this machine, without starting or changing anything."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from rqflow.deploy import embedded, live, statedir
from rqflow.exceptions import RqflowError
from rqflow.settings import Settings


def places(settings: Settings) -> dict[str, str]:
    """Return paths and back ends by name, passwords left out; what cannot be told says why."""
    machine = statedir.this_machine()
    told = {"host": machine.host, "home": str(settings.home), "config": str(settings.file or "")}
    try:
        state = statedir.locate(settings, machine)
        found = live.resolved(settings, state, machine)
    except RqflowError as error:
        return told | {"state": error.message}
    return told | {
        "state": str(state), "redis": without_password(found.redis.url), "redis_server": "" if settings.redis.url else _server(),
        "database": without_password(found.database.url), "work_dir": found.worker.work_dir, "logs": found.logs.folder,
    }


def without_password(url: str) -> str:
    """Return `url` with *** for its password."""
    parts = urlsplit(url)
    if not parts.password:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{host}"))


def _server() -> str:
    try:
        found = embedded.find_server()
    except RqflowError as error:
        return error.message
    return f"{found.path} {found.version[0]}.{found.version[1]}"
