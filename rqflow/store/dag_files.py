"""The files of the folder of DAGs as they were loaded last, and which DAG comes from which of them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, delete, insert, select, update

from rqflow.store.engine import Connection
from rqflow.store.tables import dag, dag_file


@dataclass(frozen=True, kw_only=True, slots=True)
class DagFileRecord:
    """A file of the folder; the columns of table dag_file."""

    path: str
    is_present: bool
    dag_ids: tuple[str, ...]
    errors: tuple[str, ...]
    #: As dag.inputs.Inputs.to_plain gives it.
    inputs: Mapping[str, Any]
    loaded_by: str
    loaded_at: datetime

    @property
    def key(self) -> str:
        """The key of its row."""
        return key_of(self.path)


def key_of(path: str) -> str:
    """Return the key of the row of a file, by its path below the folder."""
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()


def list_all(connection: Connection) -> list[DagFileRecord]:
    """Return all files by path."""
    return sorted(map(_record, connection.execute(select(dag_file)).mappings()), key=lambda one: one.path)


def broken(connection: Connection) -> list[DagFileRecord]:
    """Return the files by path that were not taken over as they are now."""
    return [one for one in list_all(connection) if one.errors]


def problems(connection: Connection) -> dict[str, tuple[str, ...]]:
    """Return {path: its `file:line: message`} of the files that are there and were not taken over as they are now, by path."""
    query = select(dag_file.c.path, dag_file.c.errors).where(dag_file.c.is_present, dag_file.c.errors != [])
    return {path: tuple(errors) for path, errors in sorted(tuple(row) for row in connection.execute(query))}


def get(connection: Connection, path: str) -> DagFileRecord | None:
    """Return the file of this path below the folder, or None."""
    row = connection.execute(select(dag_file).where(dag_file.c.file_key == key_of(path))).mappings().first()
    return _record(row) if row else None


def put(connection: Connection, record: DagFileRecord) -> None:
    """Write a file as it is now. Safe to repeat."""
    values = {name: getattr(record, name) for name in DagFileRecord.__slots__} | {"dag_ids": list(record.dag_ids), "errors": list(record.errors)}
    if not connection.execute(update(dag_file).where(dag_file.c.file_key == record.key).values(values)).rowcount:
        connection.execute(insert(dag_file).values({"file_key": record.key, **values}))


def forget_removed(connection: Connection) -> None:
    """Forget the files that are not there any more; their DAGs stay as they are."""
    connection.execute(delete(dag_file).where(~dag_file.c.is_present))


def owners(connection: Connection, dag_ids: Collection[str]) -> dict[str, str]:
    """Return {dag_id: path} of those of these DAGs that a file of the folder makes now."""
    query = select(dag.c.dag_id, dag_file.c.path, dag_file.c.dag_ids).join(dag_file, dag_file.c.file_key == dag.c.file_key)
    rows = connection.execute(query.where(dag.c.dag_id.in_(dag_ids), dag_file.c.is_present)).all()
    return {row.dag_id: row.path for row in rows if row.dag_id in row.dag_ids}


def claim(connection: Connection, dag_ids: Collection[str], path: str | None) -> None:
    """Note that these DAGs come from this file of the folder; None: from elsewhere."""
    connection.execute(update(dag).where(dag.c.dag_id.in_(dag_ids)).values(file_key=None if path is None else key_of(path)))


def retire(connection: Connection, path: str, kept: Collection[str], now: datetime) -> list[str]:
    """Let DAGs of this file that it does not make any more start no run by schedule; return their ids. History and version stay."""
    own = (dag.c.file_key == key_of(path)) & dag.c.is_active
    gone = [dag_id for dag_id in connection.execute(select(dag.c.dag_id).where(own)).scalars() if dag_id not in kept]
    if gone:
        connection.execute(update(dag).where(own, dag.c.dag_id.in_(gone)).values(is_active=False, updated_at=now))
    return sorted(gone)


def _record(row: RowMapping) -> DagFileRecord:
    lists = {name: tuple(row[name]) for name in ("dag_ids", "errors")}
    return DagFileRecord(**{**{name: row[name] for name in DagFileRecord.__slots__}, **lists})
