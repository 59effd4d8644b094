"""A task that does nothing: a point where edges meet. The broker passes it when its trigger rule is met; no worker sees it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from rqflow.dag.problems import report
from rqflow.dag.task import BaseOperator
from rqflow.operators.base import Ended, Launch, Outcome, TryJob
from rqflow.states import TaskState


class EmptyOperator(BaseOperator):
    """Do nothing."""

    kind: ClassVar[str] = "empty"

    def execute(self, context: Mapping[str, Any]) -> None:
        """Do nothing."""

    def needs_source(self, wanted: bool) -> bool:  # noqa: ARG002 (nothing is rendered)
        """Return False: nothing is run."""
        return False

    @classmethod
    def launch(cls, fields: Mapping[str, Any], job: TryJob) -> Launch:  # noqa: ARG003 (every operator takes the same)
        """Return the start of a process that does nothing, for who wants one (`rqflow task test`)."""
        return Launch(argv=("true",))

    @classmethod
    def outcome(cls, fields: Mapping[str, Any], ended: Ended, job: TryJob) -> Outcome:  # noqa: ARG003 (every operator takes the same)
        """Return success."""
        return Outcome(state=TaskState.SUCCESS)


class DummyOperator(EmptyOperator):
    """EmptyOperator under its name until Airflow 2.3."""

    kind: ClassVar[str] = "empty"


class ExternalTaskMarker(EmptyOperator):
    """Do nothing, but say which task of another DAG must run again when this one does: `external_task_id` of `external_dag_id`.

    A clear with --downstream follows it.
    """

    kind: ClassVar[str] = "empty"
    template_fields = ("external_dag_id", "external_task_id", "logical_date")
    field_names: ClassVar[tuple[str, ...]] = ("external_dag_id", "external_task_id", "logical_date", "recursion_depth")

    def __init__(
        self,
        *,
        external_dag_id: str,
        external_task_id: str,
        logical_date: Any = None,
        execution_date: Any = None,
        recursion_depth: int = 10,
        **kwargs: Any,
    ) -> None:
        """Make the task; `logical_date` (execution_date), that of this run unless given, is the one of the other run."""
        super().__init__(**kwargs)
        self.external_dag_id, self.external_task_id, self.recursion_depth = external_dag_id, external_task_id, recursion_depth
        date = execution_date if logical_date is None else logical_date
        self.logical_date = date.isoformat() if isinstance(date, datetime) else date
        if not isinstance(recursion_depth, int) or recursion_depth < 1:
            report(f"task {self.task_id}: recursion_depth={recursion_depth!r} must be a whole number of at least 1", self.origin)
