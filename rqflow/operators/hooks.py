"""Databases as callables and SQL tasks reach them: Airflow's hooks, over PyMySQL, psycopg and sqlite3."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

from rqflow.dag.airflow.exceptions import AirflowException
from rqflow.dag.airflow.hook import BaseHook
from rqflow.dag.outside import Connection
from rqflow.exceptions import UsageError

#: Seconds that a server may take to answer at first, unless the Connection says otherwise, and to take a cancel.
CONNECT_SECONDS, _CANCEL_SECONDS = 10, 5
#: Steps of SQLite's machine between two turns of Python; bytes of a file that are copied at a time.
_PROGRESS_STEPS, _PIECE = 10_000, 1 << 16
Handler = Callable[[Any], Any]


def fetch_all_handler(cursor: Any) -> list[Any] | None:
    """Return all rows of the last statement; None when it gave none."""
    return None if cursor.description is None else list(cursor.fetchall())


def fetch_one_handler(cursor: Any) -> Any:
    """Return the first row of the last statement; None when it gave none."""
    return None if cursor.description is None else cursor.fetchone()


class DbApiHook(BaseHook):
    """What all hooks of databases share. A subclass opens the connection."""

    conn_name_attr: ClassVar[str] = "conn_id"
    default_conn_name: ClassVar[str] = "default_conn_id"
    conn_type: ClassVar[str] = ""
    supports_autocommit: ClassVar[bool] = True
    #: The server takes several statements in one call.
    takes_many: ClassVar[bool] = False
    placeholder: ClassVar[str] = "%s"
    #: For SQLAlchemy: dialect and driver.
    dialect: ClassVar[str] = ""

    def __init__(self, *args: Any, schema: str | None = None, connection: Connection | None = None, **kwargs: Any) -> None:
        """Take the id of a Connection, by position or as `mysql_conn_id`, `postgres_conn_id` …, or a Connection itself.

        `schema` (or `database`) is the database to use in place of the Connection's.
        """
        super().__init__()
        self.log = logging.getLogger(f"rqflow.task.{type(self).__name__}")
        given = args[0] if args else kwargs.get(self.conn_name_attr) or kwargs.get("conn_id")
        self._conn_id = str(given or self.default_conn_name)
        setattr(self, self.conn_name_attr, self._conn_id)
        self.schema = schema or kwargs.get("database")
        self.descriptions: list[Any] = []
        self._connection = connection
        self._open: Any = None

    @property
    def connection(self) -> Connection:
        """The Connection; raises AirflowNotFoundException."""
        if self._connection is None:
            self._connection = self.get_connection(self._conn_id)
        return self._connection

    @property
    def database(self) -> str | None:
        """The database to use."""
        return self.schema or self.connection.schema

    def get_conn(self) -> Any:
        """Return an open connection of the driver."""
        raise NotImplementedError(f"{type(self).__name__} has no get_conn()")

    def get_cursor(self) -> Any:
        """Return a cursor of a new connection."""
        return self.get_conn().cursor()

    def get_uri(self) -> str:
        """Return the Connection as a URI, password and all."""
        connection = Connection.read(self.connection.conn_id, {name: value for name, value in vars(self.connection).items() if value is not None})
        connection.schema = self.database
        return connection.get_uri()

    def get_sqlalchemy_engine(self, engine_kwargs: dict[str, Any] | None = None) -> Any:
        """Return an engine of SQLAlchemy that connects as `get_conn` does."""
        from sqlalchemy import create_engine  # here: few tasks want it

        return create_engine(f"{self.dialect}://", creator=self.get_conn, **(engine_kwargs or {}))

    def run(
        self, sql: str | Iterable[str], autocommit: bool = False, parameters: Any = None, handler: Handler | None = None,
        split_statements: bool | None = None, return_last: bool = True,
    ) -> Any:
        """Run one or several statements in one transaction, or each in its own with `autocommit`.

        Returns what `handler` makes of the cursor: of the last statement for a text, as a list for a list of them or without `return_last`.
        Text with several statements is split where the server would not take it as it is, unless `split_statements` says otherwise.
        """
        is_text = isinstance(sql, str)
        found = self._statements(sql, split_statements)
        if not found:
            raise ValueError("there is no SQL statement to run")
        results: list[Any] = []
        self.descriptions = []
        with self._opened() as connection:
            if self.supports_autocommit:
                self.set_autocommit(connection, autocommit)
            with closing(connection.cursor()) as cursor:
                for statement in found:
                    self.log.info("running: %s%s", statement, f", with parameters {parameters}" if parameters else "")
                    cursor.execute(statement, *([parameters] if parameters else []))
                    self.log.info("rows: %s", cursor.rowcount)
                    if handler is not None:
                        results.append(handler(cursor))
                        self.descriptions.append(cursor.description)
            if not self.get_autocommit(connection):
                connection.commit()
        if handler is None:
            return None
        return results[-1] if is_text and return_last else results

    def get_records(self, sql: str | Sequence[str], parameters: Any = None, **_: Any) -> Any:
        """Return all rows of a query."""
        return self.run(sql, parameters=parameters, handler=fetch_all_handler)

    def get_first(self, sql: str | Sequence[str], parameters: Any = None, **_: Any) -> Any:
        """Return the first row of a query, or None."""
        return self.run(sql, parameters=parameters, handler=fetch_one_handler)

    def get_pandas_df(self, sql: str, parameters: Any = None, **_: Any) -> Any:
        """Return a query's rows as a DataFrame of pandas, where that is installed; raises AirflowException elsewhere."""
        try:
            import pandas  # here: rqflow does not need it
        except ImportError as error:
            raise AirflowException("get_pandas_df needs pandas, which is not installed beside rqflow") from error
        rows = self.get_records(sql, parameters)
        names = [column[0] for column in self.descriptions[-1] or ()] if self.descriptions else []
        return pandas.DataFrame([tuple(row.values()) if isinstance(row, dict) else tuple(row) for row in rows or ()], columns=names)

    get_df = get_pandas_df

    def insert_rows(
        self, table: str, rows: Iterable[Sequence[Any]], target_fields: Sequence[str] | None = None, commit_every: int = 1000, replace: bool = False,
        **options: Any,
    ) -> None:
        """Insert rows, `commit_every` of them a transaction (0: all in one); with `replace` in the place of those with the same key."""
        count = 0
        with self._opened() as connection:
            if self.supports_autocommit:
                self.set_autocommit(connection, False)
            with closing(connection.cursor()) as cursor:
                for count, row in enumerate(rows, 1):
                    values = tuple(row)
                    cursor.execute(self._insert(table, len(values), list(target_fields or ()), replace, options), values)
                    if commit_every and count % commit_every == 0:
                        connection.commit()
            connection.commit()
        self.log.info("rows inserted into %s: %d", table, count)

    def bulk_load(self, table: str, tmp_file: str) -> None:
        """Load a file of values between tabs into a table."""
        raise NotImplementedError(f"{type(self).__name__} has no bulk_load()")

    def bulk_dump(self, table: str, tmp_file: str) -> None:
        """Write a table into a file of values between tabs."""
        raise NotImplementedError(f"{type(self).__name__} has no bulk_dump()")

    def set_autocommit(self, conn: Any, autocommit: bool) -> None:
        """Let each statement be a transaction of its own, or not."""
        conn.autocommit = autocommit

    def get_autocommit(self, conn: Any) -> bool:
        """Tell whether each statement is a transaction of its own."""
        return bool(getattr(conn, "autocommit", False)) if self.supports_autocommit else False

    def test_connection(self) -> tuple[bool, str]:
        """Tell whether the server answers, and in words how."""
        try:
            self.get_first("SELECT 1")
        except Exception as error:  # noqa: BLE001 (each driver has its own)
            return False, f"{type(error).__name__}: {error}"
        return True, "the server answers"

    def cancel(self) -> None:
        """Let the server end what runs now."""

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        """Give an open connection that `cancel` knows, closed at the end."""
        with closing(self.get_conn()) as connection:
            self._open = connection
            try:
                yield connection
            finally:
                self._open = None

    def _statements(self, sql: str | Iterable[str], split: bool | None) -> list[str]:
        texts = [sql] if isinstance(sql, str) else list(sql)
        if split is False or (split is None and self.takes_many):
            return [text for text in texts if text.strip()]
        import sqlparse  # here: takes 30 ms

        parts = (part.strip() for text in texts for part in sqlparse.split(text, strip_semicolon=True))
        return [part for part in parts if sqlparse.format(part, strip_comments=True).strip().strip(";")]

    def _insert(self, table: str, width: int, fields: list[str], replace: bool, options: dict[str, Any]) -> str:  # noqa: ARG002 (subclasses')
        verb = "REPLACE" if replace else "INSERT"
        return f"{verb} INTO {table}{_columns(fields)} VALUES ({', '.join([self.placeholder] * width)})"


class MySqlHook(DbApiHook):
    """MySQL and MariaDB, over PyMySQL."""

    conn_name_attr, default_conn_name, conn_type, dialect = "mysql_conn_id", "mysql_default", "mysql", "mysql+pymysql"

    def get_conn(self, **options: Any) -> Any:
        """Return a connection of PyMySQL. Of the Connection's extra: charset, cursor, ssl, unix_socket, local_infile, init_command, *_timeout."""
        import pymysql  # here: only who uses it needs it
        import pymysql.cursors

        found, extra = self.connection, dict(self.connection.extra_dejson)
        wanted: dict[str, Any] = {"charset": "utf8mb4", "connect_timeout": CONNECT_SECONDS}
        for name in ("charset", "unix_socket", "init_command", "client_flag", "ssl_ca", "ssl_cert", "ssl_key"):
            if name in extra:
                wanted[name] = extra[name]
        wanted |= {name: int(extra[name]) for name in ("connect_timeout", "read_timeout", "write_timeout") if name in extra}
        if ssl := extra.get("ssl"):
            wanted["ssl"] = json.loads(ssl) if isinstance(ssl, str) else ssl
        if str(extra.get("local_infile", "")).lower() in {"true", "1"}:
            wanted["local_infile"] = True
        cursors = {"sscursor": pymysql.cursors.SSCursor, "dictcursor": pymysql.cursors.DictCursor, "ssdictcursor": pymysql.cursors.SSDictCursor}
        if kind := cursors.get(str(extra.get("cursor", "")).lower()):
            wanted["cursorclass"] = kind
        return pymysql.connect(
            host=found.host or "localhost", port=found.port or 3306, user=found.login, password=found.password or "", database=self.database,
            **{**wanted, **options},
        )

    def set_autocommit(self, conn: Any, autocommit: bool) -> None:
        """Let each statement be a transaction of its own, or not."""
        conn.autocommit(autocommit)

    def get_autocommit(self, conn: Any) -> bool:
        """Tell whether each statement is a transaction of its own."""
        return bool(conn.get_autocommit())

    def bulk_load(self, table: str, tmp_file: str) -> None:
        """Load a file of this machine, values between tabs, into a table."""
        with closing(self.get_conn(local_infile=True)) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(f"LOAD DATA LOCAL INFILE %s INTO TABLE {table}", (tmp_file,))
            connection.commit()

    def bulk_dump(self, table: str, tmp_file: str) -> None:
        """Let the server write a table into a file of its own machine."""
        with closing(self.get_conn()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(f"SELECT * INTO OUTFILE %s FROM {table}", (tmp_file,))  # noqa: S608 (the name of a table is no value)

    def cancel(self) -> None:
        """Let the server end what runs now; it would go on when its client is gone."""
        running = self._open
        if running is not None:
            with closing(self.get_conn(connect_timeout=_CANCEL_SECONDS)) as connection, closing(connection.cursor()) as cursor:
                cursor.execute("KILL QUERY %s", (running.thread_id(),))


class PostgresHook(DbApiHook):
    """PostgreSQL, over psycopg."""

    conn_name_attr, default_conn_name, conn_type, dialect = "postgres_conn_id", "postgres_default", "postgres", "postgresql+psycopg"
    takes_many = True
    #: Keys of extra that are Airflow's own, and none of the driver's.
    _NOT_THE_DRIVERS: ClassVar[frozenset[str]] = frozenset({"iam", "redshift", "redshift-serverless", "aws_conn_id", "cluster-identifier", "cursor"})

    def get_conn(self) -> Any:
        """Return a connection of psycopg; what else stands in the Connection's extra goes to the driver."""
        psycopg = _psycopg()
        found, extra = self.connection, dict(self.connection.extra_dejson)
        wanted: dict[str, Any] = {name: value for name, value in extra.items() if name not in self._NOT_THE_DRIVERS}
        if "dictcursor" in str(extra.get("cursor", "")).lower():
            from psycopg.rows import dict_row  # here: as above

            wanted["row_factory"] = dict_row
        own = {"host": found.host, "port": found.port, "user": found.login, "password": found.password, "dbname": self.database}
        given = {name: value for name, value in own.items() if value}
        return psycopg.connect(**{"connect_timeout": CONNECT_SECONDS, **wanted, **given})

    def get_uri(self) -> str:
        """Return the Connection as a URI, as SQLAlchemy spells it."""
        return super().get_uri().replace("postgres://", "postgresql://", 1)

    def copy_expert(self, sql: str, filename: str) -> None:
        """Run a COPY … FROM STDIN from a file, or a COPY … TO STDOUT into it."""
        reads = "STDOUT" in sql.upper()
        with closing(self.get_conn()) as connection:
            with closing(connection.cursor()) as cursor, Path(filename).open("wb" if reads else "rb") as stream, cursor.copy(sql) as copy:
                if reads:
                    stream.writelines(copy)
                else:
                    while part := stream.read(_PIECE):
                        copy.write(part)
            connection.commit()

    def bulk_load(self, table: str, tmp_file: str) -> None:
        """Load a file of this machine, values between tabs, into a table."""
        self.copy_expert(f"COPY {table} FROM STDIN", tmp_file)

    def bulk_dump(self, table: str, tmp_file: str) -> None:
        """Write a table into a file of this machine, values between tabs."""
        self.copy_expert(f"COPY {table} TO STDOUT", tmp_file)

    def cancel(self) -> None:
        """Let the server end what runs now; it would go on when its client is gone."""
        if self._open is not None:
            self._open.cancel_safe(timeout=_CANCEL_SECONDS)

    def _insert(self, table: str, width: int, fields: list[str], replace: bool, options: dict[str, Any]) -> str:
        inserting = super()._insert(table, width, fields, False, options)
        if not replace:
            return inserting
        index = options.get("replace_index")
        if not index or not fields:
            raise ValueError("insert_rows(replace=True) of PostgreSQL needs target_fields and replace_index, the columns of a unique index")
        keys = [index] if isinstance(index, str) else list(index)
        rest = [name for name in fields if name not in keys]
        change = f"UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in rest)}" if rest else "NOTHING"
        return f"{inserting} ON CONFLICT ({', '.join(keys)}) DO {change}"


class SqliteHook(DbApiHook):
    """SQLite: the file is the Connection's host or, in a URI, its path: sqlite:////path/of/file.db."""

    conn_name_attr, default_conn_name, conn_type, dialect = "sqlite_conn_id", "sqlite_default", "sqlite", "sqlite"
    supports_autocommit = False
    placeholder = "?"

    def get_conn(self) -> Any:
        """Return a connection of sqlite3."""
        import sqlite3  # here: only who uses it needs it

        connection = sqlite3.connect(self.schema or self.connection.host or self.connection.schema or ":memory:")
        # Now and then Python gets a turn while a statement runs, so that it hears a signal.
        connection.set_progress_handler(lambda: 0, _PROGRESS_STEPS)
        return connection

    def get_uri(self) -> str:
        """Return the file as a URI."""
        return f"sqlite:///{self.schema or self.connection.host or self.connection.schema or ':memory:'}"


#: {type of a Connection: its hook}.
HOOKS: dict[str, type[DbApiHook]] = {
    "mysql": MySqlHook, "mariadb": MySqlHook, "postgres": PostgresHook, "postgresql": PostgresHook, "sqlite": SqliteHook,
}


def hook_of(connection: Connection, **options: Any) -> DbApiHook:
    """Return the hook for a Connection by its type; raises AirflowException for one that rqflow has no driver for."""
    kind = HOOKS.get(connection.conn_type or "")
    if kind is None:
        what = f"the Connection {connection.conn_id} is of type {connection.conn_type!r}, for which rqflow has no driver"
        raise AirflowException(f"{what}; it has {', '.join(sorted(HOOKS))}")
    return kind(connection.conn_id, connection=connection, **options)


def test(connection: Connection) -> tuple[bool, str]:
    """Tell whether a database answers over a Connection, and in words how; raises UsageError for a type without a driver."""
    try:
        return hook_of(connection).test_connection()
    except AirflowException as error:
        raise UsageError(str(error)) from error


def _psycopg() -> Any:
    try:
        import psycopg  # here: an extra, and only who uses it needs it
    except ImportError as error:
        raise AirflowException('psycopg, the driver of PostgreSQL, is not installed: pip install "rqflow[postgresql]"') from error
    return psycopg


def _columns(fields: Sequence[str]) -> str:
    return f" ({', '.join(fields)})" if fields else ""
