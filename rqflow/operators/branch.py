"""Tasks that choose which of the tasks directly downstream of them run: what they share, and the base of an author's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from rqflow.dag.graph import branch_skips
from rqflow.dag.task import BaseOperator
from rqflow.exceptions import TaskFailed
from rqflow.operators.base import Ended, Launch, Outcome, TryJob, from_result, names_of, python_child, returned
from rqflow.states import TaskState


def branch_outcome(ended: Ended, job: TryJob) -> Outcome:
    """Return what the child says, with what the choice that it returned skips; failed for an id that is not directly downstream."""
    outcome = from_result(ended, job)
    if outcome.state is not TaskState.SUCCESS:
        return outcome
    try:
        chosen = ids_of(returned(ended))
        skip = branch_skips(job.version, job.task.index, [chosen] if isinstance(chosen, str) else chosen or [])
    except TaskFailed as error:
        return Outcome(state=TaskState.FAILED, reason=str(error))
    followed = names_of(job.version, (index for index in job.task.downstream if index not in skip)) or "none"
    return replace(outcome, skip=skip, notes=(f"the branch follows {followed}" + (f"; skipped: {names_of(job.version, skip)}" if skip else ""),))


def ids_of(value: Any) -> str | list[str] | None:
    """Return what a branch function returned, a set or tuple as list; raises TaskFailed for anything but ids."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list | tuple | set | frozenset) and all(isinstance(item, str) for item in value):
        return sorted(value) if isinstance(value, set | frozenset) else list(value)
    raise TaskFailed(f"a branch must return a task id, a list of task ids or None, not {value!r}")


class BaseBranchOperator(BaseOperator):
    """Base of an author's own branches: `choose_branch(context)` returns the id of a task or group directly downstream, a list, or None.

    The other direct downstream tasks are skipped, unless they can be reached from a chosen one.
    """

    kind: ClassVar[str] = "branch"

    def choose_branch(self, context: Mapping[str, Any]) -> Any:
        """Return what is to be followed."""
        raise NotImplementedError(f"{type(self).__name__} has no choose_branch()")

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Choose; raises TaskFailed for anything but ids."""
        return ids_of(self.choose_branch(context))

    @classmethod
    def launch(cls, fields: Mapping[str, Any], job: TryJob) -> Launch:
        """Return the start of the Python child that chooses."""
        return python_child(job, fields)

    @classmethod
    def outcome(cls, fields: Mapping[str, Any], ended: Ended, job: TryJob) -> Outcome:  # noqa: ARG003 (every operator takes the same)
        """Return what the child says, with what the choice skips; failed for an id that is not directly downstream."""
        return branch_outcome(ended, job)
