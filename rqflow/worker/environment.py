"""The environment of tasks: what the worker's own one hands on, what every try gets besides, and files of variables.

A snapshot is taken when the worker starts. Out of it go rqflow's and Airflow's settings (with passwords in them), what people gave us as
Variables and Connections, and everything by which our own virtual environment would leak into tasks.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from rqflow.broker.messages import Claim
from rqflow.dag.run import RunInfo
from rqflow.exceptions import TaskFailed

#: Variables that are ours, or hold secrets that are: settings, Variables, Connections, credentials of systemd, RQ's own.
_OURS = re.compile(
    r"RQFLOW__.*|RQFLOW_(VAR|CONN)_.*|RQFLOW_(HOME|CONFIG|TOKEN|EXECUTION|HANDOVER|OUTPUT|DAG_ID|RUN_ID|TASK_ID|TRY|LOGICAL_DATE|DAG_FOLDER)"
    r"|AIRFLOW__.*|AIRFLOW_(VAR|CONN|CTX)_.*|RQ_.*|CREDENTIALS_DIRECTORY|NOTIFY_SOCKET|WATCHDOG_(PID|USEC)|SUPERVISOR_.*"
    r"|PYTHONHOME|__PYVENV_LAUNCHER__",
)
_GIVEN = re.compile(r"(RQFLOW|AIRFLOW)_(VAR|CONN)_")
#: Names the folder of the DAG file, as it travelled, for tasks that have `files`.
DAG_FOLDER = "RQFLOW_DAG_FOLDER"
#: What a try without the inherited environment still gets of it.
_BARE = ("PATH", "LANG", "LC_ALL", "HOME", "TMPDIR", "TZ", "USER", "LOGNAME")
_UTF8, _ASCII = "C.UTF-8", {"", "C", "POSIX"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def snapshot(environ: Mapping[str, str], *, prefix: str = sys.prefix, base_prefix: str = sys.base_prefix) -> dict[str, str]:
    """Return what tasks inherit of `environ`. Our interpreter lives in `prefix`; it is a virtual environment when `base_prefix` differs."""
    kept = {name: value for name, value in environ.items() if not _OURS.fullmatch(name)}
    if kept.get("VIRTUAL_ENV") == prefix:
        kept = {name: value for name, value in kept.items() if not name.startswith("VIRTUAL_ENV")}
    if prefix != base_prefix:
        kept["PATH"] = _without(kept.get("PATH", os.defpath), prefix) or os.defpath
    if "PYTHONPATH" in kept:
        rest = _without(kept.pop("PYTHONPATH"), str(Path(__file__).parents[2]), prefix)
        kept.update({"PYTHONPATH": rest} if rest else {})
    for name in ("LC_ALL", "LC_CTYPE"):
        if kept.get(name) in _ASCII:
            del kept[name]
    if "LC_ALL" not in kept and kept.get("LANG", "") in _ASCII:
        kept["LANG"] = _UTF8
    kept["PYTHONUNBUFFERED"] = "1"
    return kept


def given(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the Variables and Connections in `environ`, which only children that load a DAG's source are given."""
    return {name: value for name, value in environ.items() if _GIVEN.match(name)}


def of_try(claim: Claim, run: RunInfo) -> dict[str, str]:
    """Return what tells a task who it is."""
    date = run.logical_date.isoformat()
    return {
        "RQFLOW_DAG_ID": run.dag_id, "RQFLOW_RUN_ID": run.run_id, "RQFLOW_TASK_ID": claim.task_id, "RQFLOW_TRY": str(claim.try_number),
        "RQFLOW_LOGICAL_DATE": date,
        "AIRFLOW_CTX_DAG_ID": run.dag_id, "AIRFLOW_CTX_DAG_RUN_ID": run.run_id, "AIRFLOW_CTX_TASK_ID": claim.task_id,
        "AIRFLOW_CTX_TRY_NUMBER": str(claim.try_number), "AIRFLOW_CTX_EXECUTION_DATE": date,
    }


def bare(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the little that a task gets which asked not to inherit."""
    return {name: inherited[name] for name in _BARE if name in inherited}


def umask() -> int:
    """Return the umask of this process, which can only be read by setting it."""
    found = os.umask(0o077)
    os.umask(found)
    return found


def parse(text: str, name: str) -> dict[str, str]:
    """Return the variables of the env_file `name`: KEY=value lines, `export` before them, quotes around values, comments, empty lines.

    Nothing is expanded. Raises TaskFailed naming file and line.
    """
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        key, equals, value = stripped.removeprefix("export ").partition("=")
        if not equals or not _NAME.fullmatch(key.strip()):
            raise TaskFailed(f"env_file {name}, line {number}: this is not KEY=value: {line!r}")
        found[key.strip()] = _unquoted(value.strip())
    return found


def read_file(path: str) -> str:
    """Return the text of an env_file on this machine; raises TaskFailed."""
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise TaskFailed(f"env_file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TaskFailed(f"env_file {path} is not UTF-8") from error


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value


def _without(path: str, *roots: str) -> str:
    """Return the folders of `path` that do not lie in one of `roots`."""
    kept = (folder for folder in path.split(os.pathsep) if folder and not any(Path(folder).is_relative_to(root) for root in roots))
    return os.pathsep.join(kept)
