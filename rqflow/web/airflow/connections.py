"""Connections. Password and extra are never given: *** stands for an extra."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query

from rqflow.actions.connections import Shown
from rqflow.api import connections as operations
from rqflow.api.connections import OneConnection, SetConnection
from rqflow.api.hub import Hub
from rqflow.api.operation import Nothing, must_permit, perform
from rqflow.exceptions import Conflict, UsageError
from rqflow.security.masking import STARS
from rqflow.web.airflow.asking import ThePart, masked, words
from rqflow.web.airflow.hub_models import Connection, ConnectionGiven, ConnectionItem, ConnectionList
from rqflow.web.deps import TheHub

router = APIRouter(include_in_schema=False)

#: By what Connections may be ordered.
_ORDERS: dict[str, Callable[[Shown], Any]] = {
    "id": lambda one: one.conn_id, "connection_id": lambda one: one.conn_id, "conn_type": lambda one: one.conn_type, "host": lambda one: one.host,
    "description": lambda one: one.description, "port": lambda one: one.port or 0}
_FIELDS = ("conn_type", "host", "port", "schema", "login", "description")
_SECRETS = ("password", "extra")


@router.get("/connections")
def list_connections(hub: TheHub, part: ThePart) -> ConnectionList:
    """List the Connections."""
    name, descends = part.order(_ORDERS, "id")
    found = sorted(perform(hub, operations.list_connections, Nothing()).items, key=_ORDERS[name], reverse=descends)
    return ConnectionList(connections=[ConnectionItem(**_plain(one)) for one in part.of(found)], total_entries=len(found))


@router.post("/connections")
def add_connection(hub: TheHub, body: ConnectionGiven) -> Connection:
    """Make a Connection."""
    must_permit(hub, operations.set_connection)
    if not body.connection_id or not body.conn_type:
        raise UsageError(f"Missing required property(ies): {[name for name in ('connection_id', 'conn_type') if not getattr(body, name)]}")
    if body.connection_id in {one.conn_id for one in perform(hub, operations.list_connections, Nothing()).items}:
        raise Conflict(f"Connection already exist. ID: {body.connection_id}")
    given = {name: value for name, value in body.model_dump(by_alias=True, exclude_none=True).items() if name != "connection_id"}
    perform(hub, operations.set_connection, SetConnection(conn_id=body.connection_id, **given))
    return _get(hub, body.connection_id)


@router.get("/connections/{connection_id:path}")
def get_connection(hub: TheHub, connection_id: str) -> Connection:
    """Show a Connection."""
    return _get(hub, connection_id)


@router.patch("/connections/{connection_id:path}")
def change_connection(hub: TheHub, connection_id: str, body: ConnectionGiven,
                      update_mask: Annotated[list[str] | None, Query()] = None) -> Connection:
    """Change a Connection; what is not given stays."""
    must_permit(hub, operations.set_connection)
    if body.connection_id is not None and body.connection_id != connection_id:
        raise UsageError("The connection_id cannot be updated.")
    change = masked(body, words(update_mask), {*_FIELDS, *_SECRETS})
    now = perform(hub, operations.get_connection, OneConnection(conn_id=connection_id))
    fields = {name: change.get(name, getattr(now, name)) for name in _FIELDS}
    # Whoever sends back what they were shown means the secret that is there.
    fields |= {name: change[name] or "" for name in _SECRETS if name in change and change[name] != STARS}
    given = {name: value for name, value in fields.items() if value is not None and (value != "" or name in _SECRETS)}
    perform(hub, operations.set_connection, SetConnection(conn_id=connection_id, **given))
    return _get(hub, connection_id)


@router.delete("/connections/{connection_id:path}", status_code=204)
def delete_connection(hub: TheHub, connection_id: str) -> None:
    """Delete a Connection."""
    perform(hub, operations.delete_connection, OneConnection(conn_id=connection_id))


def _get(hub: Hub, connection_id: str) -> Connection:
    found = perform(hub, operations.get_connection, OneConnection(conn_id=connection_id))
    return Connection(**_plain(found), extra=STARS if found.extra else None)


def _plain(one: Shown) -> dict[str, Any]:
    texts = {name: getattr(one, name) or None for name in _FIELDS if name != "conn_type"}
    return {"connection_id": one.conn_id, "conn_type": one.conn_type, **texts}
