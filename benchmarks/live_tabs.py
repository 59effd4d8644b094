"""What many open tabs take: one web server, a hundred tabs that listen and get their pieces of pages anew, while 50 tasks a second change.

`python -m benchmarks.live_tabs` prints the server's memory and CPU, how many pieces were got, and how long it took from a change until a tab had it.
Each tab does what static/live.js does: /events tells it of changes, and it gets its piece anew, one at a time, with the newest that it was told.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import statistics
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import redis

from benchmarks import page_data
from benchmarks.browsing import Served, logged_in, served
from benchmarks.page import fan_of, named
from benchmarks.page_data import World, p95, wide_version
from benchmarks.processes import pss, rss, usage
from benchmarks.report import Budget, Figure, Report
from rqflow import clock, runtime
from rqflow.actions import submit, trigger
from rqflow.broker.broker import Broker
from rqflow.broker.events import EventStream, Seen
from rqflow.broker.messages import Claim
from rqflow.dag.version import Version
from rqflow.recorder.recorder import Recorder
from rqflow.security.roles import Role
from tests.integration.broker import playing

TABS, RATE, STEP, QUEUE = 100, 50, 0.1, f"tabs{time.time_ns()}"
#: MiB and percent of one core of the server.
MEMORY, CPU = Budget(goal=150), Budget(goal=10)
#: People who have the tabs, and what they may.
PEOPLE = [*[Role.ADMIN] * 4, *[Role.OPERATOR] * 10, *[Role.VIEWER] * 6]
#: Tasks of the run that all tabs look at, when they look at the same.
TASKS_OF_ONE = 5_000
_UPTO = re.compile(r'data-upto="([^"]*)"')


def order(event_id: str) -> tuple[int, int]:
    """Return an id of the stream of events as what can be compared."""
    first, _, second = event_id.partition("-")
    return int(first or 0), int(second or 0)


class Load:
    """Lets tasks begin and end at a steady rate, as a worker does, and has that recorded; notes what changed when. Two threads."""

    def __init__(self, world: World, connection: redis.Redis, version: Version, *, runs: int, rate: int) -> None:
        """Start `runs` runs of `version`; when they have ended, another one."""
        self._world, self._version, self._rate = world, version, rate
        self._broker: Broker = world.broker
        self._events = EventStream(connection)
        self._recorder = Recorder(EventStream(world.broker.connection), world.engine, "bench")
        self._held: deque[Claim] = deque()
        self._started: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, name="tasks"), threading.Thread(target=self._watch, name="events")]
        submit.register(world.broker, world.engine, [version])
        self.run_keys = [self._begin() for _ in range(runs)]
        self.ended = 0
        #: What the stream told, with its newest id.
        self.changes: list[tuple[tuple[int, int], Seen]] = []

    def __enter__(self) -> Load:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        # What is measured next should not see them.
        playing.tell(self._broker, *(playing.end(claim, duration=1.0) for claim in self._held))
        for key in self._started:
            self._broker.cancel_run(key, "bench")
        while self._recorder.step(block_ms=0):
            pass

    def _begin(self) -> str:
        run = trigger.by_hand(self._version, trigger.Given(run_id=f"tabs_{time.time_ns()}", logical_date=clock.utcnow()), clock.utcnow())
        trigger.start(self._broker, self._world.engine, run, self._version, by="bench")
        self._started.append(run.key)
        return run.key

    def _work(self) -> None:
        held = self._held
        each, due = max(round(self._rate * STEP), 1), time.monotonic()
        recorded = due
        while not self._stop.is_set():
            ends = [playing.end(held.popleft(), duration=1.0) for _ in range(min(each, len(held)))]
            answer = self._broker.turn(queues=[QUEUE], wanted=each, ends=ends)
            self._broker.advance_all(answer.unfinished)
            held += answer.claims
            self.ended += len(ends)
            if not answer.claims:
                self._begin()
            if time.monotonic() - recorded > 1:
                recorded = time.monotonic()
                self._recorder.step(block_ms=0)
            due += STEP
            self._stop.wait(max(due - time.monotonic(), 0))

    def _watch(self) -> None:
        since = self._events.newest()
        while not self._stop.is_set():
            seen = self._events.follow(since, block_ms=500)
            since = seen.upto or since
            if seen.runs:
                self.changes.append((order(seen.upto), seen))


@dataclass(eq=False)
class Tab:
    """A tab: what it shows, and what it saw."""

    path: str
    #: What its stream is asked for, and the topic that its piece is of.
    query: str
    topic: str
    cookie: str
    #: What htmx says that it wants, one a piece; the first one tells up to which event it is true.
    targets: tuple[str, ...] = ("",)
    #: Up to which event it shows things, and up to which it was told.
    shown: tuple[int, int] = (0, 0)
    told: str = ""
    #: Seconds from a change that it should show until it does, and milliseconds that the pieces took.
    late: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    size: int = 0
    wakes: asyncio.Event = field(default_factory=asyncio.Event)

    def concerns(self, seen: Seen) -> bool:
        """Tell whether a change is one that it shows."""
        kind, _, name = self.topic.partition(":")
        return kind == "all" or name in (seen.runs if kind == "run" else seen.runs.values())


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return status and body of the next answer of a connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return int(head[0].split()[1]), gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body


class Browsers:
    """All tabs, in the loop of this process."""

    def __init__(self, where: Served, load: Load, tabs: Sequence[Tab]) -> None:
        """Open nothing yet."""
        parts = urlsplit(where.url)
        self._host, self._port = parts.hostname, parts.port
        self._load, self.tabs = load, tabs
        self.refused = 0

    async def open_for(self, seconds: float, *, settle: float, at: list[float]) -> None:
        """Let all tabs be open for `settle` seconds, then for `seconds` more; both moments are noted in `at`."""
        doing = [asyncio.create_task(one) for tab in self.tabs for one in (self._listen(tab), self._show(tab))]
        for pause in (settle, seconds):
            await asyncio.sleep(pause)
            at.append(time.time())
        for one in doing:
            one.cancel()
        for end in await asyncio.gather(*doing, return_exceptions=True):
            if isinstance(end, Exception):
                raise end

    async def _ask(self, tab: Tab, path: str, *headers: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self._host, self._port, limit=1 << 22)
        self._send(writer, tab, path, *headers)
        return reader, writer

    def _send(self, writer: asyncio.StreamWriter, tab: Tab, path: str, *headers: str) -> None:
        lines = [f"GET {path} HTTP/1.1", f"Host: {self._host}:{self._port}", f"Cookie: {tab.cookie}", "Accept-Encoding: gzip, deflate, br", *headers]
        writer.write("\r\n".join([*lines, "", ""]).encode())

    async def _listen(self, tab: Tab) -> None:
        reader, writer = await self._ask(tab, f"/events{tab.query}", "Accept: text/event-stream")
        status = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        assert status == b"200", status
        event_id = ""
        while line := await reader.readline():
            if line.startswith(b"id: "):
                event_id = line[4:].strip().decode()
            elif line.startswith(b"data: "):
                told = json.loads(line[6:])
                topics = {f"run:{key}" for key in told["runs"]} | {f"dag:{name}" for name in told["dags"]} | {"all"}
                if told["all"] or (tab.topic in topics and order(event_id) > tab.shown):
                    tab.told = event_id
                    tab.wakes.set()
        writer.close()
        raise AssertionError("a stream of events ended")

    async def _show(self, tab: Tab) -> None:
        reader = writer = None
        while True:
            await tab.wakes.wait()
            tab.wakes.clear()
            for target in tab.targets:
                began = time.perf_counter()
                headers = ["HX-Request: true", *([f"Rqflow-Upto: {tab.told}"] if tab.told else []), *([f"HX-Target: div#{target}"] if target else [])]
                if reader is None or writer is None or reader.at_eof():
                    reader, writer = await self._ask(tab, tab.path, *headers)
                else:
                    self._send(writer, tab, tab.path, *headers)
                status, body = await answer_of(reader)
                tab.took.append((time.perf_counter() - began) * 1000)
                tab.size += len(body)
                if status != 200:
                    self.refused += 1
                elif target == tab.targets[0]:
                    self._note(tab, body)

    def _note(self, tab: Tab, body: bytes) -> None:
        now = time.time()
        found = _UPTO.search(body.decode())
        assert found, f"{tab.path} does not say up to which event it is true"
        upto = order(found[1])
        for at, seen in reversed(self._load.changes):
            if at <= tab.shown:
                break
            if at <= upto and tab.concerns(seen) and tab.shown > (0, 0):
                tab.late.append(now - at[0] / 1000)
        tab.shown = max(tab.shown, upto)


def of_run(run_key: str) -> tuple[str, str, str, tuple[str, ...]]:
    """Return what a tab is made of that shows a run."""
    return f"/runs/{run_key}", f"?run={run_key}", f"run:{run_key}", ("tasks", "run-head", "panel-top", "graph-states")


def of_dag(query: str = "") -> tuple[str, str, str, tuple[str, ...]]:
    """Return what a tab is made of that shows the grid of the DAG of many tasks."""
    return f"/dags/{page_data.WIDE}{query}", f"?dag={page_data.WIDE}", f"dag:{page_data.WIDE}", ("",)


def mixed(world: World, cookies: Sequence[str], load: Load, count: int) -> list[Tab]:
    """Return tabs on runs, the grid, home and the list of DAGs."""
    kinds = [of_run(load.run_keys[0]), of_run(load.run_keys[1]), of_run(world.wide_run), of_dag(), of_dag("?fold=none"), ("/", "", "all", ("",)),
             ("/dags", "", "all", ("",))]
    return tabs_of([kinds[n % len(kinds)] for n in range(count)], cookies)


def all_on_one(world: World, cookies: Sequence[str], load: Load, count: int) -> list[Tab]:  # noqa: ARG001 - as `mixed`
    """Return tabs that all look at one run."""
    return tabs_of([of_run(load.run_keys[0])] * count, cookies)


def grids(world: World, cookies: Sequence[str], load: Load, count: int) -> list[Tab]:  # noqa: ARG001 - as `mixed`
    """Return tabs that all look at one grid."""
    return tabs_of([of_dag()] * count, cookies)


def tabs_of(kinds: Sequence[tuple[str, str, str, tuple[str, ...]]], cookies: Sequence[str]) -> list[Tab]:
    """Return a tab of each kind, of one person after the other."""
    return [Tab(path=path, query=query, topic=topic, targets=targets, cookie=cookies[n % len(cookies)])
            for n, (path, query, topic, targets) in enumerate(kinds)]


def on_own_queue(version: Version) -> Version:
    """Return a version of which nobody else begins tasks."""
    return replace(version, tasks=tuple(replace(task, queue=QUEUE) for task in version.tasks))


#: {name: (what makes the tabs, the DAG whose tasks change, how many of its runs go on)}.
WAYS = {
    "mixed": (mixed, wide_version, 3),
    "all on one run": (all_on_one, lambda: fan_of(TASKS_OF_ONE), 1),
    "all on one grid": (grids, wide_version, 2),
}


@contextmanager
def connected(world: World) -> Iterator[redis.Redis]:
    """Give a connection to Redis of its own."""
    with redis.Redis.from_url(world.redis_url) as connection:
        yield connection


def measure(world: World, report: Report, way: str, *, tabs: int, rate: int, seconds: float, settle: float) -> None:
    """Measure one way of looking."""
    make, version, runs = WAYS[way]
    with served(world) as where, connected(world) as connection, Load(world, connection, on_own_queue(version()), runs=runs, rate=rate) as load:
        cookies = [logged_in(world.engine, f"{role.value}{n}", role) for n, role in enumerate(PEOPLE)]
        browsers = Browsers(where, load, make(world, cookies, load, tabs))
        at: list[float] = []
        marks: list[tuple[float, float, int]] = []

        def look() -> None:
            marks.append((usage(where.pid).own, time.monotonic(), load.ended))

        async def run() -> None:
            watching = asyncio.create_task(browsers.open_for(seconds, settle=settle, at=at))
            for count in (1, 2):
                while len(at) < count and not watching.done():
                    await asyncio.sleep(0.02)
                look()
            await watching

        asyncio.run(run())
        memory = (pss(where.pid), rss(where.pid))
    (cpu, began, ended), (cpu_then, then, ended_then) = marks
    took = [one for tab in browsers.tabs for one in tab.took]
    late = [one for tab in browsers.tabs for one in tab.late]
    passed = then - began
    said = f"{tabs} tabs, {way}"
    report.add([
        Figure(workload="tabs", name=f"{said}: CPU", unit="% of a core", values=[(cpu_then - cpu) / passed * 100], budget=CPU,
               note=f"{(ended_then - ended) / passed:.0f} tasks/s ended"),
        Figure(workload="tabs", name=f"{said}: memory", unit="MiB Pss", values=[memory[0]], budget=MEMORY, note=f"{memory[1]:.0f} MiB Rss"),
        Figure(workload="tabs", name=f"{said}: pieces got", unit="/s", values=[len(took) / (passed + settle)],
               note=f"{browsers.refused} refused; {sum(tab.size for tab in browsers.tabs) / max(len(took), 1) / 1000:.0f} kB each, unpacked"),
        Figure(workload="tabs", name=f"{said}: a piece took, median", unit="ms", values=[statistics.median(took)], note=f"p95 {p95(took):.0f}"),
        Figure(workload="tabs", name=f"{said}: from a change to its tab, median", unit="s", values=[statistics.median(late or [0])]),
        Figure(workload="tabs", name=f"{said}: from a change to its tab, p95", unit="s", values=[p95(late or [0])])])


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill, measure, print, write the file."""
    runtime.collect_rarely()
    made = page_data.parser("python -m benchmarks.live_tabs", __doc__ or "")
    made.add_argument("--tabs", type=int, default=TABS, metavar="N", help=f"tabs ({TABS})")
    made.add_argument("--rate", type=int, default=RATE, metavar="N", help=f"tasks that begin, and that end, in a second ({RATE})")
    made.add_argument("--seconds", type=float, default=60.0, metavar="S", help="for how long (60)")
    made.add_argument("--settle", type=float, default=10.0, metavar="S", help="seconds before that (10)")
    made.add_argument("--output", type=Path, metavar="FILE", help="where the JSON goes; benchmarks/results/DATE-COMMIT-tabs.json when not given")
    asked = made.parse_args(arguments)
    report = Report(options={"tabs": asked.tabs, "rate": asked.rate, "seconds": asked.seconds, "small": asked.small})
    with page_data.world_of(asked) as world:
        for way in WAYS:
            if asked.only in way:
                measure(world, report, way, tabs=asked.tabs, rate=asked.rate, seconds=asked.seconds, settle=asked.settle)
    report.sum_up()
    report.say(f"written to {report.write(asked.output or named('tabs'))}")


if __name__ == "__main__":
    main()
