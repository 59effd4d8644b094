"""A whole private system, as a person would run it: Redis, a database, `rqflow scheduler`, `rqflow worker -n 4`, each a process of its own."""

from __future__ import annotations

import atexit
import itertools
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from benchmarks.baseline import SLOTS
from benchmarks.shapes import Shape, fan
from rqflow import clock, settings
from rqflow.actions import query, submit, survey, trigger
from rqflow.actions.model import Run
from rqflow.broker import keys
from rqflow.broker.events import EventStream, is_before
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version
from rqflow.deploy.services import Services
from rqflow.states import RunState, TaskState
from rqflow.store import runs
from rqflow.store import tasks as store_tasks
from rqflow.store.engine import reading
from rqflow.worker import shepherd_client
from tests import profile, services
from tests.e2e.lab import Lab

SQLITE, MARIADB = "sqlite", "mariadb"
#: Redis as the embedded default has it.
REDIS = ["--appendonly", "yes", "--appendfsync", "everysec", "--hash-max-ziplist-value", "512", "--hash-max-ziplist-entries", "512"]
#: Seconds after which a run, or what follows it, is given up.
PATIENCE = 900.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A run that has ended. Times in seconds."""

    run: RunInfo
    tasks: int
    #: From the run's start to its end, as rqflow itself tells them.
    took: float
    #: From the run's end until SQL had all of it, and until all logs were in the archive.
    sql_lag: float
    archive_lag: float


class System:
    """One running system. Make it with `running`."""

    def __init__(self, lab: Lab, store: str, database_pid: int) -> None:
        """Take a lab whose servers run."""
        self.lab, self.store = lab, store
        self._database_pid = database_pid
        self._numbers = itertools.count(1)
        self.pids: dict[str, int] = {}

    @property
    def services(self) -> Services:
        """Redis and the database, opened in this process."""
        return self.lab.services

    @property
    def connection(self) -> redis.Redis:
        """The connection to Redis of this process."""
        return self.services.connection

    @property
    def work_dir(self) -> Path:
        """The folder of the worker."""
        return Path(self.services.settings.worker.work_dir)

    def start(self) -> None:
        """Start the scheduler and the worker, and wait until both are at work."""
        scheduler = self.lab.hub()
        worker = self.lab.worker("-n", str(SLOTS))
        self.took_up(scheduler.pid, worker.pid)

    def took_up(self, scheduler: int, worker: int) -> None:
        """Note the processes, by name, of a scheduler and a worker that were started; let them do a run, which loads what is loaded once."""
        self.pids = {
            "scheduler": scheduler, "worker": worker, "shepherd": shepherd_pid(self.work_dir),
            "Redis": int(self.connection.info("server")["process_id"])}
        if self._database_pid:
            self.pids["MariaDB"] = self._database_pid
        self.measure(self.register(fan(SLOTS, dag_id="bench_warm")))

    def register(self, shape: Shape) -> Version:
        """Load the DAG file of `shape` and register it, as `rqflow submit` does."""
        path = self.lab.dag(shape.source, f"{shape.dag_id}.py")
        found = survey.read([path], self.services.settings).versions
        submit.register(self.services.broker, self.services.engine, found)
        return found[0]

    def begin(self, version: Version, run_id: str = "") -> RunInfo:
        """Start a run."""
        run = trigger.by_hand(version, trigger.Given(run_id=run_id or f"r{next(self._numbers)}"), clock.utcnow())
        trigger.start(self.services.broker, self.services.engine, run, version, by="bench")
        return run

    def measure(self, version: Version) -> Measured:
        """Run a DAG whose tasks all succeed, to the end of its recording; raises AssertionError when any of it is missing."""
        run = self.begin(version)
        return self.finish(run, len(version.tasks))

    def finish(self, run: RunInfo, tasks: int) -> Measured:
        """Wait for the end of a run in which `tasks` tasks succeed, and of its recording."""
        started, ended = self.ended(run)
        sql_lag = self.recorded(run) - ended
        archive_lag = self.archived(run, tasks) - ended
        self.check(run, tasks)
        return Measured(run=run, tasks=tasks, took=ended - started, sql_lag=max(sql_lag, 0.0), archive_lag=max(archive_lag, 0.0))

    def ended(self, run: RunInfo) -> tuple[float, float]:
        """Wait for the end of a run; return when it began and ended, in seconds since the epoch."""
        patiently(lambda: self.services.broker.is_finished(run.key), what=f"run {run.run_id} to end", every=0.1)
        status = self.services.broker.run_status(run.key)
        assert status, f"Redis has forgotten run {run.run_id}"
        assert status.started_at
        assert status.ended_at
        return status.started_at.timestamp(), status.ended_at.timestamp()

    def recorded(self, run: RunInfo) -> float:
        """Wait until every event of an ended run is in SQL; return when that was seen."""
        status = self.services.broker.run_status(run.key)
        assert status, f"Redis has forgotten run {run.run_id}"
        stream = EventStream(self.connection)
        patiently(lambda: is_before(status.last_event, stream.recorded_upto()), what="the recorder", every=0.005)
        return time.time()

    def archived(self, run: RunInfo, tasks: int) -> float:
        """Wait until the archive has so many whole logs of a run; return when that was so."""
        place = Path(self.services.settings.logs.folder) / run.dag_id
        pattern = f"*/*_{run.key[:8]}/*.log"
        seen = 0.0

        def is_whole() -> bool:
            # Counting files takes long where there are many: only when nothing is on its way to the archive.
            nonlocal seen
            seen = time.time()
            return self.connection.xlen(keys.LOGS) == 0 and sum(path.stat().st_mode & 0o777 == 0o440 for path in place.glob(pattern)) >= tasks

        patiently(is_whole, what="the log archive", every=0.01)
        return seen

    def forgotten(self, run: RunInfo) -> float:
        """Wait until Redis has forgotten a run; return when that was seen."""
        patiently(lambda: not self.services.broker.run_exists(run.key), what="Redis to forget the run", every=0.1)
        return time.time()

    def record(self, run: RunInfo) -> Run:
        """Return the run as `run show` gives it."""
        return query.show(self.services.broker, self.services.engine, run.key)

    def check(self, run: RunInfo, tasks: int) -> None:
        """See that SQL has `tasks` tasks of a run, all ended well: a wrong system is not a fast one. Raises AssertionError."""
        with reading(self.services.engine) as connection:
            record = runs.by_key(connection, run.key)
            states = [one.state for one in store_tasks.of_run(connection, run.key)]
            tries = len(store_tasks.tries(connection, run.key))
        assert record
        assert record.state is RunState.SUCCESS, f"run {run.run_id} is {record.state} in SQL"
        assert states == [TaskState.SUCCESS] * tasks, f"{len(states)} of {tasks} tasks in SQL, in the states {set(states)}"
        assert tries == tasks, f"{tries} tries of {tasks} tasks in SQL"


def load(shape: Shape) -> Version:
    """Return the version that rqflow makes of the DAG file of `shape`."""
    with folder() as home:
        path = home / f"{shape.dag_id}.py"
        path.write_text(shape.source, encoding="utf-8")
        return survey.read([path], settings.load(home=home, environ={})).versions[0]


def patiently(condition: Callable[[], object], *, what: str, every: float) -> None:
    """Look every so many seconds until `condition` is true: seldom enough to take nothing from what is measured."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s in vain for {what}"
        time.sleep(every)


def shepherd_pid(work_dir: Path) -> int:
    """Return the process id of the shepherd of `work_dir`, which lives."""
    client = shepherd_client.ShepherdClient(work_dir, env={}, linger=0.0, role="benchmark")
    client.connect()
    client.close()
    return client.pid


@contextmanager
def folder() -> Iterator[Path]:
    """Give an empty folder, removed when this program ends.

    Not before: whenever ext4 makes a file, it looks through the inodes that were freed in the last minutes.
    """
    name = tempfile.mkdtemp(prefix="rqflow-bench-")
    atexit.register(shutil.rmtree, name, ignore_errors=True)
    yield Path(name)


@contextmanager
def servers(store: str, environ: Mapping[str, str] | None = None) -> Iterator[System]:
    """Run Redis and a database in a folder of their own, and nothing of rqflow yet; all of it is gone afterwards."""
    with ExitStack() as stack:
        root = stack.enter_context(folder())
        for name in ("redis", "sql"):
            (root / name).mkdir()
        redis_url = stack.enter_context(services.redis_server(root / "redis", *REDIS))
        database_url = stack.enter_context(services.mariadb_server(root / "sql")) if store == MARIADB else ""
        lab = stack.enter_context(new_lab(root / "lab", redis_url, database_url, environ))
        if database_url:
            lab.run("db", "upgrade")
        yield System(lab, store, int((root / "sql" / "pid").read_text(encoding="ascii")) if database_url else 0)


@contextmanager
def new_lab(folder: Path, redis_url: str = "", database_url: str = "", environ: Mapping[str, str] | None = None) -> Iterator[Lab]:
    """Make a lab with the times of production, not those of the tests; its processes are ended afterwards."""
    lab = Lab(folder, redis_url=redis_url, database_url=database_url)
    for name in profile.ENVIRON:
        del lab.environ[name]
    lab.environ.update(environ or {})
    try:
        yield lab
    finally:
        lab.close()


@contextmanager
def running(store: str, environ: Mapping[str, str] | None = None) -> Iterator[System]:
    """Run a whole system on `store`."""
    with servers(store, environ) as system:
        system.start()
        yield system


def stores(wanted: Sequence[str]) -> list[str]:
    """Return those of `wanted` whose programs are installed."""
    missing = MARIADB in wanted and any(shutil.which(name, path=services.SEARCH) is None for name in ("mariadbd", "mariadb-install-db"))
    return [store for store in wanted if not (store == MARIADB and missing)]
