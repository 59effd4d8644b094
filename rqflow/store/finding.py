"""Finding DAGs, runs and tasks by a piece of their names, as somebody types. Each question is bounded."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import or_, select

from rqflow.store import deletions
from rqflow.store.engine import Connection
from rqflow.store.run_lines import COLUMNS, RunLine, line
from rqflow.store.tables import dag, dag_run

_IS_THERE = deletions.not_buried(deletions.RUN, dag_run.c.run_key)
#: Sorts after every character that an id may have.
_LAST = "\U0010ffff"
#: Runs made last among which a piece within their ids is looked for.
_RECENT = 2_000


def dag_texts(connection: Connection) -> list[tuple[str, str, str | None]]:
    """Return (dag_id, description, sha of the newest version) of all DAGs, by id."""
    query = select(dag.c.dag_id, dag.c.description, dag.c.version).where(deletions.not_buried(deletions.DAG, dag.c.dag_id)).order_by(dag.c.dag_id)
    return [(dag_id, description, version) for dag_id, description, version in connection.execute(query)]


def runs_named(connection: Connection, text: str, limit: int) -> list[RunLine]:
    """Return up to `limit` runs: those of this key or whose id begins with `text`, then recent ones in whose id it is; those made last first."""
    own = dag_run.c
    begins = select(*COLUMNS).where(_IS_THERE, or_(own.run_key == text, (own.run_id >= text) & (own.run_id < text + _LAST)))
    found = [line(row) for row in connection.execute(begins.order_by(own.created_at.desc()).limit(limit))]
    if len(found) < limit:
        newest = select(own.run_key, own.run_id).order_by(own.created_at.desc()).limit(_RECENT).subquery()
        within = select(newest.c.run_key).where(newest.c.run_id.contains(text, autoescape=True)).limit(limit + len(found))
        keys = [key for key in connection.execute(within).scalars() if key not in {one.run_key for one in found}]
        found += _of(connection, keys)[:limit - len(found)]
    return found


def _of(connection: Connection, run_keys: Sequence[str]) -> list[RunLine]:
    if not run_keys:
        return []
    query = select(*COLUMNS).where(dag_run.c.run_key.in_(run_keys), _IS_THERE).order_by(dag_run.c.created_at.desc())
    return [line(row) for row in connection.execute(query)]
