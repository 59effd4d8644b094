"""Whose DAGs are: who submitted them, with whom they were shared, and which people the owners of DAG files are."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select, update

from rqflow.store import deletions
from rqflow.store.engine import Connection
from rqflow.store.tables import dag, dag_share, owner_map
from rqflow.store.upsert import Rule, upsert

#: In place of a name: everyone.
EVERYONE = "*"
_SHARE, _MAPPING = Rule(table=dag_share), Rule(table=owner_map)


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """A DAG that was shared; the columns of table dag_share."""

    dag_id: str
    #: With whom; * for everyone.
    username: str
    who: str
    shared_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnerMapping:
    """Who an owner is; the columns of table owner_map."""

    owner: str
    username: str
    who: str
    mapped_at: datetime


def of_dag(connection: Connection, dag_id: str) -> list[Share]:
    """Return with whom a DAG was shared, by name."""
    query = select(dag_share).where(dag_share.c.dag_id == dag_id).order_by(dag_share.c.username)
    return [Share(**row) for row in connection.execute(query).mappings()]


def shared_with(connection: Connection, username: str) -> frozenset[str]:
    """Return the ids of the DAGs that were shared with a person, or with everyone."""
    query = select(dag_share.c.dag_id).where(dag_share.c.username.in_([username, EVERYONE]))
    return frozenset(connection.execute(query).scalars())


def share(connection: Connection, dag_id: str, username: str, *, who: str, now: datetime) -> bool:
    """Share a DAG; False when it was shared so already."""
    is_new = all(one.username != username for one in of_dag(connection, dag_id))
    upsert(connection, _SHARE, [{"dag_id": dag_id, "username": username, "who": who, "shared_at": now}])
    return is_new


def unshare(connection: Connection, dag_id: str, username: str) -> bool:
    """Share a DAG with a person no more; False when it was not."""
    return bool(connection.execute(delete(dag_share).where(dag_share.c.dag_id == dag_id, dag_share.c.username == username)).rowcount)


def mappings(connection: Connection) -> list[OwnerMapping]:
    """Return who the owners are, by owner and name."""
    query = select(owner_map).order_by(owner_map.c.owner, owner_map.c.username)
    return [OwnerMapping(**row) for row in connection.execute(query).mappings()]


def owners_of(connection: Connection, username: str) -> frozenset[str]:
    """Return the owners that a person is."""
    return frozenset(connection.execute(select(owner_map.c.owner).where(owner_map.c.username == username)).scalars())


def map_owner(connection: Connection, owner: str, username: str, *, who: str, now: datetime) -> bool:
    """Say that an owner is this person, too; False when that was said."""
    known = select(owner_map.c.owner).where(owner_map.c.owner == owner, owner_map.c.username == username)
    is_new = connection.execute(known).first() is None
    upsert(connection, _MAPPING, [{"owner": owner, "username": username, "who": who, "mapped_at": now}])
    return is_new


def unmap_owner(connection: Connection, owner: str, username: str | None = None) -> int:
    """Say that an owner is this person no more, or nobody; return how many people it was."""
    query = delete(owner_map).where(owner_map.c.owner == owner)
    return int(connection.execute(query if username is None else query.where(owner_map.c.username == username)).rowcount)


def forget(connection: Connection, username: str) -> None:
    """Forget what was shared with a person, and which owners they are."""
    connection.execute(delete(dag_share).where(dag_share.c.username == username))
    connection.execute(delete(owner_map).where(owner_map.c.username == username))


def submitters(connection: Connection, dag_ids: Collection[str]) -> dict[str, str | None]:
    """Return {dag_id: whose it is} of those of these DAGs that there are."""
    query = select(dag.c.dag_id, dag.c.submitted_by).where(dag.c.dag_id.in_(dag_ids), deletions.not_buried(deletions.DAG, dag.c.dag_id))
    return {row.dag_id: row.submitted_by for row in connection.execute(query)}


def give(connection: Connection, dag_id: str, username: str | None) -> None:
    """Let a DAG be this person's; None: the administrators'."""
    connection.execute(update(dag).where(dag.c.dag_id == dag_id).values(submitted_by=username))


def submitted_by(connection: Connection, username: str, *, scheduled: bool = False) -> list[str]:
    """Return the ids of the DAGs of a person, or of those alone of which runs start by schedule now."""
    query = select(dag.c.dag_id).where(dag.c.submitted_by == username, deletions.not_buried(deletions.DAG, dag.c.dag_id)).order_by(dag.c.dag_id)
    query = query.where(dag.c.next_run_at.is_not(None), dag.c.is_active, ~dag.c.is_paused) if scheduled else query
    return list(connection.execute(query).scalars())
