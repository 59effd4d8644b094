"""A hub that is asked over its REST API: the same operations, carried out by its web server. For `rqflow --server`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from enum import Enum
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import quote, urlsplit

from rqflow import wire
from rqflow.actions.model import plain
from rqflow.api.operation import Operation
from rqflow.broker.exposure import is_loopback
from rqflow.exceptions import (
    ConfigError,
    Conflict,
    NotFinished,
    NotFound,
    NotPermitted,
    RqflowError,
    ServiceUnreachable,
    TimedOut,
    UsageError,
)

I = TypeVar("I")  # noqa: E741 - input and output
O = TypeVar("O")  # noqa: E741

#: Seconds in which the server must be reached, and answer.
CONNECT, ANSWER = 10.0, 120.0
PREFIX = "/api/v1"
_PLACE = re.compile(r"\{(\w+)(?::path)?\}")
#: The error that an exit code stands for.
_ERRORS: dict[int, type[RqflowError]] = {
    2: UsageError, 3: NotFound, 4: NotPermitted, 5: Conflict, 6: ConfigError, 7: ServiceUnreachable, 8: NotFinished, 124: TimedOut}


class Server:
    """The web server of a hub."""

    def __init__(self, url: str, token: str) -> None:
        """Ask nothing yet. Raises UsageError for what is no URL, or no token at all."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(f"--server {url}: it is no URL", hint="Write it like https://hub.example or http://127.0.0.1:8080.")
        if not token:
            raise NotPermitted("a server wants to know who asks",
                               hint="Put a token into RQFLOW_TOKEN; `rqflow token create` at the hub, or the page, makes one.")
        import requests  # here: takes a tenth of a second, which commands at the hub do not need

        self._url = url.rstrip("/")
        self._session = requests.Session()
        # Proxies of the environment are heeded, and NO_PROXY; but no proxy reaches what listens on this machine alone.
        self._session.trust_env = not is_loopback(parts.hostname)
        self._session.headers.update({"Authorization": f"Bearer {token}", "Accept": "application/json"})

    def ask(self, wanted: Operation[I, O], asked: I) -> O:
        """Have an operation carried out, and return what it gives; raises what it raises there, and ServiceUnreachable."""
        path, query, body = _request(wanted, asked)
        answer = self._send(wanted.method, f"{self._url}{PREFIX}{path}", params=query, data=body)
        found: O = restored(wanted.given, wire.decode(answer)) if answer else None  # type: ignore[assignment]  # those that give nothing
        return found

    def _send(self, method: str, url: str, *, params: list[tuple[str, str]], data: bytes | None) -> bytes:
        import requests  # here: as above

        headers = {"Content-Type": "application/json"} if data is not None else {}
        try:
            # What leads elsewhere is not followed: the token would go along.
            answer = self._session.request(method, url, params=params, data=data, headers=headers, timeout=(CONNECT, ANSWER), allow_redirects=False)
        except requests.RequestException as error:
            raise ServiceUnreachable(f"{self._url} does not answer: {error}", hint="Is its web server running, and is that its URL?") from error
        if not 200 <= answer.status_code < 300:
            raise _problem(self._url, answer.status_code, answer.content)
        return answer.content

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


def _request(wanted: Operation[I, Any], asked: I) -> tuple[str, list[tuple[str, str]], bytes | None]:
    """Return path, query and body of the request for an operation; what has its default is left out."""
    in_path = set(_PLACE.findall(wanted.path))
    given = {field.name: value for field in fields(asked) if (value := getattr(asked, field.name)) != _default(field) or field.name in in_path}  # type: ignore[arg-type]  # inputs are dataclasses
    path = _PLACE.sub(lambda found: quote(str(given[found[1]]), safe=""), wanted.path)
    rest = {name: value for name, value in given.items() if name not in in_path}
    if wanted.method in {"GET", "DELETE"}:
        return path, [(name, _text(one)) for name, value in rest.items() for one in (value if isinstance(value, list | tuple) else [value])], None
    has_body = any(field.name not in in_path for field in fields(asked))  # type: ignore[arg-type]  # as above
    return path, [], wire.encode({name: plain(value) for name, value in rest.items()}) if has_body else None


def _default(field: Any) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _text(value: Any) -> str:
    value = plain(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _problem(url: str, status: int, content: bytes) -> RqflowError:
    """Return the error that an answer tells of."""
    try:
        said = wire.decode(content)
        kind = _ERRORS.get(said["exit_code"], RqflowError)
        return kind(str(said["detail"]), hint=str(said.get("hint", "")))
    except (ValueError, TypeError, KeyError):
        return ServiceUnreachable(f"{url} answers {status}, and not as rqflow's web server does", hint="Is that its URL, and what stands before it?")


def restored(kind: Any, value: Any, names: Mapping[Any, Any] | None = None) -> Any:
    """Return what JSON stands for a value of a type: dataclasses of any depth, enums, times, lists, unions with None.

    `names` has what type variables are. Fields that this release does not know are left out.
    """
    kind = (names or {}).get(kind, kind)
    origin = get_origin(kind)
    if value is None or kind is Any:
        return value
    if origin in {Union, UnionType}:
        return restored(next(one for one in get_args(kind) if one is not NoneType), value, names)
    if origin in {tuple, list}:
        return origin(restored(get_args(kind)[0], one, names) for one in value)
    if is_dataclass(origin if origin else kind):
        made = origin or kind
        own = dict(zip(getattr(made, "__parameters__", ()), get_args(kind), strict=True)) if origin else names
        hints = get_type_hints(made)
        return made(**{field.name: restored(hints[field.name], value[field.name], own) for field in fields(made) if field.name in value})
    if kind is datetime:
        return datetime.fromisoformat(value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    return value
