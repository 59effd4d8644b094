"""How rqflow reaches its database: from a URL to an engine, transactions, and their repetition when the database asks for it.

The rest of the program gets `Engine` and `Connection` from here and never sees SQLAlchemy.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, NullPool, StaticPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from rqflow import clock, logs
from rqflow.exceptions import ConfigError
from rqflow.store.faults import Fault, explain, fault_of

__all__ = ["Connection", "Engine", "open_engine", "reading", "run_in_transaction", "sqlite_file", "transaction"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: Seconds that a connect, a statement, a wait for a lock may take.
CONNECT_SECONDS, STATEMENT_SECONDS, LOCK_SECONDS = 10, 60, 10
#: Seconds for which run_in_transaction repeats.
PATIENCE_SECONDS = 30.0

_DRIVERS = {
    "mysql": "mysql+pymysql", "mariadb": "mysql+pymysql", "mysql+pymysql": "mysql+pymysql", "mariadb+pymysql": "mysql+pymysql",
    "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg", "postgresql+psycopg": "postgresql+psycopg",
    "sqlite": "sqlite", "sqlite+pysqlite": "sqlite",
}
#: Options of a connection that reads only: SQLite then takes no write lock.
_READING = {"rqflow_reading": True}


def parse_url(text: str) -> URL:
    """Return the URL that SQLAlchemy takes for database.url `text`; raises ConfigError for one that rqflow cannot use."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise ConfigError("database.url is no URL", hint="Write it like mysql://user:password@host/rqflow or sqlite:////path/rqflow.db.") from error
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise ConfigError(
            f"database.url: rqflow cannot use {url.drivername}://", hint="Use mysql://, mariadb://, postgresql:// or sqlite:///."
        )
    if driver == "sqlite" and url.host:
        raise ConfigError("database.url: a SQLite file has three slashes before its path", hint="Write it like sqlite:////path/rqflow.db.")
    if driver != "sqlite" and not url.database:
        raise ConfigError(f"database.url: {url.render_as_string(hide_password=True)} names no database", hint="Add /NAME to it.")
    url = url.set(drivername=driver)
    return url.update_query_dict({"charset": "utf8mb4"}) if driver == "mysql+pymysql" else url


def sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLite database; None for one in memory or on a server. Raises ConfigError for a URL that rqflow cannot use."""
    parsed = parse_url(url)
    is_file = parsed.get_backend_name() == "sqlite" and parsed.database not in {None, "", ":memory:"}
    return Path(str(parsed.database)) if is_file else None


def server_address(url: str) -> str:
    """Return where the server of a database listens, as HOST:PORT or the path of its socket; empty for SQLite. Raises ConfigError."""
    parsed = parse_url(url)
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        return ""
    port = parsed.port or (3306 if kind == "mysql" else 5432)
    socket, host = parsed.query.get("unix_socket", ""), str(parsed.query.get("host") or parsed.host or "localhost")
    return str(socket) or (f"{host}/.s.PGSQL.{port}" if host.startswith("/") else f"{host}:{port}")


def through_socket(url: str, path: str) -> str:
    """Return database.url `url` with the unix socket `path` in place of the server's address; PostgreSQL wants its usual name for it."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "mysql":
        changed = parsed.set(host="localhost", port=None).update_query_dict({"unix_socket": path})
    else:
        changed = parsed.set(host=None, port=None).update_query_dict({"host": str(Path(path).parent)})
    return changed.render_as_string(hide_password=False)


def ask(url: str, seconds: int) -> None:
    """Let a database carry out SELECT 1, on a connection of its own; raises StoreError when it has not after about so many `seconds`."""
    engine = open_engine(url, seconds=seconds)
    try:
        with reading(engine) as connection:
            connection.exec_driver_sql("SELECT 1")
    finally:
        engine.dispose()


def open_engine(url: str, *, upgrading: bool = False, seconds: int | None = None) -> Engine:
    """Return an engine for database.url `url`, which connects when it is first used; each wait takes so many `seconds` at most, if that is given.

    `upgrading` is for changes of the schema: statements may take any time, and SQLite checks no foreign keys, because a table
    that alembic rebuilds would take along whatever refers to it. Raises ConfigError for a URL that rqflow cannot use.
    """
    parsed = parse_url(url)
    kind = parsed.get_backend_name()
    options: dict[str, Any] = {"connect_args": _connect_arguments(kind, patient=upgrading) | (_hasty(kind, seconds) if seconds else {})}
    if kind == "sqlite" and parsed.database in {None, "", ":memory:"}:
        options["poolclass"] = StaticPool
    elif upgrading:
        options["poolclass"] = NullPool
    elif kind != "sqlite":
        options |= {"pool_pre_ping": True, "pool_recycle": 1800, "pool_use_lifo": True}
    if kind == "mysql":
        options["isolation_level"] = "READ COMMITTED"
    try:
        engine = create_engine(parsed, **options)
    except ModuleNotFoundError as error:
        raise ConfigError(f"database.url: {error.name} is not installed", hint='Install it: pip install "rqflow[postgresql]".') from error
    event.listen(engine, "connect", {"sqlite": _set_up_sqlite, "mysql": _set_up_mysql, "postgresql": _set_up_postgresql}[kind])
    if kind == "sqlite" and not upgrading:
        event.listen(engine, "connect", _check_foreign_keys)
    if kind == "sqlite":
        event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Give a connection in a transaction that is committed at the end, or rolled back by an exception.

    Errors of the database come out as StoreError or Conflict. Hold it over nothing that may take long.
    """
    with _explained(engine), engine.begin() as connection:
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Give a connection that asks only; what it changes is not kept. On SQLite it waits for no writer."""
    with _explained(engine), engine.connect() as connection:
        yield connection.execution_options(**_READING)


def run_in_transaction(engine: Engine, function: Callable[[Connection], T]) -> T:
    """Return function(connection), run in a transaction; repeat it after deadlocks, lock waits, SQLITE_BUSY and lost links.

    `function` must be safe to repeat, also after a commit whose answer was lost. Raises StoreError when the database stays away.
    """
    def once() -> T:
        with engine.begin() as connection:
            return function(connection)

    retrying = Retrying(
        retry=retry_if_exception(is_passing), stop=stop_after_delay(PATIENCE_SECONDS), reraise=True, sleep=clock.sleep,
        wait=wait_random_exponential(multiplier=0.02, max=2), before_sleep=_log_retry,
    )
    with _explained(engine):
        return retrying(once)


def is_passing(error: BaseException) -> bool:
    """Tell whether the transaction that `error` ended may do well when it is repeated now."""
    return fault_of(error) in {Fault.BUSY, Fault.LOST}


@contextmanager
def _explained(engine: Engine) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        explained = explain(error, engine.url)
        if explained is None:
            raise
        raise explained from error


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    logger.debug("database transaction is repeated: %s", error, extra=logs.context("transaction_repeated", tries=state.attempt_number))


def _connect_arguments(kind: str, *, patient: bool) -> dict[str, Any]:
    if kind == "mysql":
        limits = {} if patient else {"read_timeout": STATEMENT_SECONDS, "write_timeout": STATEMENT_SECONDS}
        return {"connect_timeout": CONNECT_SECONDS, **limits}
    if kind == "postgresql":
        alive = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
        return {"connect_timeout": CONNECT_SECONDS, **alive, **({} if patient else {"tcp_user_timeout": STATEMENT_SECONDS * 1000})}
    return {"timeout": LOCK_SECONDS * 6 if patient else LOCK_SECONDS, "check_same_thread": False}


def _hasty(kind: str, seconds: int) -> dict[str, Any]:
    """Return the limits of an engine that only asks whether its database is there."""
    limits = {"mysql": ("connect_timeout", "read_timeout", "write_timeout"), "postgresql": ("connect_timeout",)}
    return dict.fromkeys(limits.get(kind, ()), seconds)


def _set_up_sqlite(connection: Any, record: Any) -> None:  # noqa: ARG001 - the signature is SQLAlchemy's
    """Let readers and one writer work side by side (WAL), survive a power cut (synchronous full), and begin transactions ourselves."""
    connection.isolation_level = None
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _check_foreign_keys(connection: Any, record: Any) -> None:  # noqa: ARG001 - the signature is SQLAlchemy's
    """Let SQLite check foreign keys, which it does only when asked."""
    connection.execute("PRAGMA foreign_keys = ON").close()


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at the start: a transaction that reads first and then writes would fail at once beside another writer."""
    reads = connection.get_execution_options().get("rqflow_reading", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _set_up_mysql(connection: Any, record: Any) -> None:  # noqa: ARG001 - the signature is SQLAlchemy's
    """Refuse to cut values silently, nor lists that are put together (MySQL's are 1,024 bytes long), speak UTC, and do not wait long for locks."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', group_concat_max_len = 1048576, "
            f"innodb_lock_wait_timeout = {LOCK_SECONDS}"
        )


def _set_up_postgresql(connection: Any, record: Any) -> None:  # noqa: ARG001 - the signature is SQLAlchemy's
    """Speak UTC, and do not wait long for locks."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET TIME ZONE 'UTC'; SET lock_timeout = '{LOCK_SECONDS}s'")
    connection.commit()
