"""Writing many rows at once in such a way that their order and repetition do not matter.

One statement per table and database, built once and run with many rows: SQLite and PostgreSQL say ON CONFLICT, MariaDB and MySQL
ON DUPLICATE KEY UPDATE. MySQL carries out assignments one after the other, so the columns that tell which row is newer come last.

The recorder writes here all that happens, so the rows go to the driver as it takes them: SQLAlchemy's own way from a row to the
driver's parameters costs more than SQLite's whole work with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import ClauseElement, ColumnElement, Table, and_, case, or_
from sqlalchemy.engine import Dialect

from rqflow.store.engine import Connection

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """How a row that comes in meets the one that is there."""

    table: Table
    #: Columns that tell which of two rows is newer, the weightiest first. Empty: the row that is there stays.
    order: tuple[str, ...] = ()
    #: Columns that only the first row sets.
    fixed: frozenset[str] = frozenset()


def upsert(connection: Connection, rule: Rule, rows: Iterable[Row]) -> None:
    """Write `rows`, which all have the same columns, by `rule`; sorted by key, so that two writers meet them in one order."""
    kept = _newest(rule, rows)
    if kept:
        writer = _writer(connection.dialect, rule, tuple(kept[0]))
        connection.exec_driver_sql(writer.sql, [writer.bind(row) for row in kept])


def _newest(rule: Rule, rows: Iterable[Row]) -> list[Row]:
    """Return one row a key, sorted by key: the one that the statement would leave."""
    keys = itemgetter(*(column.name for column in rule.table.primary_key.columns))
    order = itemgetter(*rule.order) if rule.order else None
    kept: dict[Any, Row] = {}
    for row in rows:
        key = keys(row)
        before = kept.setdefault(key, row)
        if before is not row and order and order(row) > order(before):
            kept[key] = row
    return [kept[key] for key in sorted(kept)]


@dataclass(frozen=True, slots=True)
class _Writer:
    """A statement as text, and what makes the driver's parameters of a row."""

    sql: str
    bind: Callable[[Row], Any]


_writers: WeakKeyDictionary[Dialect, dict[tuple[Rule, tuple[str, ...]], _Writer]] = WeakKeyDictionary()


def _writer(dialect: Dialect, rule: Rule, columns: tuple[str, ...]) -> _Writer:
    """Return the statement of a database for rows of `columns`, made once."""
    known = _writers.setdefault(dialect, {})
    writer = known.get((rule, columns))
    if writer is None:
        compiled: Any = _statement(dialect.name, rule, columns).compile(dialect=dialect, column_keys=columns)
        names = tuple(compiled.positiontup) if compiled.positiontup is not None else columns
        types = [rule.table.c[name].type.dialect_impl(dialect) for name in names]
        special = [(at, processor) for at, kind in enumerate(types) if (processor := kind.bind_processor(dialect)) is not None]
        writer = known[rule, columns] = _Writer(str(compiled), _binder(names, special, named=compiled.positiontup is None))
    return writer


def _binder(names: tuple[str, ...], special: Sequence[tuple[int, Callable[[Any], Any]]], *, named: bool) -> Callable[[Row], Any]:
    """Return what makes the parameters of a row: a tuple in the order of `names`, or a dict; `special` values are changed for the driver."""
    pick = itemgetter(*names)

    def positional(row: Row) -> tuple[Any, ...]:
        values = list(pick(row))
        for at, change in special:
            values[at] = change(values[at])
        return tuple(values)

    return (lambda row: dict(zip(names, positional(row), strict=True))) if named else positional


def _statement(dialect: str, rule: Rule, columns: tuple[str, ...]) -> ClauseElement:
    """Return the statement; the values are bound when it runs."""
    keys = [column.name for column in rule.table.primary_key.columns]
    changed = [name for name in columns if name not in rule.fixed and name not in keys]
    if dialect == "mysql":
        from sqlalchemy.dialects import mysql  # here: the dialects that a process does not use take 3 MiB of an idle worker

        replace = mysql.insert(rule.table)
        incoming = {name: replace.inserted[name] for name in columns}
        unchanged = [(keys[0], rule.table.c[keys[0]])]
        return replace.on_duplicate_key_update(_assignments(rule, changed, incoming) or unchanged)
    insert: sqlite.Insert | postgresql.Insert
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite  # here: as above

        insert = sqlite.insert(rule.table)
    else:
        from sqlalchemy.dialects import postgresql  # here: as above

        insert = postgresql.insert(rule.table)
    if not rule.order:
        return insert.on_conflict_do_nothing(index_elements=keys)
    excluded = {name: insert.excluded[name] for name in columns}
    return insert.on_conflict_do_update(index_elements=keys, set_=dict(_assignments(rule, changed, excluded)))


def _assignments(rule: Rule, changed: list[str], incoming: Mapping[str, ColumnElement[Any]]) -> list[tuple[str, ColumnElement[Any]]]:
    """Return what each column becomes; those that the comparison reads come last, the weightiest at the very end."""
    if not rule.order:
        return []
    newer = _newer(rule, incoming)
    ordered = [name for name in changed if name not in rule.order] + list(reversed(rule.order))
    return [(name, case((newer, incoming[name]), else_=rule.table.c[name])) for name in ordered]


def _newer(rule: Rule, incoming: Mapping[str, ColumnElement[Any]]) -> ColumnElement[bool]:
    """Return the condition that the incoming row is the newer one."""
    columns = rule.table.c
    choices: list[ColumnElement[bool]] = []
    for place, name in enumerate(rule.order):
        equal = [incoming[before] == columns[before] for before in rule.order[:place]]
        choices.append(and_(*equal, incoming[name] > columns[name]))
    return or_(*choices)
