"""How long to wait before the next try of a task."""

from __future__ import annotations

import hashlib
import math

from rqflow.dag.version import TaskSpec

#: No wait is longer than this, in seconds: about thirty years.
LONGEST = 1e9


def waits_otherwise(one: TaskSpec, other: TaskSpec) -> bool:
    """Tell whether what two versions of a task say of its delays is different."""
    return any(getattr(one, name) != getattr(other, name) for name in ("retry_delay", "retry_exponential_backoff", "max_retry_delay"))


def retry_delay(task: TaskSpec, try_number: int, job_id: str) -> float:
    """Return the seconds between the end of try `try_number`, counted from 1, and the start of the next one.

    With retry_exponential_backoff the delay doubles with each try and up to as much again is added, so that many tasks that failed
    together do not come back together; the same try of the same job always gets the same delay. max_retry_delay is never exceeded.
    """
    cap = LONGEST if task.max_retry_delay is None else min(task.max_retry_delay, LONGEST)
    if not task.retry_exponential_backoff:
        return min(task.retry_delay, cap)
    doublings = min(max(try_number, 1) - 1, 60)
    least = max(1, math.ceil(min(task.retry_delay * 2**doublings, LONGEST)))
    digest = hashlib.sha256(f"{job_id}#{try_number}".encode()).digest()
    return min(float(least + int.from_bytes(digest[:8], "big") % least), cap)
