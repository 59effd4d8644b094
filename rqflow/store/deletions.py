"""Tombstones: which DAGs and runs were deleted, and how far their removal is. While one stands, nothing of it is started, recorded or taken up again.

`is_deleted` is the question for whoever reads DAG files by itself: a DAG that was deleted comes back by a person's submit alone (`lift`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, delete, exists, func, insert, literal, or_, select, update

from rqflow.exceptions import Conflict
from rqflow.store.clean import ROWS, remove_rest_of, remove_versions_of, remove_whole_run
from rqflow.store.engine import Connection
from rqflow.store.tables import dag, dag_run, deletion

DAG, RUN = "dag", "run"
#: Asked with each batch of events, so it is built once.
_AMONG = select(deletion.c.kind, deletion.c.name).where(or_(
    and_(deletion.c.kind == RUN, deletion.c.name.in_(bindparam("run_keys", expanding=True))),
    and_(deletion.c.kind == DAG, deletion.c.name.in_(bindparam("dag_ids", expanding=True)))))
#: Keys that one question names.
_ASKED = 500


class Stage(StrEnum):
    """How far a removal is."""

    #: It is under way.
    GOING = "going"
    #: It is done, and is done once more a while later, for what was on its way.
    SETTLING = "settling"
    GONE = "gone"


@dataclass(frozen=True, kw_only=True, slots=True)
class Deletion:
    """A tombstone; the columns of table deletion."""

    kind: str
    #: dag_id, or run_key.
    name: str
    dag_id: str
    run_id: str
    run_type: str | None
    logical_date: datetime | None
    keeps_logs: bool
    state: Stage
    who: str
    asked_at: datetime
    changed_at: datetime


def bury_dag(connection: Connection, dag_id: str, *, who: str, keeps_logs: bool, now: datetime) -> None:
    """Put a tombstone on a DAG that exists and on each of its runs; no run of it starts any more. Safe to repeat."""
    # The lock puts this and a start of a run, which takes it too, in order.
    connection.execute(select(dag.c.dag_id).where(dag.c.dag_id == dag_id).with_for_update())
    connection.execute(update(dag).where(dag.c.dag_id == dag_id).values(is_active=False, next_run_at=None, updated_at=now))
    common = {"state": Stage.GOING.value, "who": who, "asked_at": now, "changed_at": now}
    connection.execute(delete(deletion).where(_is(DAG, dag_id)))
    connection.execute(insert(deletion).values(kind=DAG, name=dag_id, dag_id=dag_id, run_id="", keeps_logs=keeps_logs, **common))
    again = deletion.c.kind == RUN, deletion.c.name.in_(select(dag_run.c.run_key).where(dag_run.c.dag_id == dag_id))
    connection.execute(delete(deletion).where(*again))
    bury_runs_of(connection, dag_id, who=who, now=now)


def bury_runs_of(connection: Connection, dag_id: str, *, who: str, now: datetime) -> int:
    """Put a tombstone on each run of a deleted DAG that has none; return how many that were: one may have begun in the same moment."""
    # Their logs go, or stay, with those of the DAG.
    values = {"kind": literal(RUN), "name": dag_run.c.run_key, "dag_id": dag_run.c.dag_id, "run_id": dag_run.c.run_id, "run_type": dag_run.c.run_type,
              "logical_date": dag_run.c.logical_date, "keeps_logs": literal(True), "state": literal(Stage.GOING.value), "who": literal(who),
              "asked_at": literal(now, deletion.c.asked_at.type), "changed_at": literal(now, deletion.c.changed_at.type)}
    which = dag_run.c.dag_id == dag_id, not_buried(RUN, dag_run.c.run_key)
    count = connection.execute(select(func.count()).select_from(dag_run).where(*which)).scalar_one()
    if count:
        connection.execute(insert(deletion).from_select(list(values), select(*values.values()).where(*which)))
    return count


def bury_run(connection: Connection, run_key: str, *, who: str, keeps_logs: bool, now: datetime) -> None:
    """Put a tombstone on a run that exists. Safe to repeat."""
    connection.execute(delete(deletion).where(_is(RUN, run_key)))
    run = connection.execute(select(dag_run).where(dag_run.c.run_key == run_key).with_for_update()).one()
    connection.execute(insert(deletion).values(
        kind=RUN, name=run_key, dag_id=run.dag_id, run_id=run.run_id, run_type=run.run_type, logical_date=run.logical_date, keeps_logs=keeps_logs,
        state=Stage.GOING.value, who=who, asked_at=now, changed_at=now))


def is_deleted(connection: Connection, dag_id: str) -> bool:
    """Tell whether the DAG was deleted, and no person has submitted it since. Sees what others have committed, inside a transaction too."""
    query = select(deletion.c.state).where(_is(DAG, dag_id)).with_for_update(read=True)
    return connection.execute(query).first() is not None


def tombstones(connection: Connection) -> dict[str, Deletion]:
    """Return {dag_id: its tombstone} of all DAGs that were deleted and not submitted again."""
    rows = connection.execute(select(deletion).where(deletion.c.kind == DAG)).mappings()
    return {row["name"]: _record(row) for row in rows}


def stage(connection: Connection, kind: str, name: str) -> Stage | None:
    """Return how far a removal is; None for what was not deleted."""
    found = connection.execute(select(deletion.c.state).where(_is(kind, name))).scalar()
    return None if found is None else Stage(found)


def lift(connection: Connection, dag_id: str) -> bool:
    """Let a DAG come back: a person submits it. False when it was not deleted; raises Conflict while its removal is under way."""
    found = connection.execute(select(deletion.c.state).where(_is(DAG, dag_id)).with_for_update()).scalar()
    if found == Stage.GOING:
        raise Conflict(f"{dag_id} is being deleted", hint="Submit it again when that is done; a scheduler (`rqflow scheduler`) carries it through.")
    return connection.execute(delete(deletion).where(_is(DAG, dag_id))).rowcount > 0


def lift_run(connection: Connection, run_key: str) -> bool:
    """Let a run of this key be started again; False while the removal of the one that had it is under way."""
    found = connection.execute(select(deletion.c.state).where(_is(RUN, run_key))).scalar()
    if found is not None and found != Stage.GOING:
        connection.execute(delete(deletion).where(_is(RUN, run_key)))
    return found != Stage.GOING


def of_runs(connection: Connection, run_keys: Collection[str]) -> set[str]:
    """Return which of these runs were deleted."""
    keys = list(run_keys)
    found: set[str] = set()
    for at in range(0, len(keys), _ASKED):
        query = select(deletion.c.name).where(deletion.c.kind == RUN, deletion.c.name.in_(keys[at:at + _ASKED]))
        found.update(connection.execute(query).scalars())
    return found


def among(connection: Connection, run_keys: Collection[str], dag_ids: Collection[str]) -> tuple[set[str], set[str]]:
    """Return which of these runs and of these DAGs were deleted."""
    rows = connection.execute(_AMONG, {"run_keys": list(run_keys), "dag_ids": list(dag_ids)}).all()
    return {row.name for row in rows if row.kind == RUN}, {row.name for row in rows if row.kind == DAG}


def is_to_do(settled_before: Any) -> ColumnElement[bool]:
    """Return the condition that a removal is under way, or was done before `settled_before` and is to be done once more."""
    return or_(deletion.c.state == Stage.GOING.value, and_(deletion.c.state == Stage.SETTLING.value, deletion.c.changed_at < settled_before))


def to_do(connection: Connection, settled_before: datetime, *, limit: int = 1000) -> list[Deletion]:
    """Return removals that are under way, and those to be done once more that were done before `settled_before`; runs first, then DAGs."""
    query = select(deletion).where(is_to_do(settled_before)).order_by(deletion.c.kind.desc(), deletion.c.asked_at, deletion.c.name).limit(limit)
    return [_record(row) for row in connection.execute(query).mappings()]


def count_going(connection: Connection, dag_id: str | None = None) -> int:
    """Return how many removals are under way, of all or of the runs of one DAG."""
    query = select(deletion.c.name).where(deletion.c.state == Stage.GOING.value)
    if dag_id is not None:
        query = query.where(deletion.c.kind == RUN, deletion.c.dag_id == dag_id)
    return len(connection.execute(query).all())


def advance(connection: Connection, kind: str, name: str, to: Stage, now: datetime) -> None:
    """Note how far a removal is."""
    connection.execute(update(deletion).where(_is(kind, name)).values(state=to.value, changed_at=now))


def remove_rows(connection: Connection, which: Deletion, limit: int = ROWS) -> bool:
    """Remove about `limit` rows of what was deleted; tell whether nothing of it is left. Removes nothing of what has come back meanwhile."""
    if connection.execute(select(deletion.c.state).where(_is(which.kind, which.name)).with_for_update()).first() is None:
        return True
    if which.kind == RUN:
        return remove_whole_run(connection, which.name, limit)
    if not remove_rest_of(connection, which.dag_id, limit) or not remove_versions_of(connection, which.dag_id, limit // 10):
        return False
    connection.execute(delete(dag).where(dag.c.dag_id == which.dag_id))
    return True


def forget(connection: Connection, before: datetime, limit: int = ROWS) -> int:
    """Remove the tombstones of runs that are gone since before `before`; return how many went. Those of DAGs stay."""
    old = select(deletion.c.name).where(deletion.c.kind == RUN, deletion.c.state == Stage.GONE.value, deletion.c.changed_at < before).limit(limit)
    names = list(connection.execute(old).scalars())
    return connection.execute(delete(deletion).where(deletion.c.kind == RUN, deletion.c.name.in_(names))).rowcount if names else 0


def not_buried(kind: str, column: ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition that what `column` names was not deleted."""
    return ~exists(select(deletion.c.name).where(deletion.c.kind == kind, deletion.c.name == column))


def _is(kind: str, name: str) -> ColumnElement[bool]:
    return and_(deletion.c.kind == kind, deletion.c.name == name)


def _record(row: object) -> Deletion:
    values = dict(row)  # type: ignore[call-overload]
    return Deletion(**values | {"state": Stage(values["state"])})
