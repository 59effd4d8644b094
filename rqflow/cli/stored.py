"""Variables and Connections of a hub elsewhere, for DAG files that are loaded here. No secret of them comes over the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rqflow.api.connections import OneConnection, get_connection, list_connections
from rqflow.api.operation import Nothing
from rqflow.api.variables import OneVariable, get_variable, list_variables
from rqflow.cli.app import App
from rqflow.cli.hub import asking
from rqflow.exceptions import NotFound, NotPermitted
from rqflow.security.entries import VAR
from rqflow.security.masking import STARS


class OfServer(Mapping[str, Any]):
    """Those of one kind, asked one by one. Raises NotPermitted for what holds a secret."""

    def __init__(self, app: App, kind: str) -> None:
        """Ask nothing yet."""
        self._app, self._kind = app, kind

    def __getitem__(self, name: str) -> Any:
        """Return a Variable's value, or the fields of a Connection; raises KeyError."""
        try:
            return self._variable(name) if self._kind == VAR else self._connection(name)
        except NotFound as error:
            raise KeyError(name) from error

    def _variable(self, name: str) -> str:
        with asking(self._app) as ask:
            found = ask(get_variable, OneVariable(key=name))
        if found.is_secret or found.value is None:
            raise _secret(f"Variable {name}", f"RQFLOW_VAR_{name.upper()}")
        return found.value

    def _connection(self, name: str) -> dict[str, Any]:
        with asking(self._app) as ask:
            found = ask(get_connection, OneConnection(conn_id=name))
        if STARS in {found.password, found.extra}:
            raise _secret(f"Connection {name}", f"RQFLOW_CONN_{name.upper()}")
        names = ("conn_type", "host", "port", "schema", "login", "description")
        return {field: value for field in names if (value := getattr(found, field)) is not None}

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        with asking(self._app) as ask:
            if self._kind == VAR:
                yield from [one.key for one in ask(list_variables, Nothing()).items]
            else:
                yield from [one.conn_id for one in ask(list_connections, Nothing()).items]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(list(iter(self)))


def _secret(what: str, variable: str) -> NotPermitted:
    return NotPermitted(f"the {what} is a secret, which no hub gives away over the network",
                        hint=f"Read it in a template, which is rendered on the worker, or set {variable} in the environment.")
