from __future__ import annotations

import sqlite3

import psycopg
import pymysql
import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from rqflow.exceptions import Conflict, StoreError
from rqflow.store.faults import Fault, explain, fault_of

URL = make_url("mysql://ada:sesame@hub/rqflow")


def wrapped(origin: BaseException, module: object) -> DBAPIError:
    """The error as SQLAlchemy raises it."""
    return DBAPIError.instance("SELECT 1", None, origin, module.Error)


@pytest.mark.parametrize(("number", "fault"), [
    (1213, Fault.BUSY), (1205, Fault.BUSY), (2006, Fault.LOST), (2013, Fault.LOST), (2003, Fault.DOWN), (1040, Fault.DOWN),
    (1045, Fault.REFUSED), (1049, Fault.NO_DATABASE), (1146, Fault.NO_TABLE), (1114, Fault.DISK), (1153, Fault.TOO_LARGE), (1064, Fault.OTHER),
])
def test_numbers_of_mysql(number: int, fault: Fault) -> None:
    assert fault_of(wrapped(pymysql.err.OperationalError(number, "text"), pymysql)) is fault


@pytest.mark.parametrize(("kind", "fault"), [
    (psycopg.errors.DeadlockDetected, Fault.BUSY), (psycopg.errors.SerializationFailure, Fault.BUSY), (psycopg.errors.LockNotAvailable, Fault.BUSY),
    (psycopg.errors.AdminShutdown, Fault.LOST), (psycopg.errors.UndefinedTable, Fault.NO_TABLE), (psycopg.errors.InvalidPassword, Fault.REFUSED),
    (psycopg.errors.InvalidCatalogName, Fault.NO_DATABASE), (psycopg.errors.DiskFull, Fault.DISK), (psycopg.errors.SyntaxError, Fault.OTHER),
])
def test_states_of_postgresql(kind: type[psycopg.Error], fault: Fault) -> None:
    assert fault_of(wrapped(kind("text"), psycopg)) is fault


@pytest.mark.parametrize(("text", "fault"), [
    ("connection failed: connection refused", Fault.DOWN), ("connection timeout expired", Fault.DOWN),
    ('FATAL:  password authentication failed for user "ada"', Fault.REFUSED), ('FATAL:  database "x" does not exist', Fault.NO_DATABASE),
    ("server closed the connection unexpectedly", Fault.LOST), ("consuming input failed: EOF", Fault.LOST),
])
def test_texts_of_postgresql(text: str, fault: Fault) -> None:
    assert fault_of(wrapped(psycopg.OperationalError(text), psycopg)) is fault


def test_codes_of_sqlite() -> None:
    connection = sqlite3.connect(":memory:")
    with pytest.raises(sqlite3.Error) as caught:
        connection.execute("SELECT * FROM absent")
    assert fault_of(wrapped(caught.value, sqlite3)) is Fault.NO_TABLE
    with pytest.raises(sqlite3.Error) as caught:
        connection.execute("SELEKT")
    assert fault_of(wrapped(caught.value, sqlite3)) is Fault.OTHER
    connection.close()
    with pytest.raises(sqlite3.Error) as caught:
        sqlite3.connect("/no/such/folder/x.db")
    assert fault_of(wrapped(caught.value, sqlite3)) is Fault.NO_DATABASE


def test_other_errors_are_no_fault_of_the_database() -> None:
    assert fault_of(ValueError("x")) is Fault.OTHER


@pytest.mark.parametrize(("number", "kind", "exit_code"), [(2003, StoreError, 7), (1045, StoreError, 7), (1146, Conflict, 5)])
def test_errors_for_people_hide_the_password_and_say_what_to_do(number: int, kind: type[Exception], exit_code: int) -> None:
    explained = explain(wrapped(pymysql.err.OperationalError(number, "what the server said"), pymysql), URL)
    assert isinstance(explained, kind)
    assert explained.exit_code == exit_code
    assert "what the server said" in str(explained)
    assert explained.hint
    assert "sesame" not in str(explained)


def test_bug_stays_as_it_is() -> None:
    assert explain(wrapped(pymysql.err.ProgrammingError(1064, "syntax"), pymysql), URL) is None
