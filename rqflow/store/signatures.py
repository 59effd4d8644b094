"""Signatures of versions: kept as they came, whether anybody trusts them or not."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from sqlalchemy import select, update

from rqflow import clock
from rqflow.store.engine import Connection
from rqflow.store.tables import dag, dag_signature
from rqflow.store.upsert import Rule, upsert

_KEPT = Rule(table=dag_signature)


def put(connection: Connection, sha: str, signatures: Collection[str]) -> None:
    """Keep signatures of a version that is there, beside those that it has. Safe to repeat."""
    now = clock.utcnow()
    upsert(connection, _KEPT, [{"version": sha, "digest": hashlib.sha256(each.encode()).hexdigest(), "signature": each, "signed_at": now}
                               for each in signatures])


def of(connection: Connection, shas: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return {version: its signatures, the newest first} of those of these versions that have any."""
    query = select(dag_signature.c.version, dag_signature.c.signature).where(dag_signature.c.version.in_(shas))
    found: dict[str, tuple[str, ...]] = {}
    for sha, signature in connection.execute(query.order_by(dag_signature.c.signed_at.desc(), dag_signature.c.digest)):
        found[sha] = (*found.get(sha, ()), signature)
    return found


def hold(connection: Connection, dag_id: str, sha: str | None) -> None:
    """Note which version of a DAG waits for a signature; None: none does."""
    connection.execute(update(dag).where(dag.c.dag_id == dag_id).values(unsigned=sha))
