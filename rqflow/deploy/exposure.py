"""What of this machine others may reach, and must not while whoever reaches it is let in."""

from __future__ import annotations

import socket
from collections.abc import Callable

from rqflow.broker.exposure import is_loopback
from rqflow.exceptions import ConfigError


def refuse_open_page(host: str, has_users: Callable[[], bool]) -> None:
    """Raise ConfigError for an address of the web server that there is not, and for one that other machines reach as long as there is no user."""
    try:
        socket.getaddrinfo(host or None, 0)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"webserver.host: there is no host {host!r}: {error}", hint="Write an address, such as 127.0.0.1.") from error
    if (not host or not is_loopback(host)) and not has_users():
        raise ConfigError(f"webserver.host: {host or 'every address'} can be reached from other machines, and there is no user yet: who "
                          "comes first could become the administrator",
                          hint="`rqflow user add NAME --role admin` makes one; or listen on 127.0.0.1.")
