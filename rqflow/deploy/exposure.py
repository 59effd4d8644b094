"""What other machines may reach, and must not while anybody who reaches it may do anything."""

from __future__ import annotations

import ipaddress
import socket

from rqflow.exceptions import ConfigError


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches what listens on, or is, `host`; a name counts by all addresses that it has. Raises ConfigError."""
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)}
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"there is no host {host!r}: {error}", hint="Write an address, such as 127.0.0.1, or a name of this machine.") from error
    return all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in found)


def refuse_open_page(host: str) -> None:
    """Raise ConfigError for an address of the web server that other machines reach: it knows no logins yet."""
    if not host or not is_loopback(host):
        raise ConfigError(f"webserver.host: {host or 'every address'} can be reached from other machines, and the web server has no logins yet: "
                          "whoever reaches it would see names and states of all DAGs",
                          hint="Listen on 127.0.0.1, and reach it by `ssh -L 8080:127.0.0.1:8080 HUB`, or through a proxy that asks for a login.")
