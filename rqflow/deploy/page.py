"""Where people reach the web page."""

from __future__ import annotations

from rqflow.deploy import statedir
from rqflow.deploy.health import webserver_file
from rqflow.settings import Settings


def url(settings: Settings) -> str:
    """Return the address of the page without a slash at its end: notices.base_url, else where a web server of this home listens, or would."""
    if settings.notices.base_url:
        return settings.notices.base_url.rstrip("/")
    try:
        return webserver_file(statedir.locate(settings, statedir.this_machine())).read_text(encoding="utf-8").strip().rstrip("/")
    except OSError:
        host = settings.webserver.host
        shown = "127.0.0.1" if host in {"", "0.0.0.0", "::"} else f"[{host}]" if ":" in host else host  # noqa: S104 - asked for, not bound
        return f"http://{shown}:{settings.webserver.port}"
