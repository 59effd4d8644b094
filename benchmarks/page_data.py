"""What the page's data cost on a full history: MariaDB with a million task instances, a real Redis with live runs.

`python -m benchmarks.page_data` fills a private MariaDB (a minute or two), asks for each sight as the page does, and prints medians and p95 in
milliseconds and as multiples of what `SELECT 1` takes on the same engine in the same run. Once more with nothing in memory: `cold`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import redis
from jinja2 import Environment

from rqflow import clock, runtime
from rqflow.actions import query, submit, trigger
from rqflow.actions.sights import search as searching
from rqflow.actions.sights import sequence
from rqflow.actions.sights.charts import resource_use, scatter, task_durations
from rqflow.actions.sights.dag_list import dag_list
from rqflow.actions.sights.graph_view import graph
from rqflow.actions.sights.grid import grid
from rqflow.actions.sights.home import home
from rqflow.actions.sights.outline import OUTLINES
from rqflow.actions.sights.run_view import run_page
from rqflow.actions.sights.search import search
from rqflow.actions.sights.timeline import timeline
from rqflow.broker import keys
from rqflow.broker.broker import Broker
from rqflow.dag.version import TaskSpec, Version
from rqflow.settings import Settings
from rqflow.store import schema
from rqflow.store.engine import Engine, open_engine, reading, transaction
from tests.epoch import open_epoch
from tests.integration.broker import playing
from tests.services import mariadb_server, redis_server

#: Milliseconds of server time that 95 of 100 answers may take.
BUDGET = 150.0
#: The DAG of many tasks, its live runs, and those of others.
WIDE, WIDE_LIVE, OTHERS_LIVE = "wide", 2, 20
SAMPLES, STEPS = 200, ("fetch", "trim", "align", "sort", "count")
SMALL_TASKS = 20
#: What a page does with a grid: a cell of HTML for each state.
GRID = Environment(autoescape=True).from_string("""<table>
{% for task in grid.tasks %}{% set at = loop.index0 %}<tr><th>{{ task.label }}</th>
{% for run in grid.runs %}<td><a class="st-{{ run.states[at] }}" href="/runs/{{ run.run_key }}/tasks/{{ task.task_id }}"></a></td>{% endfor %}</tr>
{% endfor %}</table>""")
#: The key of run number `s.seq` of a DAG, and its state, or that of one of its tasks.
KEY = "LEFT(SHA2(CONCAT(d.dag_id, CHAR(0), 'run_', s.seq), 256), 16)"
STATE = "CASE WHEN MOD({}, 17) = 0 THEN 'failed' ELSE 'success' END"


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much the history has."""

    dags: int
    runs: int
    wide_runs: int
    small_runs: int


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """What the sights are asked of."""

    broker: Broker
    engine: Engine
    #: Where the two are, for other processes.
    database_url: str
    redis_url: str
    wide_run: str
    live_run: str


def wide_version() -> Version:
    """Return a DAG of 1,000 tasks: 200 chains of 5, a task group each step."""
    tasks = []
    for step, name in enumerate(STEPS):
        for sample in range(SAMPLES):
            index = step * SAMPLES + sample
            tasks.append(a_task(index, f"{name}.s{sample:03d}", group_id=name, upstream=(index - SAMPLES,) if step else (),
                               downstream=(index + SAMPLES,) if step < len(STEPS) - 1 else ()))
    return Version(dag_id=WIDE, file="wide.py", generation="native", tasks=tuple(tasks), groups={name: {} for name in STEPS}, tags=("bio",),
                   schedule="0 2 * * *", owner="ann")


def small_version(number: int) -> Version:
    """Return a DAG of a chain."""
    tasks = tuple(a_task(index, f"t{index:02d}", upstream=(index - 1,) if index else (), downstream=(index + 1,) if index < SMALL_TASKS - 1 else ())
                  for index in range(SMALL_TASKS))
    return Version(dag_id=f"dag_{number:04d}", file=f"f{number}.py", generation="native", tasks=tasks, tags=(f"tag{number % 7}",),
                   owner=f"o{number % 5}", schedule="@daily", description="One of many.")


def a_task(index: int, task_id: str, **changes: object) -> TaskSpec:
    """Return a task that runs `true`."""
    return TaskSpec(index=index, task_id=task_id, operator="bash", operator_name="BashOperator", fields={"bash_command": "true"}, **changes)  # type: ignore[arg-type]


def fill(engine: Engine, broker: Broker, size: Size) -> None:
    """Write the history: each DAG with its runs, of the newest of them the tasks and their tries."""
    versions = [wide_version(), *(small_version(number) for number in range(size.dags - 1))]
    for at in range(0, len(versions), 100):
        submit.register(broker, engine, versions[at:at + 100])
    now = f"TIMESTAMP('{datetime.now(UTC):%Y-%m-%d %H:%M:%S}')"
    with transaction(engine) as connection:
        do = connection.exec_driver_sql
        do("SET unique_checks = 0, foreign_key_checks = 0")
        do("CREATE TABLE bench_task (dag_id VARCHAR(250), task_index INT, task_id VARCHAR(250), PRIMARY KEY (dag_id, task_index)) "
           "CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin")
        do("INSERT INTO bench_task VALUES (%s, %s, %s)",
           [(version.dag_id, task.index, task.task_id) for version in versions for task in version.tasks])
        made = f"{now} - INTERVAL s.seq HOUR"
        do(f"""INSERT INTO dag_run (run_key, dag_id, run_id, run_type, version, logical_date, tick, data_interval_start, data_interval_end, conf,
                 params, priority, note, ignores_past, state, seq, created_at, started_at, ended_at)
               SELECT {KEY}, d.dag_id, CONCAT('run_', s.seq), 'scheduled', d.version, {made}, {made}, {made}, {made}, '{{}}', '{{}}', 0, '', 0,
                 {STATE.format('s.seq')}, 1000 + s.seq, {made}, {made}, {made} + INTERVAL 30 + MOD(s.seq, 17) MINUTE
               FROM dag d, seq_1_to_{size.runs} s""")
    for condition, runs in ((f"d.dag_id = '{WIDE}'", size.wide_runs), (f"d.dag_id <> '{WIDE}'", size.small_runs)):
        _fill_tasks(engine, f"FROM seq_1_to_{runs} s, dag d, bench_task t WHERE {condition} AND t.dag_id = d.dag_id", now)
    with transaction(engine) as connection:
        connection.exec_driver_sql("ANALYZE TABLE dag_run, task_instance, task_try, dag")


def _fill_tasks(engine: Engine, joined: str, now: str) -> None:
    """Write task instances and tries of the tasks `t` of runs `s` of DAGs `d`."""
    place, start = "s.seq + t.task_index", f"{now} - INTERVAL s.seq HOUR + INTERVAL t.task_index SECOND"
    shared = f"{KEY}, t.task_id, 1 + (MOD({place}, 23) = 22), {STATE.format(f'({place})')}, 1000 + s.seq, '', 'e', 'default', 'w1'"
    columns = "run_key, task_id, try_number, state, seq, reason, execution_id, queue, worker"
    with transaction(engine) as connection:
        do = connection.exec_driver_sql
        do("SET unique_checks = 0, foreign_key_checks = 0")
        do(f"""INSERT INTO task_instance ({columns}, task_index, max_tries, pool, started_at, ended_at, updated_at)
               SELECT {shared}, t.task_index, 2, 'default_pool', {start}, {start} + INTERVAL 20 SECOND, {start} {joined}""")
        do(f"""INSERT INTO task_try ({columns}, host, exit_code, cpu_seconds, max_rss_bytes, log_bytes, started_at, ended_at)
               SELECT {shared}, 'h1', 0, 1.5 + MOD(s.seq, 7), 1000000 * (50 + MOD(s.seq, 11)), 1000, {start},
                 {start} + INTERVAL 20 + MOD(s.seq, 13) SECOND {joined}""")


def start_live(engine: Engine, broker: Broker) -> str:
    """Start runs that go on: of the wide DAG half of the tasks have ended, and some run."""
    keys_made: list[str] = []
    for version in [wide_version()] * WIDE_LIVE + [small_version(number) for number in range(OTHERS_LIVE)]:
        run = trigger.by_hand(version, trigger.Given(logical_date=clock.utcnow() + timedelta(seconds=len(keys_made)), run_id=None), clock.utcnow())
        trigger.start(broker, engine, run, version, by="ann")
        keys_made.append(run.key)
    for _ in range(6):
        playing.tell(broker, *(playing.end(claim) for claim in playing.claim(broker, wanted=200)))
    playing.claim(broker, wanted=50)
    return keys_made[0]


def sights(world: World) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name."""
    broker, engine = world.broker, world.engine

    def shown_grid() -> object:
        found = grid(broker, engine, WIDE)
        assert len(found.runs) == 25
        return GRID.render(grid=found)

    def line(run_key: str) -> object:
        run = query.show(broker, engine, run_key)
        return timeline(run, query.version_of(broker, engine, run), clock.utcnow())

    wide = wide_version()
    return {
        "grid 1,000 x 25": lambda: grid(broker, engine, WIDE),
        "grid 1,000 x 25, rendered": shown_grid,
        "DAG list, 50 rows": lambda: dag_list(broker, engine),
        "DAG list, 200 rows": lambda: dag_list(broker, engine, limit=200),
        "run of 1,000, ended": lambda: run_page(broker, engine, world.wide_run),
        "run of 1,000, live": lambda: run_page(broker, engine, world.live_run),
        "timeline of 1,000, ended": lambda: line(world.wide_run),
        "timeline of 1,000, live": lambda: line(world.live_run),
        "home": lambda: home(broker, engine),
        "graph of 1,000": lambda: graph(wide),
        "run scatter": lambda: scatter(broker, engine, WIDE),
        "task durations": lambda: task_durations(broker, engine, WIDE),
        "resource use": lambda: resource_use(broker, engine, WIDE),
        "search": lambda: search(broker, engine, "align s01"),
    }


def forget_all() -> None:
    """Be a process that has shown nothing yet."""
    sequence.SEQUENCES.clear()
    OUTLINES.clear()
    searching.TASK_NAMES.clear()


def timed(call: Callable[[], object], times: int, before: Callable[[], object] = lambda: None) -> list[float]:
    """Return the milliseconds that each of so many calls took."""
    found = []
    for _ in range(times):
        before()
        began = time.perf_counter()
        call()
        found.append((time.perf_counter() - began) * 1000)
    return found


def p95(found: Sequence[float]) -> float:
    """Return what 95 of 100 do not exceed."""
    return sorted(found)[max(int(len(found) * 0.95 + 0.5) - 1, 0)]


def measure(world: World, times: int, only: str) -> list[dict[str, object]]:
    """Measure all, print, and return it."""
    def one() -> None:
        with reading(world.engine) as connection:
            connection.exec_driver_sql("SELECT 1").scalar()

    timed(one, 20)
    unit = statistics.median(timed(one, 200))
    print(f"SELECT 1: {unit:.3f} ms", flush=True)
    rows: list[dict[str, object]] = []
    for name, call in sights(world).items():
        if only not in name:
            continue
        call()
        for how, found in (("warm", timed(call, times)), ("cold", timed(call, max(times // 4, 5), forget_all))):
            median, most = statistics.median(found), p95(found)
            rows.append({"sight": name, "how": how, "median_ms": median, "p95_ms": most, "times_select_1": median / unit})
            print(f"{name:<32} {how}  median {median:7.1f} ms   p95 {most:7.1f} ms   {median / unit:7.0f} x SELECT 1   "
                  f"{'met' if most < BUDGET else 'NOT MET'}", flush=True)
    return rows


@contextmanager
def opened(size: Size, keep: Path | None) -> Iterator[World]:
    """Give a full world; with `keep` on services whose folder is kept, for trying things out."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "db").mkdir()
        (place / "redis").mkdir()
        with mariadb_server(place / "db", "--innodb-buffer-pool-size=128M") as url, redis_server(place / "redis") as redis_url:
            engine = open_engine(url)
            schema.upgrade(engine)
            with redis.Redis.from_url(redis_url) as connection:
                open_epoch(connection)
                broker = Broker(connection, Settings(home=place), caller="w1")
                began = time.perf_counter()
                fill(engine, broker, size)
                live_run = start_live(engine, broker)
                connection.delete(keys.BELL + "default")
                with reading(engine) as sql:
                    counts = {name: sql.exec_driver_sql(f"SELECT COUNT(*) FROM {name}").scalar()
                              for name in ("dag", "dag_run", "task_instance", "task_try")}
                    wide_run = str(sql.exec_driver_sql(f"SELECT run_key FROM dag_run WHERE dag_id = '{WIDE}' AND run_id = 'run_1'").scalar())
                print(f"filled in {time.perf_counter() - began:.0f} s: {counts}", flush=True)
                if keep:
                    keep.write_text(json.dumps({"url": url, "redis": redis_url, "wide_run": wide_run, "live_run": live_run}))
                    while keep.exists():
                        time.sleep(1)
                yield World(broker=broker, engine=engine, database_url=url, redis_url=redis_url, wide_run=wide_run, live_run=live_run)
            engine.dispose()


@contextmanager
def attached(kept: Path) -> Iterator[World]:
    """Give the world that another process of this program keeps."""
    said = json.loads(kept.read_text())
    with redis.Redis.from_url(said["redis"]) as connection:
        broker = Broker(connection, Settings(home=kept.parent), caller="w2")
        engine = open_engine(said["url"])
        yield World(broker=broker, engine=engine, database_url=said["url"], redis_url=said["redis"], wide_run=said["wide_run"],
                    live_run=said["live_run"])
        engine.dispose()


def parser(program: str, about: str) -> argparse.ArgumentParser:
    """Return what reads the command line of this and of other programs that measure on the same world."""
    made = argparse.ArgumentParser(prog=program, description=about)
    made.add_argument("--dags", type=int, default=200, metavar="N", help="DAGs (200)")
    made.add_argument("--runs", type=int, default=1000, metavar="N", help="runs of each DAG (1000)")
    made.add_argument("--times", type=int, default=60, metavar="N", help="how often each is asked for (60)")
    made.add_argument("--small", action="store_true", help="a small history, to try the program out")
    made.add_argument("--only", default="", metavar="TEXT", help="only what has this in its name")
    made.add_argument("--attach", type=Path, metavar="FILE", help="measure on what another `page_data --keep` keeps")
    return made


@contextmanager
def world_of(asked: argparse.Namespace, keep: Path | None = None) -> Iterator[World]:
    """Give the world that the command line asks for."""
    size = (Size(dags=asked.dags, runs=30, wide_runs=30, small_runs=3) if asked.small
            else Size(dags=asked.dags, runs=asked.runs, wide_runs=min(asked.runs, 400), small_runs=max(600_000 // SMALL_TASKS // asked.dags, 1)))
    with attached(asked.attach) if asked.attach else opened(size, keep) as world:
        yield world


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill, measure, print."""
    runtime.collect_rarely()
    made = parser("python -m benchmarks.page_data", __doc__ or "")
    made.add_argument("--keep", type=Path, metavar="FILE", help="fill only; write into this file where the services are, and stay while it is there")
    asked = made.parse_args(arguments)
    with world_of(asked, asked.keep) as world:
        if not asked.keep:
            measure(world, asked.times, asked.only)


if __name__ == "__main__":
    main()
