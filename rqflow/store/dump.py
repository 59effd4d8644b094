"""All tables as text that any of the databases takes back: one JSON array a row, with the kind of each column told once.

A dump names the columns itself, so that a later release, whose tables have more, can take it: the tables are made as they were then, filled,
and brought to the newest revision.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Double,
    Integer,
    TableClause,
    Text,
    column,
    func,
    inspect,
    select,
    table,
    type_coerce,
)
from sqlalchemy.exc import SQLAlchemyError

from rqflow.exceptions import Conflict, UsageError
from rqflow.store import schema
from rqflow.store.engine import Connection, Engine, open_engine, reading, transaction
from rqflow.store.tables import metadata
from rqflow.store.types import JsonText, UtcDateTime

#: Rows that are asked for, and written, at a time, and the characters after which a write has enough: one row may be a version of megabytes.
ROWS, CHARACTERS = 500, 1 << 20
#: Kind of a column -> its type in any database.
_KINDS: dict[str, Any] = {"moment": UtcDateTime(), "truth": Boolean(), "whole": BigInteger(), "number": Double(), "text": Text()}


@dataclass(frozen=True, slots=True)
class TableDump:
    """One table: its columns with their kinds, and its rows, each a line of JSON, to be read once."""

    name: str
    columns: Mapping[str, str]
    lines: Iterable[str]


def dump(connection: Connection) -> Iterator[TableDump]:
    """Give all tables, those that others refer to first; the lines of one are to be read before the next is asked for."""
    for one in metadata.sorted_tables:
        kinds = {found.name: _kind(found.type) for found in one.columns}
        wanted: list[ColumnElement[Any]] = [
            type_coerce(found, Text()).label(found.name) if isinstance(found.type, JsonText) else found for found in one.columns]
        order = list(one.primary_key.columns)
        rows = connection.execution_options(yield_per=ROWS).execute(select(*wanted).order_by(*order))
        yield TableDump(one.name, kinds, (json.dumps([_plain(value) for value in row], separators=(",", ":")) for row in rows))


def snapshot(url: str) -> Engine:
    """Return an engine on which one `reading` sees everything as it was at one moment, however long it takes, and stops nobody."""
    engine = open_engine(url, upgrading=True)
    return engine if engine.dialect.name == "sqlite" else engine.execution_options(isolation_level="REPEATABLE READ")


def counts(engine: Engine) -> dict[str, int]:
    """Return {table: rows} of the tables that are there and have rows. Raises StoreError."""
    with reading(engine) as connection:
        there = set(inspect(connection).get_table_names())
        found = {name: int(connection.execute(select(func.count()).select_from(table(name))).scalar_one())
                 for name in metadata.tables if name in there}
    return {name: rows for name, rows in found.items() if rows}


def restore(engine: Engine, revision: str, tables: Iterable[TableDump]) -> None:
    """Replace all that the database has by a dump of this revision, and bring it to the newest; rows are all written, or none.

    Raises Conflict for a revision that this release does not know, UsageError for rows that do not fit, StoreError.
    """
    if revision not in schema.revisions():
        raise Conflict(f"the backup was made by a newer release of rqflow (revision {revision}; this one knows up to {schema.head()})",
                       hint="Install that release here, and restore with it.")
    schema.empty(engine, revision)
    try:
        with transaction(engine) as connection:
            for one in tables:
                _fill(connection, one)
    except SQLAlchemyError as error:
        raise UsageError(f"the database does not take the rows of the backup: {str(error).splitlines()[0]}") from error
    schema.upgrade(engine)


def _fill(connection: Connection, dumped: TableDump) -> None:
    """Write the rows of one table, some at a time."""
    target = table(dumped.name, *(column(name, _KINDS[kind]) for name, kind in dumped.columns.items()))
    readers = [_READERS.get(kind, _same) for kind in dumped.columns.values()]
    lines = iter(dumped.lines)
    while batch := _batch(lines):
        rows = [{name: None if value is None else read(value) for name, read, value in zip(dumped.columns, readers, json.loads(line), strict=True)}
                for line in batch]
        connection.execute(target.insert(), rows)
    _continue_numbers(connection, target)


def _batch(lines: Iterator[str]) -> list[str]:
    """Take as many lines as one write should have."""
    found: list[str] = []
    size = 0
    for line in islice(lines, ROWS):
        found.append(line)
        size += len(line)
        if size >= CHARACTERS:
            break
    return found


def _continue_numbers(connection: Connection, target: TableClause) -> None:
    """Let PostgreSQL go on with its own numbers after those that were written; the others do so by themselves."""
    if connection.dialect.name != "postgresql":
        return
    for found in metadata.tables[target.name].columns if target.name in metadata.tables else ():
        if found.primary_key and found.autoincrement is not False and isinstance(found.type, Integer):
            sequence = connection.execute(select(func.pg_get_serial_sequence(target.name, found.name))).scalar()
            if sequence:
                after = select(func.coalesce(func.max(target.c[found.name]), 0) + 1).scalar_subquery()
                connection.execute(select(func.setval(sequence, after, False)))


def _kind(kind: Any) -> str:
    if isinstance(kind, UtcDateTime):
        return "moment"
    if isinstance(kind, Boolean):
        return "truth"
    if isinstance(kind, Integer):
        return "whole"
    return "number" if isinstance(kind, Double) else "text"


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _same(value: Any) -> Any:
    return value


def _moment(value: str) -> datetime:
    return datetime.fromisoformat(value).astimezone(UTC)


_READERS: Mapping[str, Callable[[Any], Any]] = {"moment": _moment}
