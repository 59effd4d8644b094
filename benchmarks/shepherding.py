"""W8: what it costs a task that a shepherd, and not the one who wants it done, is its parent."""

from __future__ import annotations

import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import processes, system
from benchmarks.baseline import SLOTS
from benchmarks.options import Options
from benchmarks.report import Budget, Figure, Report
from rqflow.worker.shepherd_client import ShepherdClient
from rqflow.worker.shepherd_protocol import Start
from rqflow.worker.spawning import spawn
from tests.waiting import until

#: Microseconds of CPU a task (architecture section 6).
COST = Budget(goal=100)
TASKS = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Microseconds a task: from the first start to the last end, and CPU of those who looked after it."""

    wall: float
    cpu: float
    shepherd_cpu: float = 0.0


def w8(options: Options, report: Report) -> None:
    """What the shepherd costs a task: the same starts directly, and through a shepherd."""
    count = options.count(TASKS)
    direct, herded = [], []
    for number in range(options.reps):
        report.say(f"{count} tasks directly and through a shepherd, {number + 1} of {options.reps}")
        with system.folder() as place:
            direct.append(directly(place, count))
        with system.folder() as place:
            herded.append(through_a_shepherd(place, count))
    more = [two.cpu + two.shepherd_cpu - one.cpu for one, two in zip(direct, herded, strict=True)]
    report.add([
        Figure(workload="W8", name="CPU that a shepherd adds to a task", unit="µs", values=more, budget=COST),
        Figure(workload="W8", system="directly", name="CPU of the parent a task", unit="µs", values=[one.cpu for one in direct]),
        Figure(workload="W8", system="shepherd", name="CPU of the client a task", unit="µs", values=[one.cpu for one in herded]),
        Figure(workload="W8", system="shepherd", name="CPU of the shepherd a task", unit="µs", values=[one.shepherd_cpu for one in herded]),
        Figure(workload="W8", system="directly", name="time a task", unit="µs", values=[one.wall for one in direct]),
        Figure(workload="W8", system="shepherd", name="time a task", unit="µs", values=[one.wall for one in herded])])


def _request(folder: Path, number: int) -> Start:
    name = f"bench-{os.getpid()}-{number}"
    return Start(id=name, argv=("bash", "-c", "true"), log=str(folder / f"{number}.log"), cwd=str(folder), env={"RQFLOW_TASK_ID": f"t{number}"})


def directly(folder: Path, count: int) -> Cost:
    """Start each task here with the shepherd's own call, four at a time, and wait for it."""
    environ, null = dict(os.environ), os.open(os.devnull, os.O_RDWR)
    poll = select.poll()
    running: dict[int, int] = {}
    began, cpu, here = time.monotonic(), time.process_time(), Path.cwd()
    started = 0
    while started < count or running:
        while started < count and len(running) < SLOTS:
            pid = spawn(_request(folder, started), environ, 0o022, null)
            started += 1
            descriptor = os.pidfd_open(pid)
            running[descriptor] = pid
            poll.register(descriptor, select.POLLIN)
        for descriptor, _ in poll.poll():
            poll.unregister(descriptor)
            os.close(descriptor)
            os.wait4(running.pop(descriptor), 0)
    cost = Cost(wall=_micros(time.monotonic() - began, count), cpu=_micros(time.process_time() - cpu, count))
    os.chdir(here)  # spawn leaves us at the root
    os.close(null)
    return cost


def through_a_shepherd(folder: Path, count: int) -> Cost:
    """Let a shepherd start each task, four at a time, and say all that a worker says to it."""
    client = ShepherdClient(folder, env=dict(os.environ), linger=1.0)
    client.connect()
    client.environment(dict(os.environ), 0o022)
    client.flush()
    before = processes.usage(client.pid)
    began, cpu = time.monotonic(), time.process_time()
    started = ended = 0
    while ended < count:
        while started < count and started - ended < SLOTS:
            client.start(_request(folder, started))
            started += 1
        client.flush()
        select.select([client], [], [])
        ids = [entry.id for entry in client.receive()]
        ended += len(ids)
        client.accepted(ids)
        client.forget(ids)
    wall, cpu = time.monotonic() - began, time.process_time() - cpu
    spent = processes.usage(client.pid) - before
    client.flush()
    os.kill(client.pid, signal.SIGTERM)
    client.close()
    until(lambda: not Path(f"/proc/{client.pid}").exists() or _is_zombie(client.pid), what="the shepherd to end")
    return Cost(wall=_micros(wall, count), cpu=_micros(cpu, count), shepherd_cpu=_micros(spent.own, count))


def _is_zombie(pid: int) -> bool:
    """Tell whether a process has ended and only waits for its parent, which we are not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _micros(seconds: float, count: int) -> float:
    return seconds / count * 1e6
