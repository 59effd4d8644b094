"""Operations on Connections. Password and extra are written, and shown to nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rqflow.actions import connections
from rqflow.actions.connections import Shown
from rqflow.api.hub import Hub
from rqflow.api.operation import Nothing, Page, about, operation
from rqflow.api.variables import Stored
from rqflow.exceptions import UsageError
from rqflow.security.keyring import Keyring
from rqflow.security.roles import Role


@operation("connections.list", "GET", "/connections", Role.OPERATOR)
def list_connections(hub: Hub, _: Nothing) -> Page[Shown]:
    """List the Connections; *** stands for a password and for extra."""
    return Page(items=tuple(connections.list_all(hub.engine)))


@dataclass(frozen=True, kw_only=True, slots=True)
class OneConnection:
    """Which Connection."""

    conn_id: str = about("Its id.")


@operation("connections.get", "GET", "/connections/{conn_id}", Role.OPERATOR)
def get_connection(hub: Hub, asked: OneConnection) -> Shown:
    """Show a Connection; *** stands for a password and for extra."""
    return connections.listed(hub.engine, asked.conn_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class SetConnection(OneConnection):
    """What it is to be, in place of all that it had but a password and an extra that are not given."""

    uri: str | None = about("All of it as mysql://login:password@host:3306/schema?key=value; the fields that are given count before it.", None)
    conn_type: str | None = about("mysql, postgres, sqlite, http …", None)
    host: str | None = about("Host; of SQLite the file.", None)
    port: int | None = about("Port.", None)
    schema: str | None = about("Database.", None)
    login: str | None = about("User name.", None)
    password: str | None = about("Password; not given: the one that it has, empty: none.", None)
    extra: str | None = about("A JSON object with more, for the driver; not given: what it has, empty: none.", None)
    description: str | None = about("What it is for.", None)


@operation("connections.set", "PUT", "/connections/{conn_id}", Role.ADMIN)
def set_connection(hub: Hub, asked: SetConnection) -> Stored:
    """Make a Connection, or give it these fields. A secret that it has stays only while it leads to the same server."""
    given = {name: value for name in connections.FIELDS if (value := getattr(asked, name)) is not None}
    if asked.uri is None and not given:
        raise UsageError("neither a URI nor a field is given", hint="Write it like mysql://login:password@host/schema.")
    fields = connections.read(asked.conn_id, asked.uri) if asked.uri is not None else {}
    return _put(hub, {asked.conn_id: {**fields, **given}})


@operation("connections.delete", "DELETE", "/connections/{conn_id}", Role.ADMIN)
def delete_connection(hub: Hub, asked: OneConnection) -> None:
    """Delete a Connection."""
    connections.remove(hub.broker, hub.engine, [asked.conn_id], by=hub.person.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tested:
    """Whether a server answers over a Connection, and in words how."""

    conn_id: str
    works: bool
    message: str


@operation("connections.test", "POST", "/connections/{conn_id}/test", Role.ADMIN)
def test_connection(hub: Hub, asked: OneConnection) -> Tested:
    """Log in over a Connection from the machine of the web server, and ask for SELECT 1."""
    works, said = connections.test(hub.engine, Keyring.of(hub.settings), asked.conn_id)
    return Tested(conn_id=asked.conn_id, works=works, message=said)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportConnections:
    """Connections as `rqflow conn export` and Airflow write them."""

    connections: dict[str, Any] = about("{id: fields}, or {id: URI}.")


@operation("connections.import", "POST", "/connections/import", Role.ADMIN)
def import_connections(hub: Hub, asked: ImportConnections) -> Stored:
    """Store many Connections, all of them or none. A secret that is not given stays only while its Connection leads to the same server."""
    return _put(hub, connections.of_export(asked.connections))


@operation("connections.export", "GET", "/connections-export", Role.ADMIN)
def export_connections(hub: Hub, _: Nothing) -> dict[str, Any]:
    """Give all Connections without passwords and extras, as `connections.import` takes them."""
    return connections.without_secrets(hub.engine)


def _put(hub: Hub, wanted: dict[str, dict[str, Any]]) -> Stored:
    keyring = Keyring.of(hub.settings)
    kept = {conn_id: connections.read(conn_id, connections.keeping(hub.engine, keyring, conn_id, fields)) for conn_id, fields in wanted.items()}
    new = connections.put(hub.broker, hub.engine, keyring, kept, by=hub.person.name)
    return Stored(names=tuple(wanted), new=new)
