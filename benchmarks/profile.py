"""Where the time of one task goes: microseconds of CPU a task by process, by thread, by function, and in Redis by command and step.

Two passes of the same runs. The first touches nothing, and tells what each process used. The second tells how it divides: py-spy looks at the
stacks of the Python processes from outside, and Redis notes every call.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from rich.table import Table

from benchmarks import baseline, processes, shapes, slowlog, system
from benchmarks.options import Options
from benchmarks.report import Report
from tests.waiting import until

#: Tasks of the fan and of the chain; rows that a table of functions has.
FAN, CHAIN, ROWS = 2_000, 200, 18
#: What the measuring itself uses.
THIS = "this program"
#: Calls that Redis notes; more than there are.
NOTED = 1_000_000
#: The processes that are looked at, how often a second, and for how many seconds at most.
WATCHED, RATE, LONGEST = ("worker", "shepherd", "scheduler"), 500, 3600
#: Beside the Python that runs this.
PY_SPY = Path(sys.executable).with_name("py-spy")
#: Frames that only start programs and threads.
_STARTS = re.compile(r"threading\.py|runpy|click/core\.py|<module>|cli/main\.py")


@dataclass(kw_only=True, slots=True)
class Profile:
    """Of one shape on one system, microseconds a task everywhere."""

    shape: str
    store: str
    tasks: int
    wall: float = 0.0
    limit: float = 0.0
    limit_cpu: float = 0.0
    #: CPU by process, that of the task processes among them; the machine's; how often each process went to sleep, a task.
    cpu: dict[str, float] = field(default_factory=dict)
    machine: dict[str, float] = field(default_factory=dict)
    sleeps: dict[str, float] = field(default_factory=dict)
    #: Redis: {command or step: (calls a task, microseconds a task)}.
    commands: dict[str, tuple[float, float]] = field(default_factory=dict)
    by_step: dict[str, tuple[float, float]] = field(default_factory=dict)
    #: {process: [{name, micros, looks, own, with_called}]}, in microseconds a task.
    threads: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def run(options: Options, report: Report, workloads: Container[str]) -> None:
    """Profile a chain and a wide fan on each store: those of w1 and w2 that are among `workloads`."""
    shape_of = {"w1": shapes.chain(options.count(CHAIN)), "w2": shapes.fan(options.count(FAN))}
    found = [shape for name, shape in shape_of.items() if name in workloads]
    for store in options.stores:
        profiles = [Profile(shape=shape.title, store=store, tasks=shape.tasks * options.reps) for shape in found]
        with system.running(store) as ours:
            for profile, shape in zip(profiles, found, strict=True):
                report.say(f"{shape.title} on {store}: what each process uses")
                _plain(profile, ours, shape, options.reps)
        with system.running(store) as ours, system.folder() as place:
            for profile, shape in zip(profiles, found, strict=True):
                report.say(f"{shape.title} on {store}: where in it")
                _divided(profile, ours, shape, options.reps, place)
        for profile in profiles:
            show(profile, report)
            report.more.setdefault("profiles", []).append({name: getattr(profile, name) for name in Profile.__slots__})


# ---------------------------------------------------------------- measuring


def _plain(profile: Profile, ours: system.System, shape: shapes.Shape, reps: int) -> None:
    """Fill in what each process used, undisturbed."""
    version = ours.register(shape)
    limits = [baseline.measure(shape) for _ in range(reps)]
    profile.limit = sum(limit.seconds for limit in limits) / profile.tasks * 1e6
    profile.limit_cpu = sum(limit.cpu for limit in limits) / profile.tasks * 1e6
    ours.connection.config_resetstat()
    before, machine, own = processes.usages(ours.pids), processes.machine(), time.process_time()
    for _ in range(reps):
        profile.wall += ours.measure(version).took / profile.tasks * 1e6
    own, machine = time.process_time() - own, processes.machine() - machine
    spent = {name: after - before[name] for name, after in processes.usages(ours.pids).items()}
    statistics = ours.connection.info("commandstats")
    for name, used in spent.items():
        profile.cpu[name] = used.own / profile.tasks * 1e6
        profile.sleeps[name] = used.sleeps / profile.tasks
    profile.cpu["task processes"] = spent["shepherd"].children / profile.tasks * 1e6
    profile.cpu[THIS] = own / profile.tasks * 1e6
    profile.machine = {name: getattr(machine, name) / profile.tasks * 1e6 for name in ("busy", "idle", "stolen")}
    for name, found in statistics.items():
        profile.commands[name.removeprefix("cmdstat_")] = (found["calls"] / profile.tasks, found["usec"] / profile.tasks)


def _divided(profile: Profile, ours: system.System, shape: shapes.Shape, reps: int, folder: Path) -> None:
    """Fill in how that divides; `folder` is where py-spy writes."""
    version = ours.register(shape)
    slowlog.note(ours.connection, slower_than=0, most=NOTED)
    before = processes.usages(ours.pids)
    with watched(ours.pids, folder):
        for _ in range(reps):
            ours.measure(version)
    spent = {name: after - before[name] for name, after in processes.usages(ours.pids).items()}
    ours.connection.config_set("slowlog-log-slower-than", -1)
    profile.by_step = _by_step(ours.connection, profile.tasks)
    for name in WATCHED:
        stacks = (folder / name).read_text(encoding="utf-8").splitlines()
        profile.threads[name] = _by_thread(stacks, spent[name].own / profile.tasks * 1e6)


@contextmanager
def watched(pids: Mapping[str, int], folder: Path) -> Iterator[None]:
    """Look at the stacks of those that run; a file for each process, named after it, is in `folder` afterwards.

    Raises AssertionError when that is not allowed here (ptrace): it takes root where the processes are not our children.
    """
    spies = []
    said = [folder / f"{name}.log" for name in WATCHED]
    for name, log in zip(WATCHED, said, strict=True):
        command = [str(PY_SPY), "record", "--pid", str(pids[name]), "--rate", str(RATE), "--duration", str(LONGEST), "--threads", "--nonblocking",
                   "--format", "raw", "--output", str(folder / name)]
        with log.open("wb") as stream:
            spies.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream))
    until(lambda: all("Press Control-C" in log.read_text(errors="replace") for log in said) or any(spy.poll() is not None for spy in spies),
          what="py-spy to look")
    assert all(spy.poll() is None for spy in spies), "\n".join(log.read_text(errors="replace") for log in said)
    yield
    for spy in spies:
        spy.send_signal(signal.SIGINT)
        spy.wait(60)


def _by_thread(stacks: Iterable[str], micros: float) -> list[dict[str, Any]]:
    """Return what was seen of each thread of a process that used so many microseconds a task; a stack is `thread;frame;frame… looks`."""
    found: dict[str, dict[str, Any]] = {}
    for line in stacks:
        stack, _, looks = line.rpartition(" ")
        thread, *frames = stack.split(";")
        name = thread.partition(": ")[2].strip('"') or thread
        seen = found.setdefault(thread, {"name": name, "looks": 0, "own": Counter(), "with_called": Counter()})
        names = [_where(frame) for frame in frames if not _STARTS.search(frame)]
        seen["looks"] += int(looks)
        seen["own"].update({names[-1] if names else "start": int(looks)})
        seen["with_called"].update(dict.fromkeys(names, int(looks)))
    each = micros / max(sum(seen["looks"] for seen in found.values()), 1)
    return [{"name": seen["name"], "micros": seen["looks"] * each, "looks": seen["looks"],
             **{kind: {name: looks * each for name, looks in seen[kind].items()} for kind in ("own", "with_called")}} for seen in found.values()]


def _where(frame: str) -> str:
    """Return module and function of `Class.function (path/to/module.py:12)`."""
    function, _, place = frame.rpartition(" (")
    return f"{place.partition(':')[0].removesuffix('.py').replace('/', '.')}:{function}"


def _by_step(connection: redis.Redis, tasks: int) -> dict[str, tuple[float, float]]:
    """Return {step or command: (calls, microseconds)} a task of every call that Redis noted."""
    calls: Counter[str] = Counter()
    micros: Counter[str] = Counter()
    for name, duration in slowlog.noted(connection):
        calls[name] += 1
        micros[name] += duration
    return {name: (calls[name] / tasks, used / tasks) for name, used in micros.most_common()}


# ---------------------------------------------------------------- showing


def show(profile: Profile, report: Report) -> None:
    """Print a profile."""
    report.console.rule(f"{profile.shape} on {profile.store}: µs a task", align="left")
    report.console.print(_of_processes(profile))
    together = sum(micros for name, micros in profile.cpu.items() if name != THIS)
    share = profile.limit_cpu / together
    report.console.print(f"CPU {together:.0f}, of the limit {profile.limit_cpu:.0f}: busy processors allow {share:.2f} of the limit")
    report.console.print(_of_threads(profile))
    report.console.print(_of_redis("Redis by step (second pass)", profile.by_step))
    report.console.print(_of_redis("Redis by command, also those that steps call (first pass)", profile.commands))
    for name, threads in profile.threads.items():
        for thread in sorted(threads, key=lambda one: -one["micros"]):
            if thread["micros"] >= 1:
                report.console.print(_of_thread(name, thread))


def _of_processes(profile: Profile) -> Table:
    table = _table(f"wall {profile.wall:.0f}, limit {profile.limit:.0f}", "CPU", "sleeps")
    for name, micros in sorted(profile.cpu.items(), key=lambda pair: -pair[1]):
        table.add_row(name, f"{micros:.0f}", f"{profile.sleeps[name]:.1f}" if name in profile.sleeps else "")
    known = sum(profile.cpu.values())
    table.add_row("other processes, kernel", f"{profile.machine['busy'] - known:.0f}", "")
    for name in ("idle", "stolen"):
        table.add_row(f"processors {name}", f"{profile.machine[name]:.0f}", "")
    return table


def _of_threads(profile: Profile) -> Table:
    table = _table("by thread (second pass)", "CPU")
    for process, threads in profile.threads.items():
        for thread in sorted(threads, key=lambda one: -one["micros"]):
            table.add_row(f"{process}, {thread['name']}", f"{thread['micros']:.0f}")
    return table


def _of_redis(title: str, found: Mapping[str, tuple[float, float]]) -> Table:
    table = _table(title, "µs", "calls")
    rows = sorted(found.items(), key=lambda pair: -pair[1][1])
    for name, (calls, micros) in rows[:ROWS]:
        table.add_row(name, f"{micros:.1f}", f"{calls:.2f}")
    return table


def _of_thread(process: str, thread: Mapping[str, Any]) -> Table:
    table = _table(f"{process}, {thread['name']}: {thread['micros']:.0f} ({thread['looks']} looks)", "own", "with called")
    rows = sorted(thread["own"], key=lambda name: -thread["own"][name])[:ROWS]
    ours = [name for name in thread["with_called"] if name.startswith("rqflow.") and name not in rows]
    for name in [*rows, *sorted(ours, key=lambda one: -thread["with_called"][one])[:ROWS]]:
        table.add_row(name, f"{thread['own'].get(name, 0.0):.1f}", f"{thread['with_called'].get(name, 0.0):.1f}")
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("", overflow="fold", min_width=60)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table
