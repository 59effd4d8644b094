"""A command as a run of its own: a DAG of one bash task, which is made here and not read from a file."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import PurePath

from rqflow.dag.generation import NATIVE
from rqflow.dag.run import MANUAL, RunInfo
from rqflow.dag.version import DEFAULT_QUEUE, TaskSpec, Version
from rqflow.exceptions import UsageError
from rqflow.store import deletions
from rqflow.store.engine import Engine, run_in_transaction

#: How the ids of these DAGs begin, and the runs that one of them may have at a time. They have no file, by which lists know to leave them out.
PREFIX, MOST_RUNS = "run-exec.", 10_000
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_env(pairs: Sequence[str]) -> dict[str, str]:
    """Return {name: value} of `NAME=value` texts. Raises UsageError."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not _VARIABLE.fullmatch(name):
            raise UsageError(f"--env {pair}: write it as NAME=value")
        found[name] = value
    return found


def a_version(command: Sequence[str], *, name: str | None = None, queue: str | None = None, env: Mapping[str, str] | None = None,
              cwd: str | None = None) -> Version:
    """Return a DAG that runs a command, word by word as it was given; the same command is the same DAG. Raises UsageError."""
    if not command:
        raise UsageError("a command is missing", hint="Write it behind --, like: rqflow run exec -- make all")
    if name is not None and not _NAME.fullmatch(name):
        raise UsageError(f"--name {name}: it may hold 1 to 100 letters, digits and _ . -")
    if queue is not None and not re.fullmatch(r"[A-Za-z0-9_.:@-]{1,200}", queue):
        raise UsageError(f"the queue {queue!r} may only hold letters, digits and _ . : @ -")
    task_id = name or re.sub(r"[^A-Za-z0-9_.-]+", "_", PurePath(command[0]).name)[:100].strip("_.-") or "command"
    fields = {"bash_command": shlex.join(command), "skip_exit_code": [], **({"env": dict(env)} if env else {}), **({"cwd": cwd} if cwd else {})}
    # Nothing of it is a template: braces in a command are its own.
    task = TaskSpec(index=0, task_id=task_id, operator="bash", operator_name="BashOperator", fields=fields, queue=queue or DEFAULT_QUEUE)
    made = Version(dag_id="", file="", generation=NATIVE, tasks=(task,), description=shlex.join(command)[:200], max_active_runs=MOST_RUNS)
    try:
        digest = hashlib.sha256(made.json.encode()).hexdigest()[:8]
    except UnicodeEncodeError as error:
        raise UsageError("the command holds bytes that are no UTF-8") from error
    return replace(made, dag_id=f"{PREFIX}{task_id}.{digest}")


def a_run(version: Version, now: datetime, *, note: str = "") -> RunInfo:
    """Return the run of such a DAG that begins now."""
    task_id = version.tasks[0].task_id
    return RunInfo(dag_id=version.dag_id, run_id=f"{task_id}__{now.isoformat()}", run_type=MANUAL, version=version.sha, logical_date=now,
                   data_interval_start=now, data_interval_end=now, created_at=now, note=note)


def bring_back(engine: Engine, version: Version) -> None:
    """Let such a DAG be run again that was deleted: whoever runs the command wants that. Raises Conflict while its removal is under way."""
    run_in_transaction(engine, lambda connection: deletions.lift(connection, version.dag_id))
