"""Tries of tasks for tests of operators, and what a worker would do with them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from rqflow.dag.version import Version
from rqflow.operators.base import Ended, Launch, Outcome, TryJob
from rqflow.operators.registry import by_kind
from tests.unit.builders import a_run, a_task, a_version


def a_job(version: Version | None = None, task_id: str = "a", **changes: Any) -> TryJob:
    """The first try of a task of `version`; a version of one bash task when it is None."""
    version = version or a_version(specs=[a_task(task_id)])
    defaults: dict[str, Any] = {
        "task": version.by_id[task_id], "version": version, "run": a_run(version), "try_number": 1, "folder": Path("/try"), "python": "/py",
        "runner": Path("/runner.py"),
    }  # fmt: skip
    return TryJob(**{**defaults, **changes})


def run(launch: Launch, folder: Path) -> Ended:
    """Start what `launch` says and wait for its end, as a worker does."""
    folder.mkdir(exist_ok=True)
    for name, text in launch.files.items():
        (folder / name).write_text(text)
    env = {**({"PATH": "/usr/bin:/bin", "OUTER": "1"} if launch.inherit_env else {"PATH": "/usr/bin:/bin"}), **launch.env}
    done = subprocess.run(launch.argv, env=env, cwd=launch.cwd or folder, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line]
    code = done.returncode
    return Ended(exit_code=code if code >= 0 else None, signal=-code if code < 0 else None, last_line=lines[-1] if lines else "", folder=folder)


def result(value: Any = None, state: str = "success", **more: Any) -> Ended:
    """The end of a Python child that returned `value`."""
    code = 0 if state in {"success", "skipped"} else 1
    plain = {"state": state, "reason": "", "xcoms": {"return_value": json.dumps(value)}, "skip": [], "retry": True}
    return Ended(exit_code=code, result={**plain, **more})


def outcome(ended: Ended, job: TryJob) -> Outcome:
    """What the operator of the job's task says about its end."""
    return by_kind(job.task.operator).outcome(job.task.fields, ended, job)


def launch(job: TryJob, **fields: Any) -> Launch:
    """What the operator of the job's task wants to be started; `fields` are laid over the task's."""
    return by_kind(job.task.operator).launch({**job.task.fields, **fields}, job)
