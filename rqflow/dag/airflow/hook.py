"""Connections as DAG files and callables read them: `BaseHook.get_connection`."""

from __future__ import annotations

import importlib
import logging
from typing import Any

from rqflow.dag import outside
from rqflow.dag.airflow.exceptions import AirflowNotFoundException

#: Text, because operators/ is a room that dag/ may not import.
_HOOKS = "rqflow.operators.hooks"


class BaseHook:
    """Airflow's base of hooks, as far as it reads Connections."""

    def __init__(self, *_: Any, **_more: Any) -> None:
        """Take anything."""
        self.log = logging.getLogger(f"rqflow.task.{type(self).__name__}")

    @classmethod
    def get_connection(cls, conn_id: str) -> outside.Connection:
        """Return the Connection `conn_id`; raises AirflowNotFoundException."""
        try:
            given = outside.connections()[conn_id]
        except KeyError:
            raise AirflowNotFoundException(outside.missing_connection(conn_id)) from None
        return outside.Connection.read(conn_id, given)

    @classmethod
    def get_connections(cls, conn_id: str) -> list[outside.Connection]:
        """Return the Connection in a list, as Airflow 1.x had it."""
        return [cls.get_connection(conn_id)]

    @classmethod
    def get_hook(cls, conn_id: str, hook_params: dict[str, Any] | None = None) -> Any:
        """Return the hook of a database by the type of its Connection; raises AirflowException for one that rqflow has no driver for."""
        hooks = importlib.import_module(_HOOKS)
        return hooks.hook_of(cls.get_connection(conn_id), **(hook_params or {}))

    def get_conn(self) -> Any:
        """Refuse: what a hook connects to is its subclass' business."""
        raise NotImplementedError(f"{type(self).__name__} has no get_conn()")
