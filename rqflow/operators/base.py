"""What a worker asks of an operator: how to start a try (`Launch`) and what its end means (`Outcome`).

An operator class keeps three things: the arguments that its author gives, `launch` and `outcome`. The latter two are class methods that
work on plain rendered values, because a worker has a version and no DAG object.
"""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rqflow.dag.run import RunInfo
from rqflow.dag.version import TaskSpec, Version
from rqflow.dag.xcom_view import RETURN_VALUE
from rqflow.exceptions import TaskFailed
from rqflow.states import TaskState

#: The name, in the try's folder, of the file that tells a Python child what to do.
SPEC_FILE = "spec.json"
_MAX_NAMES = 20
#: What a shell says with its own exit codes.
_SHELL_CODES = {126: "not executable", 127: "command not found"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """What the shepherd must start for one try.

    `spec` is given for Python children only: the operator's part of what the worker writes to SPEC_FILE before the start; the worker
    adds what it alone knows (folders, XComs, variables …).
    """

    argv: tuple[str, ...]
    #: Laid over the inherited environment.
    env: Mapping[str, str] = field(default_factory=dict)
    #: False: only `env`, RQFLOW_*, AIRFLOW_CTX_*, and what worker/environment.py names as bare (PATH, LANG, HOME, TMPDIR …).
    inherit_env: bool = True
    #: None: a fresh private folder, removed afterwards.
    cwd: str | None = None
    #: {name: text} written into the try's folder before the start, for its owner only.
    files: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TryJob:
    """One try, as the worker tells the operator about it."""

    task: TaskSpec
    version: Version
    run: RunInfo
    try_number: int
    #: The folder of this try; its files stay until its end is recorded.
    folder: Path
    #: The interpreter and the script for Python children.
    python: str
    runner: Path
    #: Where virtual environments are kept on this worker.
    venvs: Path = Path("venvs")
    #: The variables of templates.
    context: Mapping[str, Any] = field(default_factory=dict)
    #: The home of the account that runs it; empty: that of the worker.
    home: str = ""
    #: What the configuration says about `set -o pipefail`; the task may say otherwise.
    pipefail: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How the process of a try ended. Either `exit_code` or `signal` is set; neither when nobody saw the end."""

    exit_code: int | None = None
    signal: int | None = None
    last_line: str = ""
    folder: Path = Path()
    #: What a Python child left in its result file, parsed; None when it left nothing.
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What the end of a try means. `state` is SUCCESS, FAILED, SKIPPED or UP_FOR_RESCHEDULE."""

    state: TaskState
    reason: str = ""
    #: {key: JSON text} for the tasks that follow.
    xcoms: Mapping[str, str] = field(default_factory=dict)
    #: Indices of downstream tasks that must be skipped.
    skip: tuple[int, ...] = ()
    #: False: a further try would be in vain, whatever `retries` says.
    retry: bool = True
    #: Seconds until the next try, when the operator and not retry_delay says so.
    retry_in: float | None = None
    #: Lines for the log.
    notes: tuple[str, ...] = ()


def say_end(ended: Ended) -> str:
    """Return how a process ended, in words: "exit code 3", "killed by signal 9 (KILL)"; empty for exit code 0."""
    if ended.signal is not None:
        return f"killed by signal {ended.signal} ({_signal_name(ended.signal)})"
    if ended.exit_code is None:
        return "exit code unknown"
    if ended.exit_code == 0:
        return ""
    said = f"exit code {ended.exit_code}"
    if ended.exit_code in _SHELL_CODES:
        return f"{said} ({_SHELL_CODES[ended.exit_code]})"
    if 128 < ended.exit_code < 128 + signal.NSIG:
        return f"{said} (a command was killed by signal {ended.exit_code - 128}, {_signal_name(ended.exit_code - 128)})"
    return said


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return "unknown"


def python_child(job: TryJob, fields: Mapping[str, Any]) -> Launch:
    """Return the start of a child that loads the DAG's source and executes the task there."""
    spec = {"mode": "task", "file": job.version.file, "dag_id": job.version.dag_id, "task_id": job.task.task_id, "try_number": job.try_number}
    return child(job, job.python, spec, fields)


def asking(launch: Launch) -> Launch:
    """Return the start of a Python child that may ask the hub (dag/asking.py)."""
    return replace(launch, spec={**(launch.spec or {}), "asks": True})


def child(job: TryJob, python: str, spec: Mapping[str, Any], fields: Mapping[str, Any]) -> Launch:
    """Return the start of the runner under the interpreter `python` with the operator's part `spec` of its instructions."""
    python = f"{job.home}{python[1:]}" if job.home and python.startswith("~/") else str(Path(python).expanduser())
    argv: tuple[str, ...] = (python, str(job.runner), str(job.folder / SPEC_FILE))
    if job.task.setup:
        argv = ("bash", "-c", f'{setup_lines(job.task.setup)}exec "$@"', "bash", *argv)
    return Launch(argv=argv, env=strings(fields.get("env")), spec=spec)


def setup_lines(setup: str | None) -> str:
    """Return the shell lines that run `setup` first, in the same shell, and give up with its exit code when it fails."""
    if not setup:
        return ""
    complaint = shlex.quote("rqflow: the setup line of this task failed")
    return f"{{ {setup}\n}} || {{ rqflow_code=$?; echo {complaint} >&2; exit $rqflow_code; }}\n"


def strings(env: Any) -> dict[str, str]:
    """Return rendered `env` with every name and value as text, None as empty; raises TaskFailed when it is no mapping."""
    if env and not isinstance(env, Mapping):
        raise TaskFailed(f"env must be a dictionary, {{name: value}}, not {env!r:.100}")
    return {str(name): "" if value is None else str(value) for name, value in (env or {}).items()}


def from_result(ended: Ended, job: TryJob) -> Outcome:
    """Return what a Python child said in its result file; failed when it left none."""
    if ended.result is None:
        return Outcome(state=TaskState.FAILED, reason=say_end(ended) or "the Python process ended without a result")
    result = ended.result
    states = {"success": TaskState.SUCCESS, "skipped": TaskState.SKIPPED, "reschedule": TaskState.UP_FOR_RESCHEDULE}
    state = states.get(str(result.get("state")), TaskState.FAILED)
    ids = {task.task_id: task.index for task in job.version.tasks}
    outcome = Outcome(
        state=state,
        reason=str(result.get("reason") or ("" if state != TaskState.FAILED else say_end(ended) or "failed")),
        xcoms=dict(result.get("xcoms") or {}),
        skip=tuple(sorted(ids[task_id] for task_id in result.get("skip") or () if task_id in ids)),
        retry=bool(result.get("retry", True)),
        retry_in=result.get("retry_in"),
    )
    return outcome if job.task.do_xcom_push else replace(outcome, xcoms=_without_return_value(outcome.xcoms))


def _without_return_value(xcoms: Mapping[str, str]) -> dict[str, str]:
    return {key: text for key, text in xcoms.items() if key != RETURN_VALUE}


def names_of(version: Version, indices: Iterable[int]) -> str:
    """Return the ids of tasks as a text that is not too long."""
    ids = [version.tasks[index].task_id for index in indices]
    shown = ", ".join(ids[:_MAX_NAMES])
    return f"{shown} and {len(ids) - _MAX_NAMES} more" if len(ids) > _MAX_NAMES else shown


def returned(ended: Ended) -> Any:
    """Return the value that the callable of a Python child returned; None when it returned None, or nothing JSON can hold."""
    xcoms = (ended.result or {}).get("xcoms") or {}
    return json.loads(xcoms[RETURN_VALUE]) if RETURN_VALUE in xcoms else None
