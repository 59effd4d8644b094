"""Tasks that leave evidence of themselves which owes nothing to rqflow: that they run alone, each start with its pid, each end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil

from tests.e2e.lab import Lab, alive
from tests.waiting import until

# Each task proves that it runs alone by a file that cannot be made twice, and notes each start with its pid, and its end.
DAG = """
from datetime import timedelta
from rqflow import DAG, BashOperator

ALONE = '''
cd {folder}
(set -C; echo $$ > lock.$RQFLOW_TASK_ID) 2>/dev/null || { echo $RQFLOW_TASK_ID >> doubled; exit 1; }
echo $RQFLOW_TASK_ID $$ >> began
trap 'rm -f lock.$RQFLOW_TASK_ID' EXIT
'''
GATE = "while [ ! -e go ]; do sleep 0.05; done; "
END = "echo $RQFLOW_TASK_ID >> ended"

def task(name, script=END, **options):
    return BashOperator(task_id=name, bash_command=ALONE + script, **options)

with DAG("{dag_id}"):
{tasks}
"""


def a_dag(lab: Lab, tasks: str, *, dag_id: str = "alone") -> Path:
    """Write the file of a DAG with these tasks, one expression a line; their evidence is in the lab's folder."""
    lines = "\n".join(f"    {line.strip()}" for line in tasks.strip().splitlines())
    return lab.dag(DAG.replace("{folder}", str(lab.folder)).replace("{dag_id}", dag_id).replace("{tasks}", lines), f"{dag_id}.py")


def words(lab: Lab, name: str) -> list[list[str]]:
    """Return the lines of a file of evidence: `began`, `ended`, `doubled`."""
    path = lab.folder / name
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def began(lab: Lab, task_id: str) -> list[int]:
    """The pids of all starts of a task."""
    return [int(pid) for name, pid in words(lab, "began") if name == task_id]


def power_off(worker: int, task: int) -> None:
    """Kill worker, shepherd and task as a power cut does."""
    shepherd = psutil.Process(task).ppid()
    for pid in (worker, shepherd):
        os.kill(pid, signal.SIGKILL)
    os.killpg(task, signal.SIGKILL)
    until(lambda: not alive([shepherd, task]), what="them to be gone")


def reboot(work_dir: Path) -> None:
    """Let what is on disk be of another boot."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    for name in ("names", "shepherd.journal"):
        path = work_dir / name
        if path.exists():  # not before a worker was there
            path.write_text(path.read_text().replace(boot, "0" * 36))
