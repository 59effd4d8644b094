"""A task that lets what follows it run only in the latest run of a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rqflow import clock
from rqflow.dag import timetable
from rqflow.dag.graph import branch_skips
from rqflow.dag.run import MANUAL
from rqflow.dag.task import BaseOperator
from rqflow.operators.base import Ended, Launch, Outcome, TryJob, names_of, say_end
from rqflow.states import TaskState


class LatestOnlyOperator(BaseOperator):
    """Skip the direct downstream tasks when the next run of the schedule is due already: for what is in vain when it catches up.

    Runs that a person or another task has started, and DAGs without a schedule, skip nothing.
    """

    kind: ClassVar[str] = "latest_only"

    def execute(self, context: Mapping[str, Any]) -> None:
        """Do nothing."""

    def needs_source(self, wanted: bool) -> bool:  # noqa: ARG002 (nothing is rendered)
        """Return False: the version and the clock tell all."""
        return False

    @classmethod
    def launch(cls, fields: Mapping[str, Any], job: TryJob) -> Launch:  # noqa: ARG003 (every operator takes the same)
        """Return the start of a process that does nothing."""
        return Launch(argv=("true",))

    @classmethod
    def outcome(cls, fields: Mapping[str, Any], ended: Ended, job: TryJob) -> Outcome:  # noqa: ARG003 (every operator takes the same)
        """Return success, with what is skipped."""
        if ended.exit_code != 0:
            return Outcome(state=TaskState.FAILED, reason=say_end(ended))
        following = None if job.run.run_type == MANUAL else timetable.of(job.version).after(job.run.data_interval_end)
        if following is None or clock.utcnow() <= following:
            return Outcome(state=TaskState.SUCCESS, notes=("this is the latest run: what is downstream goes on",))
        skip = branch_skips(job.version, job.task.index, [])
        said = f"this is not the latest run, the next one was due at {following:%Y-%m-%d %H:%M:%S} UTC"
        return Outcome(state=TaskState.SUCCESS, skip=skip, notes=(f"{said}; skipped: {names_of(job.version, skip) or 'nothing'}",))
