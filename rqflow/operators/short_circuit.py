"""A Python callable that says whether what comes after it runs at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from rqflow.dag.graph import short_circuit_skips
from rqflow.operators.base import Ended, Outcome, TryJob, from_result, names_of, returned
from rqflow.operators.python import PythonOperator
from rqflow.states import TaskState


class ShortCircuitOperator(PythonOperator):
    """Call `python_callable`; when what it returns is not true, skip everything downstream.

    With ignore_downstream_trigger_rules=False only the direct downstream tasks are skipped, and the trigger rules decide about the rest.
    """

    kind: ClassVar[str] = "short_circuit"
    field_names: ClassVar[Sequence[str]] = (*PythonOperator.field_names, "ignore_downstream_trigger_rules")

    def __init__(self, *, python_callable: Any, ignore_downstream_trigger_rules: bool = True, **kwargs: Any) -> None:
        """Make the task."""
        super().__init__(python_callable=python_callable, **kwargs)
        self.ignore_downstream_trigger_rules = ignore_downstream_trigger_rules

    @classmethod
    def outcome(cls, fields: Mapping[str, Any], ended: Ended, job: TryJob) -> Outcome:
        """Return what the child says, with what is skipped when the answer was no."""
        outcome = from_result(ended, job)
        if outcome.state is not TaskState.SUCCESS:
            return outcome
        if returned(ended):
            return replace(outcome, notes=("it returned a true value: what is downstream goes on",))
        everything = bool(fields.get("ignore_downstream_trigger_rules", True))
        skip = short_circuit_skips(job.version, job.task.index, everything)
        return replace(outcome, skip=skip, notes=(f"it returned no true value; skipped: {names_of(job.version, skip) or 'nothing'}",))
