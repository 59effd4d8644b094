"""Whether there is something to do for the leader's chores, asked for all of them in one question."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, exists, or_, select

from rqflow.states import TERMINAL_BACKFILL_STATES, BackfillState
from rqflow.store import callbacks, deletions, schedules
from rqflow.store.engine import Connection
from rqflow.store.tables import backfill
from rqflow.store.types import UtcDateTime

_GOES_ON = or_(*(backfill.c.state == state.value for state in BackfillState if state not in TERMINAL_BACKFILL_STATES | {BackfillState.PAUSED}))
#: Asked all the time, so it is one statement, and built once; without lists, which SQLAlchemy spells out anew at each call.
_QUESTION = select(exists().where(deletions.is_to_do(bindparam("settled_before", type_=UtcDateTime()))), exists().where(_GOES_ON),
                   exists().where(callbacks.IS_OPEN), exists().where(schedules.is_due(bindparam("now", type_=UtcDateTime()))))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What waits to be done: something that was deleted, a backfill that goes on, a call of an author's functions, a run
    that is due.
    """

    removals: bool
    backfills: bool
    callbacks: bool
    schedules: bool


def look(connection: Connection, now: datetime, settle: timedelta) -> Wanted:
    """Return what waits at `now`; removals that were done longer ago than `settle` are done once more."""
    return Wanted(*map(bool, connection.execute(_QUESTION, {"now": now, "settled_before": now - settle}).one()))
