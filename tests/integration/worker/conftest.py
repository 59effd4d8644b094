from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from rqflow import settings as configuration
from rqflow.broker.broker import Broker
from rqflow.broker.logstream import LogStream
from rqflow.broker.status import TaskStatus
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version
from rqflow.settings import Settings
from rqflow.worker import identity
from rqflow.worker.shepherd_client import ShepherdClient
from rqflow.worker.shepherd_protocol import Ended, Start
from rqflow.worker.workdir import WorkDir
from tests.epoch import admit, open_epoch
from tests.forked import Service
from tests.processes import send
from tests.profile import ENVIRON, KILL_GRACE, PATIENCE
from tests.unit.builders import a_run, a_task, a_version
from tests.waiting import is_alive, until

ROOT = Path(__file__).parents[3]
#: What its `main` runs a worker.
WORKER = "tests.integration.worker.a_worker"
#: RQ's own command, beside the Python that runs the tests.
RQ = Path(sys.executable).with_name("rq")

#: Seconds that a shepherd of these tests outlives its last task and client.
LINGER = 1.0
PATH = os.environ["PATH"]


@dataclass
class Herd:
    """A work_dir with a shepherd, and what a test asks of it."""

    folder: Path
    client: ShepherdClient
    ended: dict[str, Ended] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=count)
    #: Executions are known by their id on the whole machine, where other tests may run.
    unique: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def start(self, *argv: str, **fields: Any) -> str:
        """Start a process; return its execution id."""
        name = fields.pop("id", f"e{next(self.numbers)}-{self.unique}")
        defaults: dict[str, Any] = {"log": str(self.folder / f"{name}.log"), "cwd": str(self.folder), "grace": KILL_GRACE}
        self.client.start(Start(id=name, argv=argv, **{**defaults, **fields}))
        self.client.flush()
        return name

    def bash(self, command: str, **fields: Any) -> str:
        return self.start("bash", "-c", command, **fields)

    def end(self, name: str, patience: float = PATIENCE) -> Ended:
        """Wait for the end of an execution."""
        deadline = time.monotonic() + patience
        while name not in self.ended:
            left = deadline - time.monotonic()
            assert left > 0, f"{name} does not end; its log: {self.log(name)!r}"
            if select.select([self.client], [], [], left)[0]:
                self.ended.update({entry.id: entry for entry in self.client.receive()})
        return self.ended[name]

    def run(self, command: str, **fields: Any) -> Ended:
        return self.end(self.bash(command, **fields))

    def output(self, command: str, **fields: Any) -> bytes:
        """Run a command to its end; return what it printed."""
        return self.log(self.run(command, **fields).id)

    def log(self, name: str) -> bytes:
        path = self.folder / f"{name}.log"
        return path.read_bytes() if path.exists() else b""

    def said(self, name: str, text: str) -> str:
        """Wait until the log of an execution holds `text`; return the log."""
        return until(lambda: (log := self.log(name).decode()) if text in self.log(name).decode() else "", what=f"{name} to say {text!r}")

    def again(self, role: str = "worker") -> tuple[ShepherdClient, list[Any], list[Ended]]:
        """Connect anew, as the next worker does."""
        self.client.close()
        client = ShepherdClient(self.folder, env={"PATH": PATH}, linger=LINGER, role=role)
        running, ended = client.connect()
        self.client = client
        return client, running, ended


@pytest.fixture
def herd(tmp_path: Path) -> Iterator[Herd]:
    """A shepherd with a connected worker's side; killed afterwards with whatever it started."""
    client = ShepherdClient(tmp_path, env={"PATH": PATH}, linger=LINGER)
    running, ended = client.connect()
    assert (running, ended) == ([], [])
    client.environment({"PATH": PATH, "BASE": "1"}, 0o022)
    herd = Herd(tmp_path, client)
    yield herd
    herd.client.close()
    closing = ShepherdClient(tmp_path, env={"PATH": PATH}, linger=0.0)
    for entry in closing.connect()[0]:
        closing.kill(entry.id, "test", 0.0)
    closing.flush()
    os.kill(closing.pid, signal.SIGTERM)
    closing.close()
    until(lambda: not is_alive(closing.pid), what="the shepherd to end")


@pytest.fixture
def reap() -> Iterator[Callable[[int], None]]:
    """Kill these pids after the test."""
    pids: list[int] = []
    yield pids.append
    for pid in pids:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


@dataclass
class Site:
    """A private Redis with runs in it, and workers as processes."""

    folder: Path
    url: str
    db: redis.Redis
    settings: Settings
    environ: dict[str, str]
    processes: list[Service | subprocess.Popen[bytes]] = field(default_factory=list)
    #: What its workers run under.
    python: str = sys.executable
    #: Whose they are; None: of this process' account.
    user: str | None = None
    broker: Broker = field(init=False)
    epochs: Iterator[int] = field(default_factory=lambda: count(2))
    #: The work_dirs whose workers the hub has noted.
    admitted: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.broker = Broker(self.db, self.settings)

    def reconnect(self) -> None:
        """Speak to the Redis at `url` from now on, and do the hub's part there: what it has is right."""
        self.db.close()
        self.db = redis.Redis.from_url(self.url)
        self.broker = Broker(self.db, self.settings)
        open_epoch(self.db, next(self.epochs))
        for work_dir in self.admitted:
            self.admit(work_dir)

    def admit(self, work_dir: Path) -> None:
        """Let the worker of a work_dir claim, as the hub does when it has noted it."""
        self.admitted.add(work_dir)
        admit(self.db, identity.name_of(self.folder, socket.gethostname(), WorkDir(work_dir), self.folder / "state" / "worker"))

    @property
    def machine(self) -> str:
        """What its worker is called over its restarts."""
        return identity.name_of(self.folder, socket.gethostname(), WorkDir(self.folder / "work"), self.folder / "state" / "worker")

    def run(self, version: Version, **changes: Any) -> RunInfo:
        """Create a run."""
        info = a_run(version, **changes)
        assert self.broker.create_run(info, version)
        return info

    def command(self, command: str, **task: Any) -> RunInfo:
        """Create a run of one bash task `t`."""
        return self.run(a_version(specs=[a_task("t", command, **task)]))

    def start(self, *, url: str = "", environ: Mapping[str, str] | None = None, **options: Any) -> Service | subprocess.Popen[bytes]:
        """Start a worker, at another URL of the Redis if one is given."""
        asked = {"slots": 4, "work_dir": str(self.folder / "work"), **options}
        if Path(asked["work_dir"]) not in self.admitted:
            self.admit(Path(asked["work_dir"]))
        words, environ = (url or self.url, str(self.folder), json.dumps(asked)), {**self.environ, **(environ or {})}
        process: Service | subprocess.Popen[bytes]
        with (self.folder / "worker.log").open("ab") as log:
            if self.python == sys.executable and not self.user:
                process = Service(words, environ=environ, folder=ROOT, output=log, module=WORKER, has_session=True)
            else:
                process = subprocess.Popen([self.python, "-m", WORKER, *words], stdout=log, stderr=log, env=environ, cwd=ROOT, start_new_session=True,
                                           **({"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}))
        self.processes.append(process)
        return process

    def work(self, **options: Any) -> None:
        """Run a worker until nothing is left to do."""
        process = self.start(burst=True, **options)
        assert process.wait(PATIENCE) == 0, self.said()

    def said(self) -> str:
        """What the workers wrote to stderr."""
        return (self.folder / "worker.log").read_text()

    def task(self, run: RunInfo, task_id: str = "t") -> TaskStatus:
        """How a task instance stands."""
        return next(status for status in self.broker.task_statuses(run.key) if status.task_id == task_id)

    def states(self, run: RunInfo) -> dict[str, str]:
        """{task id: state}."""
        return {status.task_id: status.state.value for status in self.broker.task_statuses(run.key)}

    def until(self, run: RunInfo, state: str, task_id: str = "t") -> TaskStatus:
        """Wait until a task instance is in `state`."""
        return until(lambda: (found := self.task(run, task_id)).state == state and found, what=f"{task_id} to be {state}: {self.said()}")

    def log(self, run: RunInfo, task_id: str = "t", try_number: int | None = None) -> str:
        """What the log stream has of a try's log, put together by offsets as the archive does: after a broken link pieces come again."""
        ends = [e for e in self.events() if e["kind"] in {"ti", "late"} and e["task"] == task_id and e["run"] == run.key and e.get("execution")]
        ids = {e["execution"] for e in ends if try_number in {None, e["try"]}}
        whole: dict[str, bytes] = {}
        for _, chunk in LogStream(self.db).read(count=10_000, block_ms=0):
            if chunk.execution_id in ids:
                known = whole.get(chunk.execution_id, b"")
                whole[chunk.execution_id] = known[:chunk.offset] + chunk.data + known[chunk.offset + len(chunk.data):]
        return b"".join(whole.values()).decode(errors="replace")

    def events(self) -> list[dict[str, Any]]:
        """All events so far."""
        return [event for _, fields in self.db.xrange("rqflow:events") for event in json.loads(fields[b"e"])]

    def end_of(self, run: RunInfo, task_id: str = "t") -> dict[str, Any]:
        """The event of the end of a task's last try."""
        return [e for e in self.events() if e["kind"] == "ti" and e["task"] == task_id and e["run"] == run.key and "facts" in e][-1]


@pytest.fixture
def site(tmp_path: Path, redis_url: str, db: redis.Redis) -> Iterator[Site]:
    """A place for workers; what they start is ended afterwards."""
    environ = {**os.environ, **ENVIRON, "RQFLOW_HOME": str(tmp_path)}
    settings = configuration.load(home=tmp_path, environ=environ)
    site = Site(tmp_path, redis_url, db, settings, environ)
    yield site
    for process in site.processes:
        if process.poll() is None:
            # The horse of a stock worker goes on without it.
            stock = psutil.Process(process.pid)
            send(signal.SIGKILL, [*stock.children(recursive=True), stock])
        process.wait()
    for lock in tmp_path.glob("**/shepherd.lock"):
        client = ShepherdClient(lock.parent, env={"PATH": PATH}, linger=0.0)
        for entry in client.connect()[0]:
            client.kill(entry.id, "test", 0.0)
        client.flush()
        os.kill(client.pid, signal.SIGTERM)
        client.close()
