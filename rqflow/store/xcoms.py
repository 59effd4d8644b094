"""XComs, as the recorder writes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import select

from rqflow.store.engine import Connection
from rqflow.store.tables import xcom
from rqflow.store.upsert import Rule, upsert

_VALUES = Rule(table=xcom, order=("seq",))


def of_run(connection: Connection, run_key: str, task_ids: Collection[str] | None = None) -> dict[str, dict[str, str]]:
    """Return the XComs of a run, or of some of its tasks, as {task_id: {key: JSON text}}, the shape that the broker uses."""
    query = select(xcom.c.task_id, xcom.c.key, xcom.c.value).where(xcom.c.run_key == run_key, xcom.c.value.is_not(None))
    if task_ids is not None:
        query = query.where(xcom.c.task_id.in_(list(task_ids)))
    found: dict[str, dict[str, str]] = {}
    for task_id, key, value in connection.execute(query.order_by(xcom.c.task_id, xcom.c.key)):
        found.setdefault(task_id, {})[key] = value
    return found


def record(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write XComs as events tell them, all columns; one that is not newer by seq changes nothing. A value of None deletes."""
    upsert(connection, _VALUES, rows)
