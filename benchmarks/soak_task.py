"""A task of a soak, a program of its own: `soak_task.py FOLDER KIND SECONDS LINES`. Leaves evidence in FOLDER that owes nothing to rqflow.

`locks/RUN.TASK` is there while the task runs, with its process in it: a hard link, which like O_EXCL only one can make, and which never is
there without its content. One whose process is gone was left by a kill; who finds a living one writes a line into `doubled`. `journal` gets
a line at the begin and one before the end.
"""

from __future__ import annotations

import json
import os
import sys
import time

#: Exit codes by kind; those of a task that finds itself running twice.
CODES = {"skip": 99, "broken": 4}
DOUBLED = 77
FAILS_FIRST = 5


def line(name: str, number: int) -> bytes:
    """Return one line of the log of a try."""
    return f"{name} line {number:08} {'x' * (number * 7 % 90)}\n".encode()


def content(dag_id: str, run_id: str, task_id: str, try_number: int, lines: int) -> bytes:
    """Return the whole log of a try, as the task wrote it."""
    return b"".join(line(f"{dag_id}.{run_id}.{task_id}.{try_number}", number) for number in range(lines))


def exit_code(kind: str, try_number: int) -> int:
    """Return how a try of a task of this kind ends."""
    return FAILS_FIRST if kind == "flaky" and try_number == 1 else CODES.get(kind, 0)


def main(folder: str, kind: str, seconds: float, lines: int) -> int:
    """Run; return the exit code."""
    dag_id, run_id, task_id = (os.environ[f"RQFLOW_{name}_ID"] for name in ("DAG", "RUN", "TASK"))
    try_number = int(os.environ["RQFLOW_TRY"])
    about = {"dag": dag_id, "run": run_id, "task": task_id, "try": try_number, "pid": os.getpid()}
    lock = f"{folder}/locks/{dag_id}.{run_id}.{task_id}"
    _append(f"{folder}/journal", {"what": "begin", **about, "at": time.time()})
    holder = _take(lock)
    if holder:
        _append(f"{folder}/doubled", {**about, "holder": holder, "at": time.time()})
        return DOUBLED
    data, code = content(dag_id, run_id, task_id, try_number, lines), exit_code(kind, try_number)
    _write(data[:len(data) // 2])
    time.sleep(seconds)
    _write(data[len(data) // 2:])
    _append(f"{folder}/journal", {"what": "end", **about, "code": code, "bytes": len(data), "at": time.time()})
    os.unlink(lock)  # noqa: PTH108 - pathlib takes as long to load as all the rest
    return code


def _take(lock: str) -> str:
    """Take the lock; return the living process that has it, else nothing."""
    own = f"{lock}.{os.getpid()}"
    with open(own, "x", encoding="ascii") as stream:
        stream.write(f"{os.getpid()} {_started(str(os.getpid()))}")
    try:
        while True:
            try:
                os.link(own, lock)
                return ""
            except FileExistsError:
                holder = _read(lock)
                pid, _, started = holder.partition(" ")
                if holder and _started(pid) == started:
                    return holder
                if holder:
                    os.unlink(lock)  # noqa: PTH108 - pathlib takes as long to load as all the rest
    finally:
        os.unlink(own)  # noqa: PTH108


def _started(pid: str) -> str:
    """Return when a process started, in ticks; empty when there is none."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if fields and fields[0] not in {"Z", "X"} else ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _append(path: str, entry: dict[str, object]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, json.dumps(entry).encode() + b"\n")
    os.close(descriptor)


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data):]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])))
