"""Who reaches Redis: whoever may write to it decides what workers run, so that one that lets everybody of a network in is refused."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import parse_qs, urlsplit

import redis

from rqflow.broker.replies import text
from rqflow.exceptions import ConfigError
from rqflow.settings import without_password

#: Said in each refusal.
_HINT = ("Give it a password and write that into redis.url, or let it listen on 127.0.0.1 or a socket and use an SSH tunnel; see "
         "docs/how-to/security-redis.md. Where something else keeps others out: redis.allow_open = true.")


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches `host`; a name counts by all addresses that it has now, and one without an address does not."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)}
    except (OSError, UnicodeError):
        return False
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in found)


def has_login(url: str) -> bool:
    """Tell whether a URL of Redis has a password, or a certificate of the client."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    return bool(parts.password or query.get("password") or query.get("ssl_certfile"))


def is_of_network(url: str) -> bool:
    """Tell whether a URL names a Redis by an address that is not only of this machine."""
    parts = urlsplit(url)
    return parts.scheme != "unix" and not is_loopback(parts.hostname or "localhost")


def refuse_open_url(url: str) -> None:
    """Raise ConfigError for a URL of a Redis of another machine, or of an address that others reach, without a login."""
    if is_of_network(url) and not has_login(url):
        raise ConfigError(f"redis.url: {without_password(url)} can be reached from other machines, and has no password: whoever reaches that Redis "
                          "would decide what workers run", hint=_HINT)


def why_open(connection: redis.Redis, url: str) -> str:
    """Return why everybody of a network may use this Redis; empty when that is not so, as far as it lets us see. Raises redis-py's errors."""
    if is_of_network(url):
        return "it lets anybody in without a password" if has_login(url) and _lets_anybody_in(connection) else ""
    if has_login(url):
        return ""
    if _setting(connection, "protected-mode") != "no" or not any(_setting(connection, name) not in {"", "0"} for name in ("port", "tls-port")):
        return ""
    addresses = [address.lstrip("-") for address in _setting(connection, "bind").split()] or ["*"]
    outside = [address for address in addresses if address in {"*", "::*"} or not is_loopback(address)]
    return f"it listens on {', '.join(outside)} with protected-mode no, and asks for no password" if outside else ""


def refuse_open_server(connection: redis.Redis, url: str) -> None:
    """Raise ConfigError for a Redis that everybody of a network may use. Raises redis-py's errors when it does not answer."""
    if why := why_open(connection, url):
        raise ConfigError(f"Redis at {without_password(url)} is open: {why}. Whoever reaches it would decide what workers run", hint=_HINT)


def _setting(connection: redis.Redis, name: str) -> str:
    """Return a setting of Redis; empty when it does not let us ask, or has no such."""
    try:
        return text(connection.config_get(name).get(name, ""))
    except redis.exceptions.ResponseError:
        return ""


def _lets_anybody_in(connection: redis.Redis) -> bool:
    """Try to come in without a login."""
    wanted = {key: value for key, value in connection.get_connection_kwargs().items() if key not in {"username", "password", "credential_provider"}}
    pool = redis.ConnectionPool(connection_class=connection.connection_pool.connection_class, **wanted)
    try:
        with redis.Redis(connection_pool=pool) as stranger:
            return bool(stranger.ping())
    except (redis.exceptions.AuthenticationError, redis.exceptions.ResponseError):
        return False
    finally:
        pool.disconnect()
