"""What of this machine others may reach, and must not while whoever reaches it is let in."""

from __future__ import annotations

import socket

from rqflow.broker.exposure import is_loopback
from rqflow.exceptions import ConfigError


def refuse_open_page(host: str) -> None:
    """Raise ConfigError for an address of the web server that other machines reach: it knows no logins yet."""
    try:
        socket.getaddrinfo(host or None, 0)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"webserver.host: there is no host {host!r}: {error}", hint="Write an address, such as 127.0.0.1.") from error
    if not host or not is_loopback(host):
        raise ConfigError(f"webserver.host: {host or 'every address'} can be reached from other machines, and the web server has no logins yet: "
                          "whoever reaches it would see names and states of all DAGs",
                          hint="Listen on 127.0.0.1, and reach it by `ssh -L 8080:127.0.0.1:8080 HUB`, or through a proxy that asks for a login.")
