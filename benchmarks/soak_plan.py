"""What a soak does, and when: DAGs, runs and faults, all of it decided by a seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: What a task does: ends with 0; with 5 in its first try; with 99, which skips it; with 4, for good; with 0 whatever became of those before it.
OK, FLAKY, SKIP, BROKEN, DONE = "ok", "flaky", "skip", "broken", "done"
#: The queues: of all our workers; of those behind tunnels, with a grace; of the stock worker, with a grace, because nobody adopts its tasks.
DEFAULT, FENCED, STOCK = "default", "fenced", "stock"
#: Graces of the queues as settings, in seconds: a task of DEFAULT is lost only with the shepherd that watched it.
GRACES = {FENCED: 4.0, STOCK: 3.0}
#: How often each is chosen; and where there is no stock worker.
QUEUES: Mapping[str, int] = {DEFAULT: 14, FENCED: 4, STOCK: 1}
FAR_QUEUES: Mapping[str, int] = {DEFAULT: 14, FENCED: 4}
#: Enough that no task fails because its tries were lost.
RETRIES = 50

WORKER, SHEPHERD, SCHEDULER, RECORDER, STOCK_WORKER = "worker", "shepherd", "scheduler", "recorder", "stock worker"
RESTART, ROLL_BACK, WIPE = "Redis restart", "Redis roll-back", "Redis wipe"
CUT, RESET, BLACK_HOLE = "proxy cut", "proxy reset", "proxy black hole"
DATABASE = "database stop"
#: Kinds of faults, and for how many seconds each may last at most: until what was killed is started again, until the tunnel is healed.
FAULTS: Mapping[str, float] = {
    WORKER: 1.5, SHEPHERD: 0.0, SCHEDULER: 2.0, RECORDER: 2.0, STOCK_WORKER: 1.5, RESTART: 2.0, ROLL_BACK: 1.0, WIPE: 0.0, CUT: 0.0,
    RESET: 4.0, BLACK_HOLE: 6.0, DATABASE: 4.0}
HOLE, RESETS, LOSS, CABLE = "black hole", "link resets all", "one packet in five lost", "cable pulled"
SSHD, KEEPER, HUB_REBOOT, WORKER_REBOOT = "sshd", "tunnel", "hub rebooted", "worker rebooted"
#: The same of machines with ssh between them.
FAR_FAULTS: Mapping[str, float] = {
    HOLE: 6.0, RESETS: 4.0, LOSS: 6.0, CABLE: 4.0, SSHD: 3.0, KEEPER: 1.5, WORKER: 1.5, HUB_REBOOT: 4.0, WORKER_REBOOT: 3.0}
#: After these a try may be lost without any grace: what watched it is gone.
ENDS_TASKS = frozenset({SHEPHERD, WORKER_REBOOT})
#: Seconds between two runs on average.
RUN_EVERY = 1.6
_STARTS_AT = 0.5

_FILE = '''"""One DAG of a soak; every task leaves its evidence."""
from datetime import datetime, timedelta
from rqflow import DAG, BashOperator

def task(name, kind, seconds, lines, queue, retries, rule):
    return BashOperator(
        task_id=name, bash_command=f"exec {program} {{kind}} {{seconds}} {{lines}}", queue=queue, retries=retries,
        retry_delay=timedelta(seconds=0.2), trigger_rule=rule)

with DAG({dag_id!r}, start_date=datetime(2026, 1, 1), schedule=None, max_active_runs=1000):
'''


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedTask:
    """One task; `lines` is how many lines it logs, `upstream` names those before it."""

    task_id: str
    kind: str
    seconds: float
    lines: int
    queue: str
    upstream: Sequence[str]

    @property
    def retries(self) -> int:
        """How often it may be tried again."""
        return 0 if self.kind == BROKEN else RETRIES


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedDag:
    """One DAG, its tasks in topological order."""

    dag_id: str
    tasks: Sequence[PlannedTask]

    def source(self, program: str) -> str:
        """Return its DAG file; `program` is the command of a task, without its arguments."""
        lines = [_FILE.format(program=program, dag_id=self.dag_id)]
        for one in self.tasks:
            rule = "all_done" if one.kind == DONE else "all_success"
            given = (one.task_id, one.kind, one.seconds, one.lines, one.queue, one.retries, rule)
            lines.append(f"    {one.task_id} = task({', '.join(map(repr, given))})\n")
            lines += [f"    {before} >> {one.task_id}\n" for before in one.upstream]
        return "".join(lines)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """A run of a DAG, started `at` so many seconds after the beginning."""

    at: float
    dag: int
    run_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One fault: its kind, when, for how many seconds, and a number from 0 to 1 that chooses among those whom it may hit."""

    number: int
    at: float
    kind: str
    lasts: float
    choice: float

    def hits(self, candidates: Sequence[str]) -> str:
        """Return whom of these it hits."""
        return candidates[int(self.choice * len(candidates))]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Everything that a seed decides."""

    seed: int
    dags: Sequence[PlannedDag]
    runs: Sequence[PlannedRun]
    faults: Sequence[Fault]

    @property
    def lasts(self) -> float:
        """Seconds until the last fault is over and the last run started."""
        return max([0.0, *(run.at for run in self.runs), *(fault.at + fault.lasts for fault in self.faults)])


def make(seed: int, *, faults: int, seconds: float, kinds: Sequence[str] = tuple(FAULTS), dags: int = 8,
         queues: Mapping[str, int] | None = None) -> Plan:
    """Return the plan of a seed: `faults` in `seconds`, every kind as often as any other, over as many runs as are done meanwhile.

    `queues` says how often each queue is chosen (all three).
    """
    dice = random.Random(seed)
    made = [_dag(dice, f"soak_{number}", queues or QUEUES) for number in range(dags)]
    order: list[str] = []
    while len(order) < faults:
        order += dice.sample(list(kinds), len(kinds))
    every, at, planned = seconds / max(faults, 1), _STARTS_AT, []
    for number, kind in enumerate(order[:faults]):
        at += every * dice.uniform(0.3, 1.7)
        planned.append(Fault(number=number, at=at, kind=kind, lasts={**FAR_FAULTS, **FAULTS}[kind] * dice.uniform(0.1, 1.0), choice=dice.random()))
    started, at = list[PlannedRun](), 0.0
    while at < seconds:
        started.append(PlannedRun(at=at, dag=dice.randrange(dags), run_id=f"r{len(started)}"))
        at += RUN_EVERY * dice.uniform(0.2, 1.8)
    return Plan(seed=seed, dags=made, runs=started, faults=planned)


def part(plan: Plan, first: int, last: int) -> Plan:
    """Return the faults from `first` to before `last` of a plan, and its load of that time, from its beginning on."""
    faults = plan.faults[first:last]
    since, until = faults[0].at - _STARTS_AT, faults[-1].at
    moved = [Fault(number=one.number, at=one.at - since, kind=one.kind, lasts=one.lasts, choice=one.choice) for one in faults]
    runs = [PlannedRun(at=one.at - since, dag=one.dag, run_id=one.run_id) for one in plan.runs if since <= one.at <= until]
    return Plan(seed=plan.seed, dags=plan.dags, runs=runs, faults=moved)


def _dag(dice: random.Random, dag_id: str, queues: Mapping[str, int]) -> PlannedDag:
    """Return a DAG of some tasks, each after up to three of those before it. One end of its own kind at most: what follows is certain then."""
    odd = dice.choice([OK, OK, SKIP, BROKEN])
    count = dice.randrange(4, 12)
    odd_one, tasks = dice.randrange(count), list[PlannedTask]()
    for number in range(count):
        names = [one.task_id for one in tasks]
        upstream = sorted(dice.sample(names, dice.randrange(min(len(names), 3) + 1)))
        kind = odd if number == odd_one else dice.choices([OK, FLAKY, DONE], [6, 1, 1])[0]
        tasks.append(PlannedTask(
            task_id=f"t{number}", kind=kind, seconds=round(dice.choice([0.05, 0.2, 0.7, 2.0]) * dice.uniform(0.5, 1.5), 3),
            lines=dice.choice([0, 1, 10, 200, 5000]), queue=dice.choices(list(queues), list(queues.values()))[0], upstream=upstream))
    return PlannedDag(dag_id=dag_id, tasks=tasks)


def expected(dag: PlannedDag) -> dict[str, set[str]]:
    """Return the states in which each task may end, by id; a try that was lost with no retry left counts as one that failed."""
    own = {OK: {"success"}, FLAKY: {"success"}, DONE: {"success"}, SKIP: {"skipped"}, BROKEN: {"failed", "lost"}}
    found: dict[str, set[str]] = {}
    for one in dag.tasks:
        before = [found[name] for name in one.upstream]
        if one.kind != DONE and any(states & {"failed", "upstream_failed"} for states in before):
            found[one.task_id] = {"upstream_failed"}
        elif one.kind != DONE and any("skipped" in states for states in before):
            found[one.task_id] = {"skipped"}
        else:
            found[one.task_id] = own[one.kind]
    return found


def expected_run(dag: PlannedDag) -> str:
    """Return the state in which a run of this DAG ends: failed when one of its last tasks failed or could not run."""
    states = expected(dag)
    inner = {name for one in dag.tasks for name in one.upstream}
    ends = [states[one.task_id] for one in dag.tasks if one.task_id not in inner]
    return "failed" if any(found & {"failed", "upstream_failed"} for found in ends) else "success"
