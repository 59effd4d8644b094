"""Waiting for a task, a group of tasks, or a whole run of another DAG."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from rqflow.dag import readers
from rqflow.dag.airflow.exceptions import AirflowSkipException
from rqflow.dag.asking import EXTERNAL_STATE, ask
from rqflow.dag.problems import report
from rqflow.exceptions import BrokerError, TaskFailed
from rqflow.operators.base import Launch, TryJob, asking
from rqflow.operators.foreign import read_states
from rqflow.operators.sensors.base import BaseSensorOperator
from rqflow.states import RunState, TaskState

#: States of rqflow that Airflow has not, and what they count as.
_AS_FAILED = frozenset({"lost", "cancelled"})
_SUCCESS = ("success",)


class ExternalTaskSensor(BaseSensorOperator):
    """Wait for a task of another DAG (`external_task_id` or `external_task_ids`), a group of tasks, or, naming neither, for its whole run.

    It means the run for the same logical date, for the one `execution_delta` before, or for what `execution_date_fn` makes of it (one or
    several). Done when all are in `allowed_states`; one in `failed_states` fails the task, one in `skipped_states` skips it.
    """

    kind: ClassVar[str] = "external_task_sensor"
    template_fields: Sequence[str] = ("external_dag_id", "external_task_id", "external_task_ids", "external_task_group_id")
    field_names: ClassVar[tuple[str, ...]] = (
        "external_dag_id", "external_task_id", "external_task_ids", "external_task_group_id", "allowed_states", "skipped_states", "failed_states",
        "execution_delta", "execution_date_fn", "check_existence", *BaseSensorOperator.field_names,
    )  # fmt: skip

    def __init__(
        self,
        *,
        external_dag_id: Any,
        external_task_id: Any = None,
        external_task_ids: Any = None,
        external_task_group_id: Any = None,
        allowed_states: Any = None,
        skipped_states: Any = None,
        failed_states: Any = None,
        execution_delta: Any = None,
        execution_date_fn: Any = None,
        check_existence: bool = False,
        **kwargs: Any,
    ) -> None:
        """Make the task."""
        super().__init__(**kwargs)
        self.external_dag_id, self.external_task_id, self.external_task_ids = external_dag_id, external_task_id, external_task_ids
        self.external_task_group_id, self.check_existence = external_task_group_id, bool(check_existence)
        self.execution_delta, self.execution_date_fn = execution_delta, execution_date_fn
        is_of_tasks = bool(external_task_id or external_task_ids or external_task_group_id)
        known = TaskState if is_of_tasks else RunState
        self.skipped_states = read_states(self, "skipped_states", skipped_states, known, ())
        self.failed_states = read_states(self, "failed_states", failed_states, known, ())
        self.allowed_states = read_states(self, "allowed_states", allowed_states, known, _SUCCESS)
        self._check()

    def _check(self) -> None:
        given = [name for name in ("external_task_id", "external_task_ids", "external_task_group_id") if getattr(self, name) is not None]
        if len(given) > 1:
            report(f"task {self.task_id}: {' and '.join(given)} are given; give one of them", self.origin)
        if self.execution_delta is not None and self.execution_date_fn is not None:
            report(f"task {self.task_id}: execution_delta and execution_date_fn exclude one another", self.origin)
        if both := sorted({*self.allowed_states} & {*self.failed_states, *self.skipped_states}):
            report(f"task {self.task_id}: {', '.join(both)} cannot be both an allowed state and one of failed_states or skipped_states", self.origin)
        if self.execution_date_fn is not None and not callable(self.execution_date_fn):
            report(f"task {self.task_id}: execution_date_fn must be a function, not {self.execution_date_fn!r}", self.origin)

    def poke(self, context: Mapping[str, Any]) -> bool:
        """Ask the hub once; raises TaskFailed when what is waited for has failed or, with check_existence, does not exist."""
        dates, ids = self._dates(context), self._ids()
        wanted = {"dag_id": self.external_dag_id, "logical_dates": [date.isoformat() for date in dates], "task_ids": ids,
                  "group_id": self.external_task_group_id}
        try:
            answer = ask(EXTERNAL_STATE, wanted)
        except BrokerError as error:
            self.log.warning("the hub does not answer; this look is taken as not yet: %s", error.message)
            return False
        self._tell_missing(answer)
        states = [state for run in answer["runs"] for state in run["states"]]
        for run in answer["runs"]:
            self.log.info("%s at %s: %s", self._what(), run["logical_date"], ", ".join(state or "not yet" for state in run["states"]) or "no run yet")
        self._judge(states)
        return bool(answer["runs"]) and all(run["states"] for run in answer["runs"]) and all(map(self._is_allowed, states))

    def _judge(self, states: Sequence[str | None]) -> None:
        """Raise what a state says that ends the waiting."""
        bad = sorted({state for state in states if state and ({state, "failed"} if state in _AS_FAILED else {state}) & {*self.failed_states}})
        if bad:
            said = f"{self._what()} is {', '.join(bad)}"
            raise AirflowSkipException(f"{said}; the task is skipped then") if self.soft_fail else TaskFailed(said)
        if skipped := sorted({state for state in states if state in self.skipped_states}):
            raise AirflowSkipException(f"{self._what()} is {', '.join(map(str, skipped))}")

    def _is_allowed(self, state: str | None) -> bool:
        return state in self.allowed_states or (state in _AS_FAILED and "failed" in self.allowed_states)

    def _tell_missing(self, answer: Mapping[str, Any]) -> None:
        said = ""
        if not answer["has_dag"]:
            said = f"there is no DAG {self.external_dag_id}"
        elif answer["missing"]:
            said = f"DAG {self.external_dag_id} has no {', '.join(answer['missing'])}"
        if said and self.check_existence:
            raise TaskFailed(said, hint="check_existence is set: it is not waited for.")
        if said:
            self.log.warning("%s yet", said)

    def _what(self) -> str:
        ids = self._ids()
        part = f"group {self.external_task_group_id} of " if self.external_task_group_id else f"{', '.join(ids)} of " if ids else ""
        return f"{part}DAG {self.external_dag_id}"

    def _ids(self) -> list[str] | None:
        given = self.external_task_id if self.external_task_ids is None else self.external_task_ids
        return None if given is None else [given] if isinstance(given, str) else [str(one) for one in given]

    def _dates(self, context: Mapping[str, Any]) -> list[datetime]:
        """Return the logical dates that are meant."""
        date = context["logical_date"]
        if self.execution_delta is not None:
            return [date - self.execution_delta]
        if self.execution_date_fn is None:
            return [date]
        parameters = inspect.signature(self.execution_date_fn).parameters.values()
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        found = self.execution_date_fn(date, context) if len(positional) > 1 else self.execution_date_fn(date)
        return [readers.moment(one) for one in (found if isinstance(found, list | tuple | set) else [found])]

    @classmethod
    def launch(cls, fields: Mapping[str, Any], job: TryJob) -> Launch:
        """Return the start of the Python child, which asks the hub."""
        return asking(super().launch(fields, job))
