"""A job class for stock RQ workers that runs nothing but rqflow's tasks: `rq worker --serializer json --job-class rqflow.worker.tasks_only.Job`.

RQ itself calls whatever function a job names, and whatever it names as a callback: so whoever can write into Redis could run anything there.
"""

from __future__ import annotations

from typing import Any

from rq.job import Job as AnyJob

from rqflow.broker.rows import FUNCTION
from rqflow.exceptions import TaskFailed

__all__ = ["Job"]


class Job(AnyJob):
    """A job of RQ that is a task of rqflow, or fails."""

    def perform(self) -> Any:
        """Run the task; raises TaskFailed for a job that is none."""
        is_task = self.func_name == FUNCTION and self.instance is None and not self.kwargs
        if not is_task or len(self.args) != 2 or not all(isinstance(each, str) for each in self.args):
            raise TaskFailed(f"the job {self.id!r} is no task of rqflow, and was not run", hint="See who may write into Redis.")
        return super().perform()

    @property
    def success_callback(self) -> None:
        """None: no task has one, whatever the job's hash says."""

    @property
    def failure_callback(self) -> None:
        """None, as above."""

    @property
    def stopped_callback(self) -> None:
        """None, as above."""
