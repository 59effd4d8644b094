"""Writing a run into Redis, job by job, before the step that starts it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from rqflow.broker import keys, rows, signed
from rqflow.broker.steps import Steps
from rqflow.clock import utcnow
from rqflow.dag.past import RunBefore
from rqflow.dag.run import BACKFILL, RunInfo
from rqflow.dag.version import Version
from rqflow.exceptions import BrokerError, RunNotFound

#: Jobs that one step writes, fields of a version that are written at once, and characters after which no more are added; keeps each below some
#: milliseconds.
CHUNK, FIELDS, SIZE = 500, 1000, 256 << 10
#: Seconds for which Redis keeps what a writer of a version has written, when nothing more comes of it.
KEEP = 600
#: Times that a version is written because Redis has lost a part of it meanwhile.
ATTEMPTS = 3


def prepare(steps: Steps, run: RunInfo, version: Version, before: RunBefore | None = None) -> bool:
    """Announce a run and write its task instances and jobs; False when it was committed before, or was deleted.
    `before` is what it waits for of its past.

    Nothing of it is on a list, so it may be broken off and repeated at any point until it is committed.
    """
    if before:
        write_past(steps, run, before)
    removed = rows.removed_tasks(version, run)
    total = len(version.tasks)
    head: list[str | int] = [run.key, run.to_json(), run.dag_id, run.run_id, version.sha, total, total - len(removed), run.priority,
                             f"{before.run_key} {before.run_id}" if before else "", run.options.pool, "1" if run.run_type == BACKFILL else ""]
    if _with_version(steps, "begin_run", head, version) in {b"exists", b"buried"}:
        return False
    write_signatures(steps, version)
    write_jobs(steps, run, version, removed)
    return True


def keep_version(steps: Steps, run_key: str, version: Version) -> None:
    """Let a run that Redis has also have this version, which tasks of it will follow; raises RunNotFound when it does not have it any more."""
    if _with_version(steps, "keep_version", [run_key, version.sha], version) == b"gone":
        raise RunNotFound(f"Redis has no run {run_key}")
    write_signatures(steps, version)


def write_signatures(steps: Steps, version: Version) -> None:
    """Let a version have its signatures, if Redis has it: it may have been there before somebody signed it."""
    if version.signatures:
        steps.plain("sign_version", [version.sha, signed.field(version.signatures)])


def _with_version(steps: Steps, step: str, head: list[str | int], version: Version) -> Any:
    """Return what a step answers that needs a version, writing that first where Redis lacks it."""
    answer = steps.plain(step, head)
    for _ in range(ATTEMPTS):
        if answer == b"version":
            answer = steps.plain(step, [*head, *write_version(steps, version)])
    if answer == b"version":
        raise BrokerError(f"Redis has lost what was written of the version of {version.dag_id}, {ATTEMPTS} times; nothing was started")
    return answer


def write_version(steps: Steps, version: Version) -> tuple[str, int]:
    """Write a copy of a version, part by part; returns its name and how many fields it has, as begin_run wants to know them.

    Nobody else writes to this copy or reads it, so others may write the same version meanwhile. Redis forgets it when it is not used.
    """
    name, count = uuid.uuid4().hex, 0
    copy = keys.version_copy(version.sha, name)
    for part in _parts(rows.version_fields(version)):
        steps.together(["HSET", copy, *part], ["EXPIRE", copy, KEEP])
        count += len(part) // 2
    return name, count


def write_past(steps: Steps, run: RunInfo, before: RunBefore) -> None:
    """Write what a run waits for of the run before it, as lua/_past.lua reads it. Redis forgets it when the run never comes."""
    key = keys.past_key(run.key)
    fields = [(str(index), ",".join(map(str, each))) for index, each in before.waits.items()]
    fields += [(f"s{index}", f"{state.value} {task_id}") for index, (state, task_id) in before.states.items()]
    for at in range(0, len(fields), FIELDS):
        steps.together(["HSET", key, *(text for pair in fields[at:at + FIELDS] for text in pair)], ["EXPIRE", key, KEEP])


def _parts(fields: Iterator[tuple[str, str]]) -> Iterator[list[str]]:
    """Divide fields and values into what is written at once."""
    part: list[str] = []
    size = 0
    for field, value in fields:
        part += (field, value)
        size += len(value)
        if len(part) >= 2 * FIELDS or size >= SIZE:
            yield part
            part, size = [], 0
    if part:
        yield part


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
