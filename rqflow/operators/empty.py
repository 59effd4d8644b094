"""A task that does nothing: a point where edges meet. The broker passes it when its trigger rule is met; no worker sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

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
