"""Events as the broker's steps write them, with defaults."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rqflow import clock
from rqflow.dag.run import run_key

#: Microseconds of the epoch at which the events of tests begin.
START = 1_790_000_000_000_000


def moment(step: int) -> datetime:
    """The time of the event number `step`."""
    return clock.from_micros(START + step)


def about(run_id: str = "r", dag_id: str = "d") -> dict[str, str]:
    """What every event says of its run."""
    return {"run": run_key(dag_id, run_id), "dag": dag_id, "run_id": run_id}


def a_run_event(state: str, step: int, run_id: str = "r", **changes: Any) -> dict[str, Any]:
    """A run's new state. Times of what has not happened are absent, as in the Lua."""
    ended = {} if state in {"queued", "running"} else {"ended_at": str(START + step)}
    times = {"seq": str(START + step), "at": str(START + step), "started_at": str(START)}
    return {"kind": "run", **about(run_id), "state": state, **times, **ended, **changes}


def a_task_event(state: str, step: int, task: str = "t", try_number: int = 1, run_id: str = "r", **changes: Any) -> dict[str, Any]:
    """A task instance's new state."""
    event: dict[str, Any] = {
        "kind": "ti", **about(run_id), "task": task, "index": 0, "try": try_number, "state": state, "seq": str(START + step),
        "at": str(START + step), "reason": "", "queue": "default", "pool": "default_pool", "worker": "", "execution": "", "max_tries": 3,
    }
    if state not in {"pending", "queued", "parked"}:
        event |= {"worker": "w.1", "execution": f"e{try_number}", "started_at": str(START + 1)}
    return {**event, **changes}


def an_end(state: str, step: int, task: str = "t", try_number: int = 1, run_id: str = "r", **changes: Any) -> dict[str, Any]:
    """The end of a try as a worker tells it, with facts."""
    facts = {"host": "node7", "pid": 4711, "exit_code": 0, "cpu_seconds": 0.25, "max_rss_bytes": 1 << 33, "log_bytes": 123}
    event = a_task_event(state, step, task, try_number, run_id, ended_at=str(START + step), facts=facts)
    return {**event, **changes}


def a_late_end(state: str, step: int, task: str = "t", try_number: int = 1, run_id: str = "r", **changes: Any) -> dict[str, Any]:
    """The end of a try that is no longer the current one."""
    event = an_end(state, step, task, try_number, run_id, kind="late")
    return {**{name: value for name, value in event.items() if name not in {"queue", "pool", "max_tries"}}, **changes}


def an_xcom(value: Any, step: int, task: str = "t", run_id: str = "r", key: str = "return_value") -> dict[str, Any]:
    """A value that a task pushed, as JSON text."""
    return {"kind": "xcom", **about(run_id), "task": task, "key": key, "value": value, "seq": str(START + step), "at": str(START + step)}
