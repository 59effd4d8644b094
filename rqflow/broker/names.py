"""Names of workers. RQ's name of one is HOST.ID.RANDOM, new at each start; HOST.ID is what it is called over its restarts.

HOST may have dots. A worker whose work_dir is not that of its home has ID+DIGEST in place of ID.
"""

from __future__ import annotations


def machine_of(worker: str) -> str:
    """Return what a worker is called over its restarts."""
    return worker.rpartition(".")[0]


def member_of(machine: str) -> str:
    """Return the name under which the home of a worker has joined its hub: it is one for all its work_dirs."""
    return machine.partition("+")[0]
