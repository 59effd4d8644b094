"""W1 chain, W2 fan, W3 layers, W7 growth: how much of the machine's limit is reached, beside stock RQ."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import mean

from benchmarks import baseline, processes, stock, system
from benchmarks.options import Options
from benchmarks.report import Budget, Figure, Report
from benchmarks.shapes import Shape, chain, fan, layers
from rqflow.dag.version import Version

#: Shares of the limit (architecture section 13), and seconds until SQL is complete.
CHAIN, WIDE = Budget(goal=0.6, floor=0.45, is_least=True), Budget(goal=0.75, floor=0.6, is_least=True)
SQL_LAG = Budget(goal=1.0)
#: The least seconds that the runs of one repetition take together: a short run alone tells more of the machine's moods than of us.
LEAST_SECONDS = 1.0
#: Widths of W7, and the widest one that stock RQ is asked for.
GROWTH, STOCK_WIDEST = (100, 1_000, 10_000), 1_000


@dataclass(kw_only=True, slots=True)
class Series:
    """What the repetitions of one shape on one system gave, in seconds."""

    limits: list[float] = field(default_factory=list)
    limit_cpu: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    sql_lags: list[float] = field(default_factory=list)
    archive_lags: list[float] = field(default_factory=list)
    #: CPU seconds of our processes, of the tasks', and the share of the processors that neither they nor idleness had.
    cpu: list[float] = field(default_factory=list)
    task_cpu: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """The share of the limit that each repetition reached."""
        return [limit / took for limit, took in zip(self.limits, self.took, strict=True)]

    def add_mean(self, runs: Series) -> None:
        """Add the runs of one repetition: their mean, of the lags the longest."""
        for name in ("limits", "limit_cpu", "took", "cpu", "task_cpu", "others"):
            getattr(self, name).append(mean(getattr(runs, name)))
        self.sql_lags.append(max(runs.sql_lags))
        self.archive_lags.append(max(runs.archive_lags))


def w1(options: Options, report: Report) -> None:
    """Chain of 50."""
    compare("W1", chain(options.count(50)), CHAIN, options, report)


def w2(options: Options, report: Report) -> None:
    """Fan 1-300-1."""
    compare("W2", fan(options.count(300)), WIDE, options, report)


def w3(options: Options, report: Report) -> None:
    """Ten layers of 30, each task on three of the layer before."""
    compare("W3", layers(options.count(30)), WIDE, options, report)


def w7(options: Options, report: Report) -> None:
    """Fans of 100, 1,000 and 10,000: the time per task must not grow."""
    widths = GROWTH if options.tasks is None else (options.tasks, 2 * options.tasks)
    for store in options.stores:
        per_task: list[list[float]] = []
        with system.running(store) as ours:
            for width in widths:
                shape = fan(width)
                series = measure(ours, shape, options, report)
                per_task.append([took / shape.tasks * 1e3 for took in series.took])
                report.add(figures("W7", shape, store, series, None))
        growth = [last / first for first, last in zip(per_task[0], per_task[-1], strict=True)]
        title = f"time per task, {widths[-1]:,} against {widths[0]:,}"
        report.add([Figure(workload="W7", system=store, name=title, unit="times", values=growth, note="1 = linear")])
    if options.with_stock:
        for width in (width for width in widths if width <= STOCK_WIDEST):
            report.add(stock_figures("W7", fan(width), options, report))


def compare(workload: str, shape: Shape, budget: Budget, options: Options, report: Report) -> None:
    """Measure a shape on each store, then with stock RQ."""
    for store in options.stores:
        with system.running(store) as ours:
            report.add(figures(workload, shape, store, measure(ours, shape, options, report), budget))
    if options.with_stock:
        report.add(stock_figures(workload, shape, options, report))


def measure(ours: system.System, shape: Shape, options: Options, report: Report) -> Series:
    """Run a shape again and again, each time between two looks at the limit, of which the mean counts: the machine's speed wanders."""
    series = Series()
    version = ours.register(shape)
    for number in range(options.reps):
        report.say(f"{shape.title} on {ours.store}, {number + 1} of {options.reps}")
        runs = Series()
        while not runs.took or (sum(runs.took) < LEAST_SECONDS and not options.is_trial):
            add_run(runs, ours, shape, version)
        series.add_mean(runs)
    return series


def add_run(series: Series, ours: system.System, shape: Shape, version: Version) -> None:
    """Run a shape once, between two looks at the limit, and add what it gave."""
    limit = baseline.measure(shape)
    before, machine, this = processes.usages(ours.pids), processes.machine(), time.process_time()
    measured = ours.measure(version)
    machine, this = processes.machine() - machine, time.process_time() - this
    used = {name: after - before[name] for name, after in processes.usages(ours.pids).items()}
    again = baseline.measure(shape)
    series.limits.append((limit.seconds + again.seconds) / 2)
    series.limit_cpu.append((limit.cpu + again.cpu) / 2)
    series.cpu.append(processes.total(used))
    series.task_cpu.append(used["shepherd"].children)
    known = series.cpu[-1] + series.task_cpu[-1] + this
    series.others.append(max(machine.busy + machine.stolen - known, 0.0) / (machine.busy + machine.stolen + machine.idle))
    series.took.append(measured.took)
    series.sql_lags.append(measured.sql_lag)
    series.archive_lags.append(measured.archive_lag)


def figures(workload: str, shape: Shape, store: str, series: Series, budget: Budget | None) -> Iterator[Figure]:
    """Give the figures of one shape on one store."""
    per_task = [took / shape.tasks * 1e3 for took in series.took]
    limit = [limit / shape.tasks * 1e3 for limit in series.limits]
    what = "a plain loop" if shape.is_chain else f"xargs -P{baseline.SLOTS}"
    title = f"{shape.title}: share of the limit"
    yield Figure(workload=workload, system=store, name=title, values=series.ratios, budget=budget, note=f"limit: {what}")
    yield Figure(workload=workload, system=store, name="time per task", unit="ms", values=per_task)
    yield Figure(workload=workload, system=what, name="time per task", unit="ms", values=limit)
    cpu, task_cpu, limit_cpu = ([seconds / shape.tasks * 1e3 for seconds in one] for one in (series.cpu, series.task_cpu, series.limit_cpu))
    yield Figure(workload=workload, system=store, name="CPU of rqflow, Redis and database a task", unit="ms", values=cpu)
    yield Figure(workload=workload, system=store, name="CPU of the task itself", unit="ms", values=task_cpu)
    yield Figure(workload=workload, system=what, name="CPU a task, with who starts it", unit="ms", values=limit_cpu)
    yield Figure(workload=workload, system="the machine", name="processors used by others", unit="%", values=[one * 100 for one in series.others],
                 note="much: measure again")
    yield Figure(workload=workload, system=store, name="SQL complete after the end", unit="s", values=series.sql_lags, budget=SQL_LAG)
    yield Figure(workload=workload, system=store, name="logs archived after the end", unit="s", values=series.archive_lags)


def stock_figures(workload: str, shape: Shape, options: Options, report: Report) -> Iterator[Figure]:
    """Give the figures of stock RQ for a shape. What came to the limit once is not tried again."""
    graph = graph_of(shape)
    for kind in stock.KINDS:
        limits: list[float] = []
        took: list[float] = []
        with stock.running(kind, options.stock_limit) as theirs:
            for number in range(options.reps):
                report.say(f"{shape.title} on {kind}, {number + 1} of {options.reps}")
                limit = baseline.measure(shape).seconds
                outcome = theirs.measure(graph)
                if outcome.seconds is None:
                    note = f"{outcome.finished} of {outcome.tasks} tasks had ended"
                    yield Figure(workload=workload, system=kind, name=shape.title, text=f"> {options.stock_limit:g} s (stalled)", note=note)
                    break
                limits.append(limit)
                took.append(outcome.seconds)
        if took:
            ratios = [limit / seconds for limit, seconds in zip(limits, took, strict=True)]
            yield Figure(workload=workload, system=kind, name=f"{shape.title}: share of the limit", values=ratios)
            yield Figure(workload=workload, system=kind, name="time per task", unit="ms", values=[one / shape.tasks * 1e3 for one in took])


def graph_of(shape: Shape) -> dict[str, Sequence[str]]:
    """Return {task: upstream tasks} of a shape, as rqflow itself reads its file, upstream tasks first."""
    version = system.load(shape)
    return {task.task_id: [version.tasks[index].task_id for index in task.upstream] for task in version.tasks}
