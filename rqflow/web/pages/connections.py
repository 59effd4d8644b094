"""Connections: where they lead, without their secrets; making, changing, testing and deleting them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from rqflow.actions import connections
from rqflow.api.connections import (
    ImportConnections,
    OneConnection,
    SetConnection,
    delete_connection,
    export_connections,
    get_connection,
    import_connections,
    list_connections,
    set_connection,
    test_connection,
)
from rqflow.api.operation import Nothing, must_permit, perform
from rqflow.exceptions import RqflowError, UsageError
from rqflow.web import transfer
from rqflow.web.answers import done
from rqflow.web.deps import Filled, TheHub
from rqflow.web.pages.workers import counted
from rqflow.web.problems import status_of
from rqflow.web.rendering import OK, WARN, page
from rqflow.web.transfer import Transfer

router = APIRouter(include_in_schema=False)
PLACE = "/connections"
transfer.add(router, Transfer(
    name="connection", what="Connections", place=PLACE, exporting=export_connections, importing=import_connections,
    example='{"warehouse": {"conn_type": "mysql", "host": "db1"}, "lims": "postgres://…"}',
    asked=lambda plain: ImportConnections(connections=plain),
    said=lambda stored: f"{counted(len(stored.names), 'Connection')} stored, {stored.new} new."))
#: Fields of the form that are shown as they are.
_SHOWN = ("conn_type", "host", "schema", "login", "description")


@router.get("/connections")
def connections_page(request: Request, hub: TheHub, q: str = "") -> HTMLResponse:
    """Show the Connections; with `q` those with that in their id, type, host or description."""
    found = perform(hub, list_connections, Nothing()).items
    wanted = q.strip().casefold()
    shown = [one for one in found if any(wanted in text.casefold() for text in (one.conn_id, one.conn_type, one.host, one.description))]
    return page(request, "connections.html", connections=shown, total=len(found), q=q)


@router.get("/connection-new")
def new_page(request: Request, hub: TheHub) -> HTMLResponse:
    """Show the form that makes a Connection."""
    must_permit(hub, set_connection)
    return _form(request, "", {})


@router.post("/connections")
def make(request: Request, hub: TheHub, filled: Filled) -> Response:
    """Make a Connection."""
    return _set(request, hub, filled.get("conn_id", "").strip(), filled, is_new=True)


@router.get("/connections/{conn_id}/edit")
def edit_page(request: Request, hub: TheHub, conn_id: str) -> HTMLResponse:
    """Show the form that changes a Connection."""
    must_permit(hub, set_connection)
    found = perform(hub, get_connection, OneConnection(conn_id=conn_id))
    return _form(request, conn_id, {**{name: getattr(found, name) for name in _SHOWN}, "port": str(found.port or "")},
                 has_password=bool(found.password), has_extra=bool(found.extra))


@router.post("/connections/{conn_id}/edit")
def edit(request: Request, hub: TheHub, conn_id: str, filled: Filled) -> Response:
    """Change a Connection."""
    return _set(request, hub, conn_id, filled, is_new=False)


@router.post("/connections/{conn_id}/test")
def test(request: Request, hub: TheHub, conn_id: str) -> Response:
    """Try a Connection."""
    found = perform(hub, test_connection, OneConnection(conn_id=conn_id))
    return done(request, PLACE, f"Connection {conn_id}: {'' if found.works else 'it does not work: '}{found.message}", OK if found.works else WARN)


@router.get("/connections/{conn_id}/delete")
def delete_page(request: Request, hub: TheHub, conn_id: str) -> HTMLResponse:
    """Ask whether a Connection is to go."""
    must_permit(hub, delete_connection)
    return page(request, "secret_delete.html", what="Connection", name=perform(hub, get_connection, OneConnection(conn_id=conn_id)).conn_id,
                place=PLACE)


@router.post("/connections/{conn_id}/delete")
def delete(request: Request, hub: TheHub, conn_id: str) -> Response:
    """Delete a Connection."""
    perform(hub, delete_connection, OneConnection(conn_id=conn_id))
    return done(request, PLACE, f"Connection {conn_id} deleted.")


def _set(request: Request, hub: TheHub, conn_id: str, filled: Filled, *, is_new: bool) -> Response:
    """Store what was filled in; a secret whose field was left empty stays unless it is to go, and no answer shows what was typed for one."""
    must_permit(hub, set_connection)
    before = None if is_new else perform(hub, get_connection, OneConnection(conn_id=conn_id))
    try:
        if is_new and any(one.conn_id == conn_id for one in connections.list_all(hub.engine)):
            raise UsageError(f"there is a Connection {conn_id} already", hint="Change that one.")
        stored = perform(hub, set_connection, SetConnection(conn_id=conn_id, **_fields(filled)))
    except RqflowError as error:
        if status_of(error) != 422:
            raise
        found = _form(request, "" if is_new else conn_id, filled, has_password=bool(before and before.password),
                      has_extra=bool(before and before.extra), problem=str(error))
        found.status_code = 422
        return found
    return done(request, PLACE, f"Connection {conn_id} {'made' if stored.new else 'changed'}.")


def _fields(filled: Filled) -> dict[str, Any]:
    """Return the fields that were filled in. Raises UsageError for a port that is none."""
    port = filled.get("port", "").strip()
    if port and not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise UsageError(f"port: {port[:20]!r} is none")
    given: dict[str, Any] = {name: filled[name].strip() for name in _SHOWN if filled.get(name, "").strip()}
    for name in ("password", "extra"):
        if filled.get(name):
            given[name] = filled[name]
        elif filled.get(f"no_{name}") == "1":
            given[name] = ""
    return {**given, **({"port": int(port)} if port else {})}


def _form(request: Request, conn_id: str, values: Mapping[str, str], *, has_password: bool = False, has_extra: bool = False,
          problem: str = "") -> HTMLResponse:
    return page(request, "connection_form.html", conn_id=conn_id, values=values, has_password=has_password, has_extra=has_extra, problem=problem)
