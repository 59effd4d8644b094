"""What pages take: the real web server on MariaDB with a million task instances and a Redis with live runs, asked as browsers ask.

`python -m benchmarks.page` starts all of it, asks for each page and each live piece of one, and prints p95, median, bytes on the way, CPU time of
the server, and the median as a multiple of an empty page and a `SELECT 1` together, measured in the same round. It writes a file of results.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import page_data
from benchmarks.browsing import Browser, Served, served
from benchmarks.page_data import BUDGET, World, a_task, p95
from benchmarks.processes import pss, usage
from benchmarks.report import RESULTS, Budget, Figure, Report, surroundings
from rqflow import clock, runtime
from rqflow.actions import logs, query, submit, trigger
from rqflow.dag.version import Version
from rqflow.store.engine import reading
from tests.integration.broker import playing

#: Tasks of the largest run; milliseconds that its page may take.
MOST_TASKS, MOST_BUDGET = 10_000, 1000.0
#: MiB, and percent of one core, of a server that nobody asks.
IDLE_MEMORY, IDLE_CPU = Budget(goal=120), Budget(goal=1)
IDLE_SECONDS = 20.0
#: The task whose log is read, and how many lines that has.
LOGGED, LINES = f"{page_data.STEPS[0]}.s000", 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A page that is measured."""

    name: str
    path: str
    #: Whether it is got again, as a piece, when something has changed.
    is_live: bool = True
    budget: float = BUDGET


def fan_of(tasks: int) -> Version:
    """Return a DAG of so many tasks that need nothing of each other."""
    return Version(dag_id="enormous", file="enormous.py", generation="native", tasks=tuple(a_task(n, f"sample_{n:05d}") for n in range(tasks)))


def start_enormous(world: World, tasks: int) -> str:
    """Start the largest run, of which half of the tasks end and some go on; return its key."""
    version = fan_of(tasks)
    submit.register(world.broker, world.engine, [version])
    run = trigger.by_hand(version, trigger.Given(run_id=f"big_{time.time_ns()}", logical_date=clock.utcnow()), clock.utcnow())
    trigger.start(world.broker, world.engine, run, version, by="bench")
    for _ in range(max(tasks // 400, 1)):
        playing.tell(world.broker, *(playing.end(claim) for claim in playing.claim(world.broker, wanted=200)))
    playing.claim(world.broker, wanted=50)
    return run.key


def write_log(world: World, where: Served, lines: int) -> str:
    """Write a log as the archive has it; return the address of its page."""
    run = query.show(world.broker, world.engine, world.wide_run)
    number = logs.task_of(run, LOGGED).try_number
    file = where.logs / logs.path(run, LOGGED, number)
    file.parent.mkdir(parents=True)
    with file.open("w", encoding="ascii") as stream:
        stream.writelines(f"[INFO] chr{n % 22} \x1b[32mread pair {n} of {lines}\x1b[0m mapped\n" for n in range(lines))
    file.chmod(0o440)
    return f"/runs/{world.wide_run}/logs/{LOGGED}/{number}"


def pages(world: World, largest: str, log: str, tasks: int, lines: int) -> list[Asked]:
    """Return what is asked for."""
    return [
        Asked(name="home", path="/"),
        Asked(name="DAG list", path="/dags"),
        Asked(name="grid 1,000 x 25, groups closed", path=f"/dags/{page_data.WIDE}"),
        Asked(name="grid 1,000 x 25, all open", path=f"/dags/{page_data.WIDE}?fold=none"),
        Asked(name="run of 1,000, ended", path=f"/runs/{world.wide_run}"),
        Asked(name="run of 1,000, live", path=f"/runs/{world.live_run}"),
        Asked(name=f"run of {tasks:,}, live", path=f"/runs/{largest}", budget=MOST_BUDGET),
        Asked(name="log, its end", path=log, is_live=False),
        Asked(name="log, a block in the middle", path=f"{log}?format=block&line={lines // 2}", is_live=False),
    ]


def select_1(world: World, times: int) -> float:
    """Return the median of milliseconds that a SELECT 1 takes."""
    def one() -> None:
        with reading(world.engine) as connection:
            connection.exec_driver_sql("SELECT 1").scalar()

    return statistics.median(page_data.timed(one, times))


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """What one round found of a page, in milliseconds; `ratio` is to the least that a page of this server takes there."""

    median: float
    p95: float
    cpu: float
    size: int
    ratio: float


def measured(where: Served, one: Asked, times: int, unit: float, *, piece: bool) -> Round:
    """Ask for a page `times` times."""
    browser = Browser(where)
    browser.get(one.path, piece=piece)
    before = usage(where.pid).own
    found = [browser.get(one.path, piece=piece) for _ in range(times)]
    cpu = (usage(where.pid).own - before) * 1000 / times
    browser.close()
    took = [answer.milliseconds for answer in found]
    median = statistics.median(took)
    return Round(median=median, p95=p95(took), cpu=cpu, size=found[-1].size, ratio=median / unit)


def least(world: World, where: Served, times: int) -> float:
    """Return the milliseconds that a page without data and a SELECT 1 take together: medians, at this moment."""
    stranger = Browser(where, logged_in=False)
    empty = statistics.median([stranger.get("/login").milliseconds for _ in range(times)])
    stranger.close()
    return empty + select_1(world, times)


def figures(asked: Asked, kind: str, rounds: Sequence[Round]) -> list[Figure]:
    """Return what the rounds found; nothing where there were none."""
    if not rounds:
        return []
    name = f"{asked.name}, {kind}"
    size = rounds[-1].size
    return [
        Figure(workload="page", name=f"{name}: p95", unit="ms", values=[one.p95 for one in rounds], budget=Budget(goal=asked.budget),
               note=f"{size / 1000:,.1f} kB; CPU {statistics.median([one.cpu for one in rounds]):.1f} ms"),
        Figure(workload="page", name=f"{name}: median", unit="ms", values=[one.median for one in rounds]),
        Figure(workload="page", name=f"{name}: ratio", unit="x", values=[one.ratio for one in rounds], note="to SELECT 1 + an empty page"),
    ]


def idle(where: Served, seconds: float) -> list[Figure]:
    """Return what a server takes that nobody asks."""
    before, began = usage(where.pid), time.monotonic()
    time.sleep(seconds)
    spent, watched = usage(where.pid) - before, time.monotonic() - began
    return [Figure(workload="page", name="memory of the idle server", unit="MiB Pss", values=[pss(where.pid)], budget=IDLE_MEMORY),
            Figure(workload="page", name="CPU of the idle server", unit="% of a core", values=[spent.own / watched * 100], budget=IDLE_CPU,
                   note=f"wakes up {spent.sleeps / watched:.1f} times a second")]


def first_asked(world: World, asked: Sequence[Asked]) -> list[Figure]:
    """Return what each page takes that is the first of its kind which a new server is asked for, after an empty one."""
    with served(world) as where:
        browser = Browser(where)
        Browser(where, logged_in=False).get("/login")
        took = {one.name: browser.get(one.path).milliseconds for one in asked if one.is_live}
        browser.close()
    return [Figure(workload="page", name=f"{name}: first after the start", unit="ms", values=[milliseconds]) for name, milliseconds in took.items()]


def measure(world: World, report: Report, *, rounds: int, times: int, only: str, tasks: int, lines: int, seconds: float) -> None:
    """Measure all of it."""
    largest = start_enormous(world, tasks)
    with served(world) as where:
        Browser(where).get("/healthz")
        report.add(idle(where, seconds))
        asked = [one for one in pages(world, largest, write_log(world, where, lines), tasks, lines) if only in one.name]
        found: dict[tuple[str, str], list[Round]] = {}
        for _ in range(rounds):
            for one in asked:
                unit = least(world, where, times)
                for kind in ("page", "piece") if one.is_live else ("page",):
                    found.setdefault((one.name, kind), []).append(measured(where, one, times, unit, piece=kind == "piece"))
        report.add(figure for one in asked for kind in ("page", "piece") for figure in figures(one, kind, found.get((one.name, kind), [])))
        report.add([Figure(workload="page", name="memory of the server afterwards", unit="MiB Pss", values=[pss(where.pid)])])
    report.add(first_asked(world, asked))


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill, measure, print, write the file."""
    runtime.collect_rarely()
    made = page_data.parser("python -m benchmarks.page", __doc__ or "")
    made.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds, of which the median counts (5)")
    made.add_argument("--output", type=Path, metavar="FILE", help="where the JSON goes; benchmarks/results/DATE-COMMIT-page.json when not given")
    asked = made.parse_args(arguments)
    report = Report(options={"rounds": asked.rounds, "times": asked.times, "small": asked.small, "dags": asked.dags, "runs": asked.runs})
    with page_data.world_of(asked) as world:
        measure(world, report, rounds=asked.rounds, times=asked.times, only=asked.only, tasks=400 if asked.small else MOST_TASKS,
                lines=10_000 if asked.small else LINES, seconds=2 if asked.small else IDLE_SECONDS)
    report.sum_up()
    report.say(f"written to {report.write(asked.output or named('page'))}")


def named(kind: str) -> Path:
    """Return the file of results of this moment and commit."""
    about = surroundings()
    return RESULTS / f"{about['date'][:10]}-{about['commit'][:9]}-{kind}.json"


if __name__ == "__main__":
    main()
