"""Where the log of a try is below the archive's folder: DAG / task / logical date / try.log."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import PurePosixPath

from rqflow.exceptions import UsageError

#: Characters that stay as they are in a name, beside letters and digits of any script. `%` and `~` must not be among them.
_KEPT = frozenset("-_.+=@,")
#: Bytes that a part of the path may have; file systems allow 255.
_PART_BYTES, _NAME_BYTES = 200, 255
_ODD_PARTS = frozenset({"", ".", ".."})
_MOST_PARTS = 8


def log_path(dag_id: str, task_id: str, logical_date: datetime, try_number: int, *, run_key: str = "") -> PurePosixPath:
    """Return the path of a try's log, relative to the archive.

    Runs that are not scheduled give their `run_key`, because a DAG may have several of them for one logical date.
    """
    return PurePosixPath(log_name(dag_id, task_id, logical_date, try_number, run_key=run_key))


def log_name(dag_id: str, task_id: str, logical_date: datetime, try_number: int, *, run_key: str = "") -> str:
    """Return the same as text."""
    dag, date = run_parts(dag_id, logical_date, run_key=run_key)
    return f"{dag}/{_part(task_id)}/{date}/{try_number}.log"


@lru_cache(maxsize=512)
def run_parts(dag_id: str, logical_date: datetime, *, run_key: str = "") -> tuple[str, str]:
    """Return the first and the third part of the paths of all logs of a run."""
    moment = logical_date.astimezone(UTC)
    date = moment.strftime("%Y-%m-%dT%H-%M-%S") + (f".{moment.microsecond:06}" if moment.microsecond else "")
    return _part(dag_id), f"{date}_{run_key[:8]}" if run_key else date


def checked(path: str) -> str:
    """Return `path`, as it came over the network, when it stays below the archive's folder; raises UsageError for any other."""
    parts = path.split("/")
    sound = 2 <= len(parts) <= _MOST_PARTS and path.endswith(".log") and "\0" not in path and not _ODD_PARTS.intersection(parts)
    if not sound or any(len(part.encode("utf-8", "replace")) > _NAME_BYTES for part in parts):
        raise UsageError(f"{path!r} is no path of a log")
    return path


@lru_cache(maxsize=4096)
def _part(name: str) -> str:
    """Return `name` as a file name that no other name has: odd characters as %XX, a long one shortened with its hash."""
    written = "".join(c if (c.isalnum() or c in _KEPT) else "".join(f"%{byte:02X}" for byte in c.encode("utf-8", "surrogatepass")) for c in name)
    if written[:1] in {".", ""}:
        written = "%" + "2E" * bool(written) + written[1:]
    raw = written.encode("utf-8")
    if len(raw) <= _PART_BYTES:
        return written
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{raw[:_PART_BYTES - 17].decode('utf-8', 'ignore')}~{digest}"
