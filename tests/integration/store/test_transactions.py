from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event, update

from rqflow.exceptions import StoreError
from rqflow.states import RunState
from rqflow.store import engine as store_engine
from rqflow.store import pools, runs, schema, tasks
from rqflow.store.engine import Connection, Engine, open_engine, reading, run_in_transaction, transaction
from rqflow.store.runs import RunFilter
from rqflow.store.tables import pool
from tests.integration.store.test_runs import NOON


def test_deadlock_is_repeated_until_both_are_done(engine: Engine) -> None:
    """Reliability 80: a real deadlock. Who is to go on after it may wake so late that the other, which tries again, meets it in a second one."""
    with transaction(engine) as connection:
        pools.put(connection, "a", 0)
        pools.put(connection, "b", 0)
    meeting, tries = threading.Barrier(2), {"ab": 0, "ba": 0}

    def both(order: str) -> Callable[[Connection], None]:
        def change(connection: Connection) -> None:
            tries[order] += 1
            for name in order:
                connection.execute(update(pool).where(pool.c.name == name).values(slots=pool.c.slots + 1))
                if tries[order] == 1 and name == order[0] and engine.dialect.name != "sqlite":
                    meeting.wait()
        return change

    threads = [threading.Thread(target=run_in_transaction, args=(engine, both(order))) for order in tries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(engine) as connection:
        assert [found.slots for found in pools.list_all(connection)] == [2, 2]
    assert tries == {"ab": 1, "ba": 1} if engine.dialect.name == "sqlite" else sum(tries.values()) >= 3


def test_busy_file_is_waited_for(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'x.db'}")
    schema.upgrade(engine)
    with transaction(engine):
        thread = threading.Thread(target=run_in_transaction, args=(engine, lambda connection: pools.put(connection, "a", 1)))
        thread.start()
        with reading(engine) as connection:
            assert pools.list_all(connection) == []
        assert thread.is_alive()
    thread.join()
    with reading(engine) as connection:
        assert len(pools.list_all(connection)) == 1
    engine.dispose()


def test_patience_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_engine, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(store_engine, "LOCK_SECONDS", 0.1)
    engine = open_engine(f"sqlite:///{tmp_path / 'x.db'}")
    schema.upgrade(engine)
    with transaction(engine), pytest.raises(StoreError, match="database is locked"):
        run_in_transaction(engine, lambda connection: pools.put(connection, "a", 1))
    engine.dispose()


@contextmanager
def plans(engine: Engine) -> Iterator[list[str]]:
    """Collect how SQLite goes about each question."""
    found: list[str] = []

    def ask(connection: Connection, cursor: object, statement: str, parameters: object, context: object, many: object) -> None:
        if statement.startswith("SELECT"):
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            found.extend(row[-1] for row in cursor.fetchall())

    event.listen(engine, "before_cursor_execute", ask)
    yield found
    event.remove(engine, "before_cursor_execute", ask)


@pytest.mark.parametrize("question", [
    lambda connection: runs.search(connection, limit=25),
    lambda connection: runs.search(connection, RunFilter(dag_id="d"), limit=25),
    lambda connection: runs.search(connection, RunFilter(dag_id="d", states=[RunState.FAILED]), limit=25),
    lambda connection: runs.at(connection, "d", NOON),
    lambda connection: runs.previous(connection, "d", NOON),
    lambda connection: runs.get(connection, "d", "r"),
    lambda connection: runs.by_key(connection, "k"),
    lambda connection: tasks.of_run(connection, "k"),
    lambda connection: tasks.tries(connection, "k", "t"),
])
def test_questions_of_pages_use_an_index(tmp_path: Path, question: Callable[[Connection], object]) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'x.db'}")
    schema.upgrade(engine)
    with plans(engine) as found, reading(engine) as connection:
        question(connection)
    assert found
    assert not [line for line in found if line.startswith("SCAN") and "USING" not in line], found
    engine.dispose()
