"""Waiting for a query to give what is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, ClassVar

from rqflow.dag.airflow.hook import BaseHook
from rqflow.dag.problems import report
from rqflow.exceptions import TaskFailed
from rqflow.operators.hooks import hook_of
from rqflow.operators.sensors.base import BaseSensorOperator

#: First values that mean "not yet", as texts, since drivers give numbers in many types.
_NOT_YET = frozenset({"", "0", "0.0", "False", "None"})


class SqlSensor(BaseSensorOperator):
    """Run `sql` over the Connection `conn_id` until the first value of its first row is neither empty, 0 nor NULL.

    `selector(row)` takes another value; `success(value)` decides in place of that rule, and `failure(value)` fails the task when it is
    true. No row means "not yet", or with fail_on_empty a failure.
    """

    kind: ClassVar[str] = "sql_sensor"
    template_fields: Sequence[str] = ("sql", "parameters", "hook_params")
    template_ext: Sequence[str] = (".sql", ".hql")
    field_names: ClassVar[tuple[str, ...]] = ("conn_id", "sql", "parameters", "fail_on_empty", *BaseSensorOperator.field_names)

    def __init__(
        self,
        *,
        conn_id: str,
        sql: Any,
        parameters: Any = None,
        success: Any = None,
        failure: Any = None,
        selector: Any = itemgetter(0),
        fail_on_empty: bool = False,
        allow_null: bool = True,
        hook_params: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Make the task; `allow_null` is taken and ignored, since NULL means "not yet" unless `success` says otherwise."""
        super().__init__(**kwargs)
        self.conn_id, self.sql, self.parameters, self.hook_params = conn_id, sql, parameters, hook_params
        self.success, self.failure, self.selector = success, failure, selector
        self.fail_on_empty, self.allow_null = bool(fail_on_empty), allow_null
        if not sql or not isinstance(sql, str):
            report(f"task {self.task_id}: SqlSensor needs sql: one statement as text", self.origin)
        for name, given in (("success", success), ("failure", failure), ("selector", selector)):
            if given is not None and not callable(given):
                report(f"task {self.task_id}: {name} must be a function, not {given!r}", self.origin)

    def poke(self, context: Mapping[str, Any]) -> bool:  # noqa: ARG002 (every sensor takes the same)
        """Run the query once; raises TaskFailed when what it gives means a failure."""
        self.log.info("running: %s", self.sql)
        rows = hook_of(BaseHook.get_connection(str(self.conn_id)), **(self.hook_params or {})).get_records(self.sql, parameters=self.parameters)
        if not rows:
            if self.fail_on_empty:
                raise TaskFailed("the query gave no row, and fail_on_empty is set")
            return False
        value = self.selector(rows[0])
        if self.failure is not None and self.failure(value):
            raise TaskFailed(f"the query gave {value!r}, which means a failure")
        return bool(self.success(value)) if self.success is not None else str(value) not in _NOT_YET
