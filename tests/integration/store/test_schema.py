from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from rqflow.exceptions import Conflict, StoreError
from rqflow.store import schema
from rqflow.store.engine import Engine, open_engine, reading, run_in_transaction, transaction
from rqflow.store.tables import dag, metadata


@pytest.fixture
def empty(empty_url: str) -> Engine:
    engine = open_engine(empty_url)
    yield engine
    assert engine.pool.checkedout() == 0
    engine.dispose()


def parts(sql: str) -> list[str]:
    """What stands between the outer commas and brackets of a statement, in alphabetical order: SQLite adds new columns behind the constraints."""
    depth, found = 0, [""]
    for character in sql:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if (character == "," and depth == 1) or (character == "(" and depth == 1) or (character == ")" and depth == 0):
            found.append("")
        else:
            found[-1] += character
    return sorted(" ".join(part.split()) for part in found)


def structure(engine: Engine) -> dict[str, object]:
    """Everything that the database says about its tables, in a form that does not depend on the order of their making."""
    with reading(engine) as connection:
        if engine.dialect.name == "sqlite":
            rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
            return {name: parts(sql) for name, sql in rows if name != schema.VERSION_TABLE}
        if engine.dialect.name == "mysql":
            statements = (connection.exec_driver_sql(f"SHOW CREATE TABLE `{name}`").one()[1] for name in metadata.tables)
            return {name: sorted(line.rstrip(",") for line in sql.splitlines()) for name, sql in zip(metadata.tables, statements, strict=True)}
        columns = connection.exec_driver_sql(
            "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, collation_name, column_default "
            "FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'").all()
        indexes = connection.exec_driver_sql("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'").all()
        constraints = connection.exec_driver_sql(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'").all()
        return {"columns": sorted(map(str, columns)), "indexes": sorted(map(str, indexes)), "constraints": sorted(map(str, constraints))}


def test_migrated_schema_is_that_of_the_tables(empty: Engine) -> None:
    run_in_transaction(empty, schema.migrate)
    assert schema.current(empty) == schema.head()
    with reading(empty) as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata) == []
    migrated = structure(empty)
    with transaction(empty) as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
    assert structure(empty) == migrated


def test_new_database_is_that_which_all_steps_lead_to(empty: Engine) -> None:
    schema.upgrade(empty)
    schema.check(empty)
    with reading(empty) as connection:
        version, others = str(inspect(connection).get_columns(schema.VERSION_TABLE)), structure(empty)
    with transaction(empty) as connection:
        metadata.drop_all(connection)
        connection.exec_driver_sql(f"DROP TABLE {schema.VERSION_TABLE}")
    run_in_transaction(empty, schema.migrate)
    with reading(empty) as connection:
        assert (str(inspect(connection).get_columns(schema.VERSION_TABLE)), structure(empty)) == (version, others)


def test_upgrade_does_nothing_the_second_time(empty: Engine) -> None:
    assert schema.upgrade(empty) == schema.revisions()
    assert schema.upgrade(empty) == []
    assert schema.current(empty) == schema.head()
    schema.check(empty)


def test_empty_database_is_a_conflict_that_names_the_remedy(empty: Engine) -> None:
    with pytest.raises(Conflict, match="rqflow db upgrade") as caught:
        schema.check(empty)
    assert caught.value.exit_code == 5


def test_reading_an_empty_database_names_the_remedy(empty: Engine) -> None:
    with pytest.raises(Conflict, match="rqflow db upgrade"), reading(empty) as connection:
        connection.execute(dag.select())


@pytest.mark.parametrize("action", [schema.check, schema.upgrade])
def test_database_of_a_newer_release_is_refused(empty: Engine, action: object) -> None:
    schema.upgrade(empty)
    with transaction(empty) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Conflict, match=r"newer release of rqflow \(revision 9999; this one knows up to"):
        action(empty)


def test_reset_empties_the_database(empty: Engine) -> None:
    schema.upgrade(empty)
    with transaction(empty) as connection:
        connection.exec_driver_sql("INSERT INTO pool (name, slots, description) VALUES ('p', 1, '')")
    schema.reset(empty)
    with reading(empty) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM pool").scalar() == 0
    schema.check(empty)


def _upgrade(url: str, start: object, answers: object) -> None:
    start.wait()
    answers.put(schema.upgrade(open_engine(url)))


def test_two_processes_may_upgrade_an_empty_database_at_once(empty_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    start, answers = spawn.Barrier(2), spawn.SimpleQueue()
    processes = [spawn.Process(target=_upgrade, args=(empty_url, start, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted([answers.get(), answers.get()]) == [[], schema.revisions()]


def test_tables_take_every_character(empty: Engine) -> None:
    schema.upgrade(empty)
    if empty.dialect.name == "mysql":
        with reading(empty) as connection:
            found = {column["type"].collation for table in metadata.tables for column in inspect(connection).get_columns(table)
                     if getattr(column["type"], "collation", None)}
        assert all(name.startswith("utf8mb4") and name.endswith("bin") for name in found), found


@pytest.mark.parametrize(("url", "says"), [
    ("mysql://root@127.0.0.1:9/rqflow", "Is the server up"),
    ("postgresql://root@127.0.0.1:9/rqflow", "Is the server up"),
    ("mysql://root@no-such-host.invalid/rqflow", "Is the server up"),
    ("sqlite:////no/such/folder/rqflow.db", "correct database.url"),
])
def test_unreachable_database_is_a_store_error_with_a_hint(url: str, says: str) -> None:
    engine = open_engine(url)
    with pytest.raises(StoreError, match=says) as caught:
        schema.check(engine)
    assert caught.value.exit_code == 7


def test_wrong_password_is_a_store_error_that_hides_it(mariadb_url: str, postgres_url: str) -> None:
    for url in (mariadb_url.replace("root@", "root:sesame@"), postgres_url.replace("postgres@", "guest:sesame@")):
        engine = open_engine(url)
        with pytest.raises(StoreError, match="Check user, password and grants") as caught:
            schema.check(engine)
        assert "sesame" not in str(caught.value)
        assert caught.value.exit_code == 7


def test_absent_database_is_a_store_error(mariadb_url: str, postgres_url: str) -> None:
    for url in (mariadb_url, postgres_url):
        engine = open_engine(url.replace("/rqflow?", "/absent?"))
        with pytest.raises(StoreError, match=r"Create it, or correct database\.url"):
            schema.check(engine)


def test_file_that_is_no_database_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("this is no database, but long enough to be read as one" * 100)
    with pytest.raises(StoreError, match="file is not a database"):
        schema.check(open_engine(f"sqlite:///{tmp_path / 'x.db'}"))
