"""A Python callable that chooses which of the tasks directly downstream of it run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rqflow.operators.base import Ended, Outcome, TryJob
from rqflow.operators.branch import branch_outcome, ids_of
from rqflow.operators.python import PythonOperator


class BranchPythonOperator(PythonOperator):
    """Call `python_callable`, which returns the id of a task or group directly downstream, a list of them, or None for none.

    The other direct downstream tasks are skipped, unless they can be reached from a chosen one.
    """

    kind: ClassVar[str] = "branch_python"

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Call the function; raises TaskFailed when it returns no ids."""
        return ids_of(super().execute(context))

    @classmethod
    def outcome(cls, fields: Mapping[str, Any], ended: Ended, job: TryJob) -> Outcome:  # noqa: ARG003 (every operator takes the same)
        """Return what the child says, with what the choice skips; failed for an id that is not directly downstream."""
        return branch_outcome(ended, job)
