"""Writing a run into Redis, job by job, before the step that starts it."""

from __future__ import annotations

from rqflow.broker import keys, rows
from rqflow.broker.steps import Steps
from rqflow.clock import utcnow
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version

#: Jobs that one step writes; keeps it below some milliseconds.
CHUNK = 500


def prepare(steps: Steps, run: RunInfo, version: Version) -> bool:
    """Announce a run and write its task instances and jobs; False when it was committed before.

    Nothing of it is on a list, so it may be broken off and repeated at any point until it is committed.
    """
    removed = rows.removed_tasks(version, run.logical_date)
    total = len(version.tasks)
    head: list[str | int] = [run.key, run.to_json(), run.dag_id, run.run_id, version.sha, total, total - len(removed), run.priority]
    answer = steps.plain("begin_run", head)
    if answer == b"version":
        answer = steps.plain("begin_run", [*head, *(part for pair in rows.version_fields(version) for part in pair)])
    if answer == b"exists":
        return False
    write_jobs(steps, run, version, removed)
    return True


def write_jobs(steps: Steps, run: RunInfo, version: Version, removed: frozenset[int]) -> None:
    """Write all task instances of a run and their RQ jobs, CHUNK at a time."""
    if queues := {keys.RQ_QUEUE + task.queue for task in version.tasks}:
        steps.command("SADD", keys.RQ_QUEUES, *queues)
    created_at = run.created_at or utcnow()
    for start in range(0, len(version.tasks), CHUNK):
        args: list[str | int] = [run.key]
        for task in version.tasks[start:start + CHUNK]:
            # A task that the run has no instance of has no job.
            name = "" if task.index in removed else rows.job_id(run.dag_id, run.run_id, task.task_id)
            fields = [part for pair in rows.job_hash(run, version, task, created_at).items() for part in pair] if name else []
            args += [task.index, rows.task_instance(run, task, removed), name, len(fields), *fields]
        steps.plain("write_jobs", args)
