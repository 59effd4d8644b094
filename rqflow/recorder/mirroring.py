"""From SQL into Redis: Variables and Connections, for workers. They are sealed, so whoever carries them over needs no key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rqflow.broker.broker import Broker
from rqflow.broker.mirror import Mirror
from rqflow.store import connections, variables
from rqflow.store.engine import Connection, Engine, reading

Entries = Mapping[str, Mapping[str, Mapping[str, Any]]]


def stored(connection: Connection) -> Entries:
    """Return {kind: {name: entry}} of all that is stored."""
    return {
        "VAR": {record.key: record.entry for record in variables.list_all(connection)},
        "CONN": {record.conn_id: record.entry for record in connections.list_all(connection)},
    }


def send(broker: Broker, engine: Engine) -> None:
    """Give Redis what SQL has now. Raises StoreError, or redis-py's errors when Redis does not answer; may be repeated then."""
    def look() -> tuple[str, Entries]:
        with reading(engine) as connection:
            return _state(connection), stored(connection)

    Mirror(broker.connection).write(look)


def send_if_changed(broker: Broker, engine: Engine) -> bool:
    """Give Redis what SQL has, if that is another than when it was given last: a change may have been made while Redis was away."""
    with reading(engine) as connection:
        now = _state(connection)
    if now == Mirror(broker.connection).state():
        return False
    send(broker, engine)
    return True


def _state(connection: Connection) -> str:
    return f"{variables.state(connection)} {connections.state(connection)}"
