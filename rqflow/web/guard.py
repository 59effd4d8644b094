"""What every answer says to browsers, and which requests are refused before anybody looks at them."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, Response

from rqflow import logs
from rqflow.broker.exposure import is_loopback

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

#: Scripts and styles come from here alone (viz-js is WebAssembly; ansi_up writes style attributes); nothing may frame a page.
CONTENT_SECURITY = "; ".join((
    "default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "style-src 'self'", "style-src-attr 'unsafe-inline'", "img-src 'self' data:",
    "connect-src 'self'", "font-src 'self'", "worker-src 'self'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'"))
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin", "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
#: Methods that change nothing (RFC 9110, section 9.2.1).
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: Where a request keeps who is at the other end of the connection: (address, port).
PEER = "rqflow.peer"
#: Bytes that a request may bring: a conf of 10 MB with what is around it.
MOST_BYTES = 11 << 20


class SafeHeaders:
    """ASGI middleware: gives each answer the headers that keep browsers from doing more than a page needs."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, and add to the answer what it does not say itself."""
        async def heard(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, heard if scope["type"] == "http" else send)


class OwnPagesOnly:
    """ASGI middleware: refuses what changes something and was sent by a page of somebody else.

    By Sec-Fetch-Site where the browser says it, which it does not over plain http to another machine; by Origin, else Referer, then. A request with
    none of them comes from no browser (the rule of Go's CrossOriginProtection), and none that brings a token as Bearer was forged by a page. Basic
    tells nothing: a browser that was asked for a password once adds it by itself, whoever's page sends the request.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Stand before `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or answer 403."""
        if scope["type"] == "http" and scope["method"] not in SAFE:
            headers = Headers(scope=scope)
            if (why := _foreign(headers)) and not headers.get("authorization", "").lower().startswith("bearer "):
                logger.warning("refused %s %s: %s", scope["method"], scope["path"], why, extra=logs.context("foreign_page"))
                await _refusal(scope, 403, f"refused: {why}", "Do it on rqflow's own page.")(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _foreign(headers: Headers) -> str:
    """Return why a request comes from a page of somebody else; empty: it does not."""
    site = headers.get("sec-fetch-site")
    if site:
        return "" if site in {"same-origin", "none"} else f"the request comes from another site (Sec-Fetch-Site: {site})"
    origin = headers.get("origin") or headers.get("referer")
    if not origin:
        return ""
    return "" if urlsplit(origin).netloc.lower() == headers.get("host", "").lower() else f"the request comes from a page of {origin[:200]}"


def is_near(request: HTTPConnection) -> bool:
    """Tell whether a request comes from this machine, and not through a proxy on it."""
    return request.client is not None and is_loopback(request.client.host) and not {"x-forwarded-for", "forwarded"} & set(request.headers)


class OwnNamesOnly:
    """ASGI middleware of a server that only its own machine reaches: answers to its own names alone.

    A page elsewhere may let its name lead to 127.0.0.1 after it was loaded (DNS rebinding); to the browser it is of the same origin as ours then, and
    whoever is let in because they come from this machine would be that page. An address in place of a name leads nowhere else.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        """Stand before `app`; answer to these names, to localhost, and to all addresses."""
        self._app, self._names = app, {"localhost", *(name.strip().lower().rstrip(".") for name in names)} - {""}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or answer 421."""
        if scope["type"] == "http" and not self._is_own(given := Headers(scope=scope).get("host", "")):
            logger.warning("refused %s %s: it is for %r", scope["method"], scope["path"], given[:200], extra=logs.context("foreign_name"))
            hint = "A name that a proxy hands on belongs into webserver.names, or all of the address into notices.base_url."
            await _refusal(scope, 421, f"this web server is not called {given[:200]}", hint)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_own(self, host: str) -> bool:
        """Tell whether a Host header is one of ours; one that says nothing comes from no browser."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        return not host or name in self._names or name.endswith(".localhost") or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name.partition("%")[0]))
    except ValueError:
        return False


class NearestPeer:
    """ASGI middleware before those that believe a proxy: keeps who is at the other end of the connection, whoever is behind it."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on."""
        scope[PEER] = scope.get("client")
        await self._app(scope, receive, send)


class NotTooLarge:
    """ASGI middleware: ends requests that bring more than MOST_BYTES, announced or not."""

    def __init__(self, app: ASGIApp, most: int = MOST_BYTES) -> None:
        """Stand before `app`; take `most` bytes."""
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or answer 413."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdigit() or int(announced) > self._most:
            await self._refuse(scope, receive, send)
            return
        came, has_answered = 0, False

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self._most:
                raise _TooLargeError
            return message

        async def answered(message: Message) -> None:
            nonlocal has_answered
            # What the application says of a body that it could not read to its end is not what was wrong with it.
            if came <= self._most or has_answered:
                has_answered = True
                await send(message)

        with suppress(_TooLargeError):
            await self._app(scope, counted, answered)
        if came > self._most and not has_answered:
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _refusal(scope, 413, f"a request may bring {self._most >> 20} MB", "Put large inputs into files.")(scope, receive, send)


class _TooLargeError(Exception):
    """More came than may."""


def _refusal(scope: Scope, status: int, message: str, hint: str) -> Response:
    if "/api/" in scope["path"]:
        return JSONResponse({"type": "about:blank", "title": "refused", "status": status, "detail": message, "hint": hint}, status,
                            media_type="application/problem+json")
    return PlainTextResponse(f"{message}\n{hint}\n", status)
