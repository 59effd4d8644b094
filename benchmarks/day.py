"""A day in minutes: what memory scheduler, worker, shepherd and Redis have after many runs. Flat, if nothing is kept that nobody needs."""

from __future__ import annotations

import time

import redis

from benchmarks import processes, shapes, system
from benchmarks.options import Options
from benchmarks.report import Budget, Figure, Report
from benchmarks.system import System
from rqflow.broker.events import EventStream
from rqflow.dag.version import Version

#: Runs, and the tasks of each beside its first and its last one.
RUNS, WIDTH = 2_000, 18
WORKERS = 4
#: Runs under way at the same time.
TOGETHER = 8
#: How much more memory a process may have at the end than in the middle, in percent.
FLAT = 5.0
_PAUSE = 0.02
#: Seconds for which everything rests before memory is read: the last logs and events, and what Redis forgets.
_REST = 3.0
#: Redis' own count of what its data take: what it got from the system once, it keeps.
DATA = "Redis, its data"


def day(options: Options, report: Report) -> None:
    """2,000 runs of 20 tasks through one hub and 4 workers; memory at the start, in the middle and at the end."""
    count = options.runs or RUNS
    with system.servers(system.SQLITE, {"RQFLOW__BROKER__RUN_RETENTION": "2s"}) as lab:
        _start(lab)
        version = lab.register(shapes.fan(WIDTH, dag_id="day"))
        began = time.monotonic()
        # What is loaded or grows once, to a size that is bounded, is there after the first tenth.
        _work(lab, version, max(count // 10, 1), "first")
        looks = [_look(lab)]
        for name in ("morning", "evening"):
            _work(lab, version, max((count - count // 10) // 2, 1), name)
            looks.append(_look(lab))
        took = time.monotonic() - began
        report.add(_figures(looks, f"{count} runs of {len(version.tasks)} tasks in {took:.0f} s"))


def _start(lab: System) -> None:
    """Start the hub and the workers, each in a folder of its own."""
    lab.pids["scheduler"] = lab.lab.hub().pid
    for number in range(1, WORKERS + 1):
        name = f"work{number}"
        lab.pids[f"worker {number}"] = lab.lab.worker("-n", "1", work_dir=name).pid
        lab.pids[f"shepherd {number}"] = system.shepherd_pid(lab.lab.root / name)
    lab.pids["Redis"] = int(lab.connection.info("server")["process_id"])


def _work(lab: System, version: Version, count: int, name: str) -> None:
    """Start so many runs, some at a time, and wait for their end and that of their recording."""
    under_way = []
    for number in range(count):
        under_way.append(lab.begin(version, f"{name}{number}"))
        while len(under_way) >= TOGETHER:
            under_way = [run for run in under_way if not lab.services.broker.is_finished(run.key)]
            time.sleep(_PAUSE)
    system.patiently(lambda: all(lab.services.broker.is_finished(run.key) for run in under_way), what="the runs to end", every=0.1)
    system.patiently(lambda: EventStream(lab.connection).backlog() == 0, what="the recorder", every=0.1)
    system.patiently(lambda: not lab.services.broker.all_runs(), what="Redis to forget the runs", every=0.2)
    time.sleep(_REST)


def _look(lab: System) -> dict[str, float]:
    """Return the memory of each process in MiB, and that of Redis' data."""
    found = {name: processes.pss(pid) for name, pid in lab.pids.items()}
    return found | {DATA: _data(lab.connection) / processes.MIB}


def _data(connection: redis.Redis) -> int:
    """Return the bytes of Redis without its buffers."""
    info = connection.info("memory")
    return int(info["used_memory"]) - int(info["mem_clients_normal"]) - int(info["mem_aof_buffer"])


def _figures(looks: list[dict[str, float]], note: str) -> list[Figure]:
    start, middle, end = looks
    found: list[Figure] = []
    for name in start:
        growth = 100 * (end[name] / middle[name] - 1)
        found += [Figure(workload="day", name=f"memory of {name} at start, middle, end", unit="MiB", note=note if not found else "",
                         text=" / ".join(f"{look[name]:.1f}" for look in looks)),
                  Figure(workload="day", name=f"growth of {name} from the middle to the end", unit="%", values=[growth], budget=Budget(goal=FLAT))]
    return found
