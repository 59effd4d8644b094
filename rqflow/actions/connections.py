"""Connections: kept in SQL, passwords and extras sealed, mirrored into Redis, opened for whoever has the key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rqflow import settings
from rqflow.actions.variables import check, check_keys, json_object
from rqflow.broker.broker import Broker
from rqflow.dag import outside
from rqflow.exceptions import NotFound, UsageError
from rqflow.operators import hooks
from rqflow.recorder import mirroring
from rqflow.security.entries import CONN, SEALED, opened, secrets_of
from rqflow.security.keyring import Keyring
from rqflow.security.masking import STARS, is_sensitive
from rqflow.store import connections, events
from rqflow.store.connections import ConnectionRecord
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction
from rqflow.store.types import clean

#: Fields of a Connection besides its id, in the order in which they are shown.
FIELDS = ("conn_type", "host", "port", "schema", "login", "password", "extra", "description")
#: Fields that say where a Connection leads.
_TARGET = ("conn_type", "host", "port")
_HINT = "`rqflow conn list` shows them."


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A Connection as it is shown: `***` stands for a password, and for what is secret in `extra`, unless it was asked for."""

    conn_id: str
    conn_type: str
    host: str
    port: int | None
    schema: str
    login: str
    password: str
    extra: str
    description: str
    uri: str
    updated_at: datetime


def list_all(engine: Engine) -> list[Shown]:
    """Return all Connections; of what is secret only whether it is there, so no key is needed."""
    with reading(engine) as connection:
        records = connections.list_all(connection)
    return [_listed(record) for record in records]


def listed(engine: Engine, conn_id: str) -> Shown:
    """Return a Connection as `list_all` does; raises NotFound."""
    with reading(engine) as connection:
        return _listed(_record(connection, conn_id))


def get(engine: Engine, keyring: Keyring, conn_id: str, *, show_secrets: bool = False) -> Shown:
    """Return a Connection; raises NotFound, WrongKey."""
    record, fields = _opened(engine, keyring, conn_id)
    return _shown(record, fields if show_secrets else hidden(fields))


def hidden(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a Connection with stars for what is secret: the password, and what has such a name in `extra`."""
    shown = dict(fields)
    if shown.get("password"):
        shown["password"] = STARS
    if shown.get("extra"):
        extra = outside.Connection("", extra=shown["extra"]).extra_dejson
        shown["extra"] = json.dumps(_starred(extra), ensure_ascii=False) if extra else STARS
    return shown


def read(conn_id: str, given: Any) -> dict[str, Any]:
    """Return the fields of what is given as a URI, as JSON text or as a mapping; raises UsageError for what is none, without showing it."""
    try:
        connection = outside.Connection.read(conn_id, given)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        said = f": {error.msg}" if isinstance(error, json.JSONDecodeError) else ""
        raise UsageError(f"the Connection {conn_id} is neither a URI nor a JSON object of its fields{said}",
                         hint="Write it like mysql://login:password@host:3306/schema?key=value, with %40 for an @ in the password.") from None
    if not connection.conn_type:
        raise UsageError(f"the Connection {conn_id} has no type", hint="Write it like mysql://login:password@host/schema, or give --type.")
    fields = {name: getattr(connection, name) for name in FIELDS}
    if odd := [name for name, value in fields.items() if not isinstance(value, str | int | float | None)]:
        raise UsageError(f"{odd[0]} of the Connection {conn_id} is no text")
    return {name: value if name == "port" else clean(str(value)) for name, value in fields.items() if value not in (None, "")}


def put(broker: Broker, engine: Engine, keyring: Keyring, wanted: Mapping[str, Mapping[str, Any]], *, by: str) -> int:
    """Make Connections, or give them these fields in place of all that they had, all or none; return how many are new.

    Raises UsageError for what cannot be stored, WrongKey when what is stored was sealed with a key that is not at hand.
    """
    for conn_id, fields in wanted.items():
        _check(conn_id, fields)

    def write(connection: Connection) -> int:
        check_keys(connection, keyring)
        new = 0
        for conn_id, fields in wanted.items():
            sealed, name = dict(fields), None
            for field in SEALED:
                if sealed.get(field):
                    name, sealed[field] = keyring.seal(str(sealed[field]))
            new += connections.put(connection, conn_id, sealed, secret_key=name)
            events.add(connection, "connection_set", who=by, conn_id=conn_id)
        return new

    new = run_in_transaction(engine, write)
    mirroring.send(broker, engine)
    return new


def keeping(engine: Engine, keyring: Keyring, conn_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a Connection with the password and the extra that it has, where these are not given; empty ones take them away.

    Raises UsageError when what it has would go to another server, whose owner could read it then: nobody sees secrets by changing a host. WrongKey.
    """
    with reading(engine) as connection:
        record = connections.get(connection, conn_id)
    missing = [name for name in SEALED if name not in fields and record is not None and getattr(record, name)]
    if record is None or not missing:
        return dict(fields)
    wanted = read(conn_id, fields)
    if any((wanted.get(name) or "") != (getattr(record, name) or "") for name in _TARGET):
        raise UsageError(f"the Connection {conn_id} leads to another server now: give its {' and '.join(missing)} anew",
                         hint="Empty text takes it away.")
    had = opened(keyring, CONN, conn_id, record.entry)
    return {**fields, **{name: had[name] for name in missing}}


def remove(broker: Broker, engine: Engine, conn_ids: Sequence[str], *, by: str) -> None:
    """Delete Connections, which needs no key; raises NotFound, and deletes none, when one does not exist."""
    def write(connection: Connection) -> None:
        for conn_id in conn_ids:
            if connections.get(connection, conn_id) is None:
                raise NotFound(f"there is no Connection {conn_id}", hint=_HINT)
            events.add(connection, "connection_deleted", who=by, conn_id=conn_id)
        connections.remove(connection, conn_ids)

    run_in_transaction(engine, write)
    mirroring.send(broker, engine)


def without_secrets(engine: Engine) -> dict[str, Any]:
    """Return {id: fields} of all Connections as `exported` does, without passwords and extras."""
    shown = {one.conn_id: {name: getattr(one, name) for name in FIELDS if name not in SEALED} for one in list_all(engine)}
    return {conn_id: {name: value for name, value in fields.items() if value not in (None, "")} for conn_id, fields in shown.items()}


def exported(engine: Engine, keyring: Keyring) -> dict[str, Any]:
    """Return {id: fields} of all Connections in clear, as `read_file` and Airflow understand it; raises WrongKey."""
    with reading(engine) as connection:
        records = connections.list_all(connection)
    return {record.conn_id: {name: value for name, value in opened(keyring, CONN, record.conn_id, record.entry).items() if name in FIELDS}
            for record in records}


def read_file(text: str, name: str) -> dict[str, dict[str, Any]]:
    """Return the Connections that the text of an exported file holds, rqflow's or Airflow's; raises UsageError naming it."""
    return of_export(json_object(text, name, "Connections"))


def of_export(plain: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the Connections of what an exported file holds; raises UsageError."""
    return {conn_id: read(conn_id, given) for conn_id, given in plain.items()}


def test(engine: Engine, keyring: Keyring, conn_id: str) -> tuple[bool, str]:
    """Tell whether a database answers over a Connection, and in words how; one of the environment comes first, as for tasks.

    Raises NotFound, WrongKey, and UsageError for a type that rqflow has no driver for.
    """
    given = settings.given(f"CONN_{conn_id.upper()}")
    fields = read(conn_id, given) if given is not None else _opened(engine, keyring, conn_id)[1]
    works, said = hooks.test(outside.Connection.read(conn_id, fields))
    for secret in secrets_of(CONN, conn_id, fields):
        said = said.replace(secret, STARS)
    return works, said


def _opened(engine: Engine, keyring: Keyring, conn_id: str) -> tuple[ConnectionRecord, dict[str, Any]]:
    with reading(engine) as connection:
        record = _record(connection, conn_id)
    return record, opened(keyring, CONN, conn_id, record.entry)


def _record(connection: Connection, conn_id: str) -> ConnectionRecord:
    record = connections.get(connection, conn_id)
    if record is None:
        raise NotFound(f"there is no Connection {conn_id}", hint=_HINT)
    return record


def _check(conn_id: str, fields: Mapping[str, Any]) -> None:
    check(conn_id, str(fields.get("extra", "")))
    extra = fields.get("extra")
    if extra and not isinstance(_json(str(extra)), dict):
        raise UsageError(f"extra of the Connection {conn_id} must be a JSON object")
    if not 0 < (fields.get("port") or 1) < 65536:
        raise UsageError(f"the Connection {conn_id} has no such port: {fields['port']}")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _starred(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _starred(item, str(key)) for key, item in value.items()}
    return STARS if is_sensitive(name) else value


def _listed(record: ConnectionRecord) -> Shown:
    return _shown(record, {**record.entry, "password": record.password and STARS, "extra": record.extra and STARS})


def _shown(record: ConnectionRecord, fields: Mapping[str, Any]) -> Shown:
    plain = {name: fields.get(name) or "" for name in FIELDS if name != "port"}
    extra = None if plain["extra"] == STARS else plain["extra"]
    connection = outside.Connection.read(record.conn_id, {**plain, "port": fields.get("port"), "extra": extra})
    uri = connection.get_uri().replace(":%2A%2A%2A@", f":{STARS}@")
    return Shown(conn_id=record.conn_id, port=fields.get("port"), uri=uri, updated_at=record.updated_at, **plain)
