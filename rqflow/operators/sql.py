"""SQL statements through a Connection, run in a Python child; what a query returns becomes the XCom."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from rqflow.dag.airflow.hook import BaseHook
from rqflow.dag.problems import report
from rqflow.dag.task import BaseOperator
from rqflow.operators.base import Ended, Launch, Outcome, TryJob, from_result, python_child
from rqflow.operators.hooks import DbApiHook, Handler, fetch_all_handler, hook_of


class SQLExecuteQueryOperator(BaseOperator):
    """Run `sql` over the Connection `conn_id`, whose type tells the driver: mysql, postgres or sqlite.

    `sql` is a template, a list of them, or the name of a template file that ends in .sql. All statements are one transaction unless
    `autocommit`. `parameters` are handed to the driver. The rows of the last statement become the XCom, as `handler` reads them.
    """

    kind: ClassVar[str] = "sql"
    template_fields = ("conn_id", "sql", "parameters", "hook_params")
    template_ext = (".sql", ".hql", ".ddl")
    field_names: ClassVar[Sequence[str]] = ("conn_id", "sql", "parameters", "autocommit", "split_statements", "return_last", "database")

    def __init__(
        self,
        *,
        sql: Any = None,
        conn_id: str | None = None,
        autocommit: bool = False,
        parameters: Any = None,
        handler: Handler | None = fetch_all_handler,
        database: str | None = None,
        split_statements: bool | None = None,
        return_last: bool = True,
        hook_params: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Make the task."""
        super().__init__(**kwargs)
        self.sql, self.conn_id, self.autocommit, self.parameters, self.handler = sql, conn_id, autocommit, parameters, handler
        self.database, self.split_statements, self.return_last, self.hook_params = database, split_statements, return_last, hook_params
        self._hook: DbApiHook | None = None
        if not sql or not isinstance(sql, str | list | tuple):
            report(f"task {self.task_id}: {type(self).__name__} needs sql: text, or a list of texts", self.origin)
        if not conn_id:
            report(f"task {self.task_id}: {type(self).__name__} needs conn_id, the name of a Connection", self.origin)

    @classmethod
    def launch(cls, fields: Mapping[str, Any], job: TryJob) -> Launch:
        """Return the start of the Python child."""
        return python_child(job, fields)

    @classmethod
    def outcome(cls, fields: Mapping[str, Any], ended: Ended, job: TryJob) -> Outcome:  # noqa: ARG003 (every operator takes the same)
        """Return what the child says in its result."""
        return from_result(ended, job)

    def get_db_hook(self) -> DbApiHook:
        """Return the hook for the Connection."""
        return hook_of(BaseHook.get_connection(str(self.conn_id)), schema=self.database, **(self.hook_params or {}))

    def execute(self, context: Mapping[str, Any]) -> Any:  # noqa: ARG002 (every operator takes the same)
        """Run the statements; return the rows, as JSON can hold them."""
        self._hook = self.get_db_hook()
        rows = self._hook.run(
            self.sql, autocommit=bool(self.autocommit), parameters=self.parameters, split_statements=self.split_statements,
            return_last=self.return_last, handler=self.handler if self.argument("do_xcom_push") is not False else None,
        )
        return json_value(rows)

    def on_kill(self) -> None:
        """Let the server end the statement, too."""
        if self._hook is not None:
            self._hook.cancel()


class MySqlOperator(SQLExecuteQueryOperator):
    """Run `sql` on MySQL or MariaDB over the Connection `mysql_conn_id`; the rest is as in SQLExecuteQueryOperator."""

    kind: ClassVar[str] = "sql"

    def __init__(self, *, sql: Any = None, mysql_conn_id: str = "mysql_default", conn_id: str | None = None, **kwargs: Any) -> None:
        """Make the task."""
        super().__init__(sql=sql, conn_id=conn_id or mysql_conn_id, **kwargs)
        self.mysql_conn_id = self.conn_id


class PostgresOperator(SQLExecuteQueryOperator):
    """Run `sql` on PostgreSQL over the Connection `postgres_conn_id`; the rest is as in SQLExecuteQueryOperator."""

    kind: ClassVar[str] = "sql"

    def __init__(self, *, sql: Any = None, postgres_conn_id: str = "postgres_default", conn_id: str | None = None, **kwargs: Any) -> None:
        """Make the task."""
        super().__init__(sql=sql, conn_id=conn_id or postgres_conn_id, **kwargs)
        self.postgres_conn_id = self.conn_id


class SqliteOperator(SQLExecuteQueryOperator):
    """Run `sql` on a SQLite file over the Connection `sqlite_conn_id`; the rest is as in SQLExecuteQueryOperator."""

    kind: ClassVar[str] = "sql"

    def __init__(self, *, sql: Any = None, sqlite_conn_id: str = "sqlite_default", conn_id: str | None = None, **kwargs: Any) -> None:
        """Make the task."""
        super().__init__(sql=sql, conn_id=conn_id or sqlite_conn_id, **kwargs)
        self.sqlite_conn_id = self.conn_id


def json_value(value: Any) -> Any:
    """Return what a query gave as JSON holds it: rows are lists, dates ISO 8601 texts, lengths of time seconds, decimals numbers."""
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_value(item) for item in value]
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() and value.as_tuple().exponent == 0 else float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes | bytearray | memoryview):
        return _text(bytes(value))
    return str(value) if isinstance(value, UUID) else value


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return base64.b64encode(data).decode()
