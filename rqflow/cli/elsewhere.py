"""Workers of a hub elsewhere. Imports what it needs when it is called: those who run tasks need neither the history nor operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import timedelta
from typing import Any

from rqflow import clock
from rqflow.broker.status import WorkerStatus
from rqflow.cli import output
from rqflow.cli.app import App
from rqflow.exceptions import TimedOut

#: Seconds between two looks whether workers are gone.
EVERY = 1.0


def listed(app: App) -> list[dict[str, Any]]:
    """Return the workers as records."""
    from rqflow.api.operation import Nothing  # here: see above
    from rqflow.api.workers import list_workers  # here: see above
    from rqflow.cli.hub import asking  # here: see above

    with asking(app) as ask:
        return [_row(one) for one in ask(list_workers, Nothing()).items]


def _row(one: WorkerStatus) -> dict[str, Any]:
    return {field.name: getattr(one, field.name) for field in fields(WorkerStatus)}


def shown(app: App, name: str) -> dict[str, Any]:
    """Return a worker with its tasks as a record. Raises NotFound."""
    from rqflow.api.workers import OneWorker, get_worker  # here: see above
    from rqflow.cli.hub import asking  # here: see above

    with asking(app) as ask:
        found = ask(get_worker, OneWorker(worker=name))
    tasks = [{"dag_id": one.dag_id, "run_id": one.run_id, "task_id": one.task_id} for one in found.tasks]
    return {**_row(found), "paused_since": found.paused_since, "paused_by": found.paused_by, "tasks": tasks}


def steered(app: App, verb: str, names: Sequence[str], said: str, *, waits: bool, timeout: timedelta | None) -> list[dict[str, Any]]:
    """Pause, resume, drain, stop or kill workers, say so, and wait until they are gone; return their records. Raises NotFound, TimedOut."""
    from rqflow.api import workers  # here: see above
    from rqflow.api.operation import Nothing  # here: see above
    from rqflow.api.workers import OneWorker, StopWorker  # here: see above
    from rqflow.cli.hub import asking  # here: see above
    from rqflow.worker.loop import KILL  # here: see above

    simple = {"pause": workers.pause_worker, "resume": workers.resume_worker, "drain": workers.drain_worker}
    with asking(app) as ask:
        found = [ask(workers.get_worker, OneWorker(worker=name)) for name in names]
        for one in found:
            if verb in simple:
                ask(simple[verb], OneWorker(worker=one.name))
            else:
                ask(workers.stop_worker, StopWorker(worker=one.name, how=KILL if verb == "kill" else ""))
            output.note(f"worker {one.name} {said}")
        since = clock.monotonic()
        while waits and (left := sorted({one.name for one in found} & {one.name for one in ask(workers.list_workers, Nothing()).items
                                                                       if one.unreachable_since is None})):
            if timeout is not None and clock.monotonic() - since >= timeout.total_seconds():
                raise TimedOut(f"{', '.join(left)} still lives after {timeout.total_seconds():g} s; it goes on ending")
            clock.sleep(EVERY)
    return [_row(one) for one in found]


def forgotten(app: App, name: str) -> tuple[str, Sequence[str]]:
    """Forget a worker; return what is left of its name, and in words what else was done. Raises NotFound."""
    from rqflow.api.workers import OneWorker, forget_one  # here: see above
    from rqflow.cli.hub import asking  # here: see above

    with asking(app) as ask:
        done = ask(forget_one, OneWorker(worker=name))
    return done.worker, done.done
