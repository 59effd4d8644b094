"""Who asks: told by the cookie of a session, by a token of the API, or by the header of a proxy that is trusted."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from rqflow.actions.people import signing_in
from rqflow.actions.people.users import Source
from rqflow.exceptions import ConfigError
from rqflow.security.roles import Person, Role
from rqflow.settings import Settings
from rqflow.store.engine import Engine
from rqflow.web.guard import PEER

if TYPE_CHECKING:
    from fastapi import Request, Response

#: Cookies of a session: over http, and over https, where browsers see to it that only this host can set it.
PLAIN, SECURE = "rqflow", "__Host-rqflow"


def cookie_name(request: Request) -> str:
    """Return the name of the cookie of a session for the way by which a request came."""
    return SECURE if request.url.scheme == "https" else PLAIN


def secret_of(request: Request) -> str:
    """Return the secret of the session that a request belongs to; empty: none."""
    return request.cookies.get(cookie_name(request), "")


def keep(request: Request, response: Response, secret: str, seconds: int) -> None:
    """Let the browser keep the secret of a session."""
    response.set_cookie(cookie_name(request), secret, max_age=seconds, httponly=True, samesite="lax", secure=request.url.scheme == "https", path="/")


def forget(request: Request, response: Response) -> None:
    """Let the browser forget its session."""
    response.delete_cookie(cookie_name(request), path="/", secure=request.url.scheme == "https", httponly=True, samesite="lax")


def who(request: Request, settings: Settings, engine: Engine, *, by_cookie: bool = True) -> Person | None:
    """Return the person whose request this is; None: nobody who has logged in. Raises StoreError.

    A request that brings a token is judged by that alone. Basic takes a user and a token as password, as the clients of Airflow's API send it.
    """
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return signing_in.by_token(engine, given.strip())
    if kind.lower() == "basic":
        return _by_basic(engine, given.strip())
    if name := _named_by_proxy(request, settings):
        role = Role(settings.webserver.proxy_role) if settings.webserver.proxy_role else None
        return signing_in.by_voucher(engine, name, source=Source.PROXY, role=role)
    secret = secret_of(request) if by_cookie else ""
    return signing_in.by_session(engine, secret) if secret else None


def _by_basic(engine: Engine, given: str) -> Person | None:
    try:
        name, _, token = base64.b64decode(given, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return signing_in.by_basic(engine, name, token)


def _named_by_proxy(request: Request, settings: Settings) -> str:
    """Return the user whom a trusted proxy names; empty where none is trusted, or the request comes from elsewhere."""
    header = settings.webserver.user_header
    peer = request.scope.get(PEER) or request.scope.get("client")
    if not header or not peer:
        return ""
    try:
        address = ipaddress.ip_address(peer[0])
    except ValueError:
        return ""
    return request.headers.get(header, "").strip() if any(address in network for network in proxies(settings.webserver.trusted_proxies)) else ""


@lru_cache(maxsize=4)
def proxies(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return the addresses that webserver.trusted_proxies names. Raises ConfigError."""
    try:
        return tuple(ipaddress.ip_network(one, strict=False) for one in text.replace(",", " ").split())
    except ValueError as error:
        raise ConfigError(f"webserver.trusted_proxies: {error}", hint="Write addresses and networks, such as 127.0.0.1, 10.0.0.0/8.") from error
