"""The epochs of Redis: each time that the live state was put right from the history."""

from __future__ import annotations

from sqlalchemy import func, insert, select

from rqflow import clock
from rqflow.store.conventions import LINE
from rqflow.store.engine import Connection
from rqflow.store.machine_tables import epoch
from rqflow.store.types import clean


def last(connection: Connection) -> int:
    """Return the number of the last epoch, 0 when there was none."""
    return int(connection.execute(select(func.max(epoch.c.number))).scalar() or 0)


def begin(connection: Connection, number: int, *, run_id: str, reason: str) -> None:
    """Write down that an epoch begins; raises SQLAlchemy's IntegrityError when somebody else has begun it."""
    connection.execute(insert(epoch).values(number=number, run_id=run_id, reason=clean(reason, LINE), began_at=clock.utcnow()))
