"""How far the schedule of each DAG was followed: kept with the DAG, changed only where nobody else changed it meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update

from rqflow.dag.run import BACKFILL
from rqflow.states import TERMINAL_RUN_STATES, RunState
from rqflow.store.engine import Connection
from rqflow.store.tables import dag, dag_run


@dataclass(frozen=True, kw_only=True, slots=True)
class Followed:
    """A series of scheduled dates, and how far it was followed."""

    #: What it is, as text: another one begins anew.
    series: str
    start: datetime
    #: All logical dates up to this one are settled; None: none is.
    upto: datetime | None
    #: When the next run is due; None: no more comes.
    next_run_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DueDag:
    """A DAG of which a scheduled run is due."""

    dag_id: str
    version: str
    followed: Followed


def get(connection: Connection, dag_id: str) -> Followed | None:
    """Return how far the DAG's schedule was followed; None when it has none, or is not known."""
    columns = (dag.c.series, dag.c.series_start, dag.c.settled_upto, dag.c.next_run_at)
    row = connection.execute(select(*columns).where(dag.c.dag_id == dag_id)).first()
    return None if row is None or row.series is None else _followed(row)


def put(connection: Connection, dag_id: str, followed: Followed | None) -> None:
    """Follow this series from now on; None: none."""
    values: dict[str, Any] = {"series": None, "series_start": None, "settled_upto": None, "next_run_at": None}
    if followed:
        values = {"series": followed.series, "series_start": followed.start, "settled_upto": followed.upto, "next_run_at": followed.next_run_at}
    connection.execute(update(dag).where(dag.c.dag_id == dag_id).values(values))


def advance(connection: Connection, dag_id: str, before: Followed, *, upto: datetime | None, next_run_at: datetime | None) -> bool:
    """Note that the series was followed further; False when somebody else has changed it since `before` was read: nothing is changed then."""
    same = (dag.c.settled_upto.is_(None) if before.upto is None else dag.c.settled_upto == before.upto)
    query = update(dag).where(dag.c.dag_id == dag_id, dag.c.series == before.series, same)
    return connection.execute(query.values(settled_upto=upto, next_run_at=next_run_at)).rowcount == 1


def is_due(now: Any) -> ColumnElement[bool]:
    """Return the condition that a run of a DAG, which is neither paused nor gone, is due at `now`."""
    return and_(dag.c.next_run_at <= now, dag.c.is_active, ~dag.c.is_paused, dag.c.version.is_not(None))


def due(connection: Connection, now: datetime) -> list[DueDag]:
    """Return the DAGs, neither paused nor gone, of which a run is due at `now`: those that wait longest first."""
    columns = (dag.c.dag_id, dag.c.version, dag.c.series, dag.c.series_start, dag.c.settled_upto, dag.c.next_run_at)
    rows = connection.execute(select(*columns).where(is_due(now)).order_by(dag.c.next_run_at, dag.c.dag_id))
    return [DueDag(dag_id=row.dag_id, version=row.version, followed=_followed(row)) for row in rows]


def upcoming(connection: Connection) -> dict[str, datetime]:
    """Return {dag_id: when its next run is due} of all DAGs that are neither paused nor gone and have one."""
    query = select(dag.c.dag_id, dag.c.next_run_at).where(dag.c.next_run_at.is_not(None), dag.c.is_active, ~dag.c.is_paused)
    return {row.dag_id: row.next_run_at for row in connection.execute(query)}


def earliest(connection: Connection) -> datetime | None:
    """Return when the next scheduled run of all DAGs is due, or None."""
    query = select(func.min(dag.c.next_run_at)).where(dag.c.is_active, ~dag.c.is_paused)
    found: datetime | None = connection.execute(query).scalar()
    return found


def unfinished(connection: Connection, dag_ids: Sequence[str]) -> dict[str, int]:
    """Return {dag_id: number of its runs that have not ended} of these DAGs; those of a backfill, which has a limit of its own, are not counted."""
    open_states = [state.value for state in RunState if state not in TERMINAL_RUN_STATES]
    query = select(dag_run.c.dag_id, func.count()).where(dag_run.c.dag_id.in_(dag_ids), dag_run.c.state.in_(open_states))
    query = query.where(or_(dag_run.c.run_type.is_(None), dag_run.c.run_type != BACKFILL))
    return {row[0]: row[1] for row in connection.execute(query.group_by(dag_run.c.dag_id))}


def set_paused(connection: Connection, dag_id: str, is_paused: bool, now: datetime, *, reason: str | None = None) -> bool:
    """Pause a DAG, for a reason that people read, or let it go on; False when it was so already."""
    query = update(dag).where(dag.c.dag_id == dag_id, dag.c.is_paused != is_paused)
    return connection.execute(query.values(is_paused=is_paused, pause_reason=reason, updated_at=now)).rowcount == 1


def _followed(row: object) -> Followed:
    return Followed(series=row.series, start=row.series_start, upto=row.settled_upto, next_run_at=row.next_run_at)  # type: ignore[attr-defined]
