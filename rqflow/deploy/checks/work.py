"""What a doctor sees of work: who serves which queue, whose clock is off, whose disk is full, and what has waited for too long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from rqflow.actions.verdict import Verdict
from rqflow.broker import control
from rqflow.broker.broker import Broker
from rqflow.broker.status import WorkerStatus
from rqflow.deploy.checks.finding import Finding

#: A clock that is off by more than that spoils the times in logs; so long a task may wait on a queue that is served before it is told of.
CLOCK_OFF, LONG = timedelta(seconds=2), timedelta(hours=1)


def queues(broker: Broker, workers: Sequence[WorkerStatus]) -> Iterator[Finding]:
    """Tell who serves each queue, and which queues a person paused."""
    known = control.queues(broker)
    served = {queue: [one for one in workers if queue in one.queues] for queue in sorted({*(one.name for one in known), *(
        queue for worker in workers for queue in worker.queues)})}
    if served:
        said = [f"{queue}: {len(by)} worker{'' if len(by) == 1 else 's'} with {sum(one.slots for one in by)} slots" for queue, by in served.items()]
        yield Finding(check="workers of queues", verdict=Verdict.OK, detail="; ".join(said))
    if halted := [one.name for one in known if one.paused_since]:
        yield Finding(check="queues", verdict=Verdict.WARNING, detail=f"paused by a person: {', '.join(halted)}",
                      remedy=f"rqflow queue resume {halted[0]}")


def machines(workers: Sequence[WorkerStatus], min_free: int) -> Iterator[Finding]:
    """Tell of workers whose clock is off, or whose disk is nearly full; nothing of others."""
    off = [one for one in workers if one.clock_offset is not None and abs(one.clock_offset) > CLOCK_OFF.total_seconds()]
    if off:
        worst = max(off, key=lambda one: abs(one.clock_offset or 0.0))
        yield Finding(check="clocks of workers", verdict=Verdict.WARNING, remedy="Set up NTP, such as chrony, on these machines.",
                      detail=f"{len(off)} off that of Redis, such as {worst.name} by {worst.clock_offset:+.1f} s; times in logs go by them")
    full = [one for one in workers if one.disk_free is not None and one.disk_free < min_free]
    if full:
        yield Finding(check="disks of workers", verdict=Verdict.PROBLEM, remedy="Make room there: its tasks fail when it is full.",
                      detail=f"{', '.join(one.name for one in full[:5])}: less than {min_free >> 20} MiB free on the disk of the work_dir")


def stuck(oldest: Mapping[str, datetime], now: datetime, workers: Sequence[WorkerStatus]) -> Finding:
    """Tell of tasks that have been queued for long on a queue that somebody serves; `oldest` is {queue: since when}."""
    served = {queue for worker in workers for queue in worker.queues}
    late = {queue: now - since for queue, since in oldest.items() if queue in served and now - since > LONG}
    if late:
        queue = max(late, key=lambda name: late[name])
        hours = late[queue].total_seconds() / 3600
        return Finding(check="stuck tasks", verdict=Verdict.WARNING, detail=f"on the queue {queue} a task has waited {hours:.1f} h for a free slot",
                       remedy="rqflow top shows what takes the slots; rqflow why RUN TASK says what one task waits for.")
    return Finding(check="stuck tasks", verdict=Verdict.OK, detail="none has waited for long on a queue that is served")
