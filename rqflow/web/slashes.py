"""Names with slashes in addresses: `/variables/a%2Fb` is about the Variable a/b.

Servers hand on a path in which %2F has become a slash like any other. Here it becomes a sign that stands in for it while a route is looked up,
and a slash again in what the handler gets.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from starlette.convertors import PathConvertor, StringConvertor, register_url_convertor

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

#: Of Unicode's private use: nothing that people write.
_STAND_IN = "\ue02f"
_SLASH = re.compile(rb"%2f", re.IGNORECASE)


class _Name(StringConvertor):
    """A part of a path, with its slashes."""

    def convert(self, value: str) -> str:
        return value.replace(_STAND_IN, "/")


class _Rest(PathConvertor):
    """The rest of a path, with slashes of both kinds."""

    def convert(self, value: str) -> str:
        return value.replace(_STAND_IN, "/")


def allow() -> None:
    """Let routes that are made from now on have names with slashes as parts of their paths."""
    register_url_convertor("str", _Name())
    register_url_convertor("path", _Rest())


class SlashesInNames:
    """ASGI middleware: keeps slashes that are part of a name apart from those between names."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on."""
        raw = scope.get("raw_path") or b""
        if scope["type"] == "http" and _SLASH.search(raw):
            path = _SLASH.sub(quote(_STAND_IN).encode(), raw.partition(b"?")[0])
            scope = {**scope, "path": unquote_to_bytes(path).decode("utf-8", "replace")}
        await self._app(scope, receive, send)
