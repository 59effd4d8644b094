from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from rqflow.exceptions import ConfigError
from rqflow.store.engine import open_engine, parse_url, reading, run_in_transaction, transaction
from rqflow.store.tables import metadata, variable
from rqflow.store.types import clean


@pytest.mark.parametrize(("given", "taken"), [
    ("mysql://u:p@h/rqflow", "mysql+pymysql://u:p@h/rqflow?charset=utf8mb4"),
    ("mariadb://u:p@h:3307/rqflow?ssl_ca=x", "mysql+pymysql://u:p@h:3307/rqflow?charset=utf8mb4&ssl_ca=x"),
    ("mysql+pymysql://h/rqflow?charset=latin1", "mysql+pymysql://h/rqflow?charset=utf8mb4"),
    ("postgresql://u:p%40@h/rqflow", "postgresql+psycopg://u:p%40@h/rqflow"),
    ("postgres://h/rqflow", "postgresql+psycopg://h/rqflow"),
    ("sqlite:////var/lib/rqflow.db", "sqlite:////var/lib/rqflow.db"),
])
def test_url_gets_its_driver(given: str, taken: str) -> None:
    assert parse_url(given).render_as_string(hide_password=False) == taken


@pytest.mark.parametrize(("given", "says"), [
    ("", "no URL"), ("rqflow.db", "no URL"), ("oracle://h/x", "cannot use oracle://"), ("mysql://u:secret@h", "names no database"),
    ("mongodb+srv://h/x", "cannot use mongodb"), ("mysql://h:secret/x", "no URL"), ("sqlite://rqflow.db", "three slashes"),
])
def test_url_that_cannot_be_used_is_a_config_error(given: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        parse_url(given)
    assert "secret" not in str(caught.value)


def test_file_is_in_wal_mode_and_survives_power_cuts(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'x.db'}")
    with reading(engine) as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    engine.dispose()


def test_exception_rolls_back() -> None:
    engine = open_engine("sqlite://")
    row = {"key": "k", "value": "v", "description": "", "updated_at": datetime.now(UTC)}
    with transaction(engine) as connection:
        metadata.create_all(connection)

    def fail() -> None:
        with transaction(engine) as connection:
            connection.execute(variable.insert().values(row))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with reading(engine) as connection:
        assert connection.execute(variable.select()).all() == []
    engine.dispose()


def test_moment_of_any_zone_comes_back_in_utc_with_microseconds() -> None:
    engine = open_engine("sqlite://")
    moment = datetime(2026, 3, 29, 1, 59, 59, 999999, tzinfo=timezone(timedelta(hours=-5)))
    with transaction(engine) as connection:
        metadata.create_all(connection)
        connection.execute(variable.insert().values(key="k", value="", description="", updated_at=moment))
        found = connection.execute(variable.select()).one().updated_at
    assert (found, found.tzinfo) == (moment, UTC)
    engine.dispose()


def test_result_of_the_function_is_returned() -> None:
    engine = open_engine("sqlite://")
    assert run_in_transaction(engine, lambda connection: connection.exec_driver_sql("SELECT 7").scalar()) == 7
    engine.dispose()


def test_bug_is_not_explained_away() -> None:
    engine = open_engine("sqlite://")
    with pytest.raises(Exception, match="syntax error"):
        run_in_transaction(engine, lambda connection: connection.exec_driver_sql("SELEKT 7"))
    engine.dispose()


@pytest.mark.parametrize(("given", "limit", "kept"), [
    ("plain", None, "plain"), ("a\0b", None, "a\ufffdb"), ("𝄞é", 1, "𝄞"), ("x" * 9, 4, "xxxx"), ("\ud800", 1, "\ufffd"),
])
def test_clean_text(given: str, limit: int | None, kept: str) -> None:
    assert clean(given, limit) == kept
