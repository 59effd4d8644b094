"""Dumps of all tables: read from one kind of database, written into another, of this revision or an older one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, select

from rqflow.exceptions import Conflict, UsageError
from rqflow.store import dump, schema
from rqflow.store.dump import TableDump
from rqflow.store.engine import Engine, open_engine, reading, transaction
from rqflow.store.tables import backfill, metadata, variable
from rqflow.store.types import JsonText, UtcDateTime

ROWS = 3


def value(column: Column[Any], number: int) -> Any:
    """A value of a column that differs from row to row, with what databases treat differently."""
    if column.nullable and number == 2:
        return None
    if isinstance(column.type, UtcDateTime):
        return datetime(2026, 11, 1 + number, 1, 2, 3, 456789 + number, tzinfo=UTC)
    if isinstance(column.type, Boolean):
        return number % 2 == 1
    if isinstance(column.type, JsonText):
        return {"n": number, "text": "ü\0\ud800"}
    if isinstance(column.type, BigInteger):
        return 1_700_000_000_000_000 + number
    if isinstance(column.type, Double):
        return 0.1 + number
    return number + 1 if isinstance(column.type, Integer) else f"{number} ü😀 '\"\\ {{}}"[: getattr(column.type, "length", None) or 99]


def filled(engine: Engine) -> None:
    """Give each table some rows."""
    with transaction(engine) as connection:
        for one in metadata.sorted_tables:
            for number in range(ROWS):
                connection.execute(one.insert().values({column.name: value(column, number) for column in one.columns}))


def content(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    with reading(engine) as connection:
        return {one.name: [tuple(row) for row in connection.execute(select(one).order_by(*one.primary_key.columns))] for one in metadata.sorted_tables}


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'source.db'}")
    schema.upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def target(empty_url: str) -> Iterator[Engine]:
    engine = open_engine(empty_url, upgrading=True)
    yield engine
    engine.dispose()


def kept(engine: Engine) -> list[TableDump]:
    """The dump of a database, to be read more than once."""
    with reading(engine) as connection:
        return [TableDump(one.name, one.columns, list(one.lines)) for one in dump.dump(connection)]


def test_all_rows_come_back_on_each_kind_of_database_from_each(source: Engine, target: Engine, tmp_path: Path) -> None:
    filled(source)
    before = content(source)
    assert {len(rows) for rows in before.values()} == {ROWS}
    dump.restore(target, schema.head(), kept(source))
    assert content(target) == before
    back = open_engine(f"sqlite:///{tmp_path / 'back.db'}", upgrading=True)
    taken = dump.snapshot(target.url.render_as_string(hide_password=False))
    dump.restore(back, schema.head(), kept(taken))
    assert content(back) == before
    with transaction(target) as connection:
        row = {column.name: value(column, 1) for column in backfill.columns if column.name != "id"}
        assert connection.execute(backfill.insert().values(row)).inserted_primary_key == (ROWS + 1,), "its own numbers go on after those that were written"
    for engine in (back, taken):
        engine.dispose()


def test_a_dump_of_an_older_revision_is_brought_to_the_newest(target: Engine) -> None:
    old = [TableDump("pool", {"name": "text", "slots": "whole", "description": "text"}, ['["gpu",2,"cards"]']),
           TableDump("variable", {"key": "text", "value": "text", "secret_key": "text", "description": "text", "updated_at": "moment"},
                     ['["a","1",null,"","2026-01-02T03:04:05.000006+00:00"]'])]
    dump.restore(target, "0003", old)
    schema.check(target)
    with reading(target) as connection:
        assert connection.execute(select(variable.c.value, variable.c.is_secret, variable.c.updated_at)).all() == [
            ("1", None, datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC))]


def test_rows_are_all_written_or_none_and_a_newer_revision_is_refused(target: Engine) -> None:
    good = TableDump("pool", {"name": "text", "slots": "whole", "description": "text"}, ['["gpu",2,"cards"]'])
    with pytest.raises(UsageError, match="does not take the rows"):
        dump.restore(target, schema.head(), [good, good])
    assert dump.counts(target) == {}
    with pytest.raises(Conflict, match="newer release"):
        dump.restore(target, "0999", [good])


def test_a_dump_sees_one_moment_while_others_write(engine: Engine) -> None:
    seen = dump.snapshot(engine.url.render_as_string(hide_password=False))
    row = {"key": "a", "value": "1", "description": "", "updated_at": datetime(2026, 1, 1, tzinfo=UTC)}
    with reading(seen) as connection:
        tables = dump.dump(connection)
        first = next(tables)
        list(first.lines)
        with transaction(engine) as other:
            other.execute(variable.insert().values(row))
        assert {one.name: list(one.lines) for one in tables}["variable"] == []
    seen.dispose()
    assert dump.counts(engine) == {"variable": 1}
