"""The system of a soak: real servers and processes, what strikes them, and who starts again what was killed, as supervisord would."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import redis

from benchmarks import soak_plan as plan
from benchmarks.soak_plan import Fault
from benchmarks.system import MARIADB
from rqflow.broker import keys
from tests import services
from tests.e2e.lab import Lab
from tests.proxy import Proxy
from tests.waiting import is_alive

#: Names of the processes. NEAR speaks to the servers itself, the FAR ones to Redis alone, through a tunnel.
SCHEDULERS, NEAR, FAR, STOCK = ("scheduler1", "scheduler2"), "near", ("far1", "far2"), "stock"
WORKERS = (NEAR, *FAR)
#: A roll-back takes away what Redis wrote in so many seconds.
ROLLS_BACK = 2.0
#: Seconds for which the kill of a recorder waits until there is something to record.
_BUSY_WITHIN = 1.0
#: Seconds before a process that ended by itself is started again.
_AGAIN_AFTER = 0.3


@dataclass(slots=True)
class Member:
    """A process that is started again when it has ended."""

    name: str
    begin: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes] | None = None
    #: When it is to be started again; None while it runs.
    again_at: float | None = None

    def start(self) -> None:
        """Start it."""
        self.process, self.again_at = self.begin(), None

    def kill(self, *, again_in: float) -> None:
        """Kill it by -9, and start it again after so many seconds; later when it is down already."""
        assert self.process
        self.process.kill()
        self.process.wait()
        self.again_at = max(self.again_at or 0.0, time.monotonic() + again_in)

    def ended(self) -> int | None:
        """Return the exit code when it ended by itself, and have it started again soon."""
        if self.process is None or self.again_at is not None or self.process.poll() is None:
            return None
        self.again_at = time.monotonic() + _AGAIN_AFTER
        return self.process.returncode


class Database:
    """A MariaDB that is stopped and started again, as by its unit."""

    def __init__(self, folder: Path) -> None:
        """Take the one that runs in `folder`."""
        self._folder = folder
        self.pid = int((folder / "pid").read_text(encoding="ascii"))
        self._command = Path(f"/proc/{self.pid}/cmdline").read_bytes().split(b"\0")[:-1]
        self._process: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        process = psutil.Process(self.pid)
        process.terminate()
        if self._process:
            self._process.wait()
        while is_alive(process):
            time.sleep(0.02)

    def start(self) -> None:
        """Start it; it answers a little later."""
        with (self._folder / "mariadb.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self._folder)
        self.pid = self._process.pid

    def close(self) -> None:
        """End what was started here."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


@dataclass(slots=True)
class Site:
    """Everything that runs."""

    lab: Lab
    redis: services.OwnRedis
    proxies: dict[str, Proxy]
    database: Database | None
    members: dict[str, Member] = field(default_factory=dict)
    #: What is done later: (when, in which order, what).
    later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    #: What happened, one line each.
    diary: list[str] = field(default_factory=list)
    #: What no process may do: end by itself.
    wrong: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    redis_is_up: bool = True
    database_is_up: bool = True
    #: Size of Redis' file by time, the newest last.
    _sizes: list[tuple[float, int]] = field(default_factory=list)

    def start(self) -> None:
        """Start all processes."""
        for member in self.members.values():
            member.start()

    def note(self, text: str) -> None:
        """Write a line into the diary."""
        self.diary.append(f"{time.monotonic() - self.began:7.1f} s  {text}")

    def turn(self) -> None:
        """Do what is due: repairs, and starting again."""
        now = time.monotonic()
        if self.redis_is_up:
            self._sizes.append((now, self.redis.log().stat().st_size))
            self._sizes = [one for one in self._sizes if one[0] > now - 5 * ROLLS_BACK]
        for due in sorted(self.later, key=lambda one: one[0]):
            if due[0] <= now:
                self.later.remove(due)
                due[1]()
        for member in self.members.values():
            code = member.ended()
            if code is not None:
                self.note(f"{member.name} ended by itself with {code}")
                if member.name != STOCK:  # RQ's worker may give up when it loses Redis
                    self.wrong.append(f"{member.name} ended by itself with {code}: {self.said(member.name)}")
            if member.again_at is not None and member.again_at <= now:
                member.start()

    def said(self, name: str) -> str:
        """Return the last lines of the newest log of a process."""
        logs = sorted(self.lab.root.glob(f"{name}-*.log"), key=lambda path: path.stat().st_mtime)
        return "\n".join(logs[-1].read_text(encoding="utf-8", errors="replace").splitlines()[-5:]) if logs else "nothing"

    def heal(self) -> None:
        """End all faults."""
        for _, repair in sorted(self.later, key=lambda one: one[0]):
            repair()
        self.later.clear()
        for member in self.members.values():
            if member.again_at is not None:
                member.start()

    # -- faults --

    def strike(self, fault: Fault) -> None:
        """Let a fault happen now; what it broke is mended later by `turn`."""
        kill: dict[str, Callable[[Fault], str]] = {
            plan.WORKER: self._kill_worker, plan.SHEPHERD: self._kill_shepherd, plan.SCHEDULER: self._kill_scheduler,
            plan.RECORDER: self._kill_recorder, plan.STOCK_WORKER: self._kill_stock, plan.RESTART: self._stop_redis, plan.ROLL_BACK: self._roll_back,
            plan.WIPE: self._wipe, plan.CUT: self._break_link, plan.RESET: self._break_link, plan.BLACK_HOLE: self._break_link,
            plan.DATABASE: self._stop_database}
        what = kill[fault.kind](fault)
        self.note(f"fault {fault.number + 1}: {fault.kind}, {what}")

    def _down(self, name: str, fault: Fault) -> str:
        member = self.members[name]
        member.kill(again_in=fault.lasts)
        return f"{name} for {fault.lasts:.1f} s"

    def _kill_worker(self, fault: Fault) -> str:
        return self._down(fault.hits(WORKERS), fault)

    def _kill_scheduler(self, fault: Fault) -> str:
        return self._down(fault.hits(SCHEDULERS), fault)

    def _kill_recorder(self, fault: Fault) -> str:
        """Kill a process that records, where a worker may do so too, while there is something to record."""
        deadline = time.monotonic() + _BUSY_WITHIN
        while self.redis_is_up and time.monotonic() < deadline and not self._unrecorded():
            time.sleep(0.01)
        return self._down(fault.hits([*SCHEDULERS, NEAR] if self.database else SCHEDULERS), fault)

    def _unrecorded(self) -> int:
        with redis.Redis.from_url(self.redis.url) as connection:
            return int(connection.xlen(keys.EVENTS))

    def _kill_shepherd(self, fault: Fault) -> str:
        name = fault.hits(WORKERS)
        found = [process for process in self.lab.belongings() if _is_shepherd(process, str(self.lab.root / name))]
        for process in found:
            process.kill()
        return f"that of {name}" if found else f"{name} has none now"

    def _kill_stock(self, fault: Fault) -> str:
        """Kill RQ's worker, every second time with the horse that runs its task."""
        process = self.members[STOCK].process
        assert process
        horses = psutil.Process(process.pid).children() if process.poll() is None and fault.choice < 0.5 else []
        for horse in horses:
            horse.kill()
        return self._down(STOCK, fault) + (", with its horse" if horses else "")

    def _stop_redis(self, fault: Fault, *, cut_to: int | None = None) -> str:
        if not self.redis_is_up:
            return "down already"
        if self.redis.process and fault.choice < 0.5 and cut_to is None:
            self.redis.process.terminate()
            self.redis.process.wait()
        else:
            self.redis.kill()
        self.redis_is_up = False
        if cut_to is not None:
            os.truncate(self.redis.log(), cut_to)
            self._sizes.clear()
        self._later(fault.lasts, self._start_redis)
        return f"down for {fault.lasts:.1f} s"

    def _start_redis(self) -> None:
        self.redis.start()
        self.redis_is_up = True

    def _roll_back(self, fault: Fault) -> str:
        then = [size for at, size in self._sizes if at <= time.monotonic() - ROLLS_BACK]
        size = then[-1] if then else self.redis.log().stat().st_size
        lost = self.redis.log().stat().st_size - size
        return f"{self._stop_redis(fault, cut_to=size)}, {lost} bytes lost"

    def _wipe(self, _: Fault) -> str:
        if not self.redis_is_up:
            return "down"
        with redis.Redis.from_url(self.redis.url) as connection:
            connection.flushall()
        return "all keys gone"

    def _break_link(self, fault: Fault) -> str:
        name = fault.hits(FAR)
        proxy = self.proxies[name]
        {plan.CUT: proxy.cut, plan.RESET: proxy.reset, plan.BLACK_HOLE: proxy.black_hole}[fault.kind]()
        if fault.lasts:
            self._later(fault.lasts, proxy.heal)
        return f"of {name}" + (f" for {fault.lasts:.1f} s" if fault.lasts else "")

    def _stop_database(self, fault: Fault) -> str:
        assert self.database
        if not self.database_is_up:
            return "down already"
        self.database.stop()
        self.database_is_up = False
        self._later(fault.lasts, self._start_database)
        return f"down for {fault.lasts:.1f} s"

    def _start_database(self) -> None:
        assert self.database
        self.database.start()
        self.database_is_up = True

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        self.later.append((time.monotonic() + seconds, what))


def _is_shepherd(process: psutil.Process, work_dir: str) -> bool:
    try:
        command = process.cmdline()
    except psutil.Error:
        return False
    return "rqflow.worker.shepherd" in command and work_dir in command


@contextmanager
def site(folder: Path, store: str) -> Iterator[Site]:
    """Run the servers and tunnels, and name the processes, of which none is started yet; all of it is gone afterwards."""
    with ExitStack() as stack:
        for name in ("redis", "sql"):
            (folder / name).mkdir()
        server = services.OwnRedis(folder / "redis", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0")
        server.start()
        stack.callback(lambda: server.kill())
        database_url = stack.enter_context(services.mariadb_server(folder / "sql")) if store == MARIADB else ""
        database = Database(folder / "sql") if database_url else None
        if database:
            stack.callback(database.close)
        proxies = {name: stack.enter_context(Proxy(str(server.socket))) for name in FAR}
        graces = ", ".join(["never", *(f"{queue}={seconds:g}s" for queue, seconds in plan.GRACES.items())])
        lab = Lab(folder / "lab", redis_url=server.url, database_url=database_url,
                  environ={"RQFLOW__WORKER__GRACE": graces, "RQFLOW__REDIS__SOCKET_TIMEOUT": "2s"})
        stack.callback(lab.close)
        if database_url:
            lab.run("db", "upgrade")
        made = Site(lab, server, proxies, database)
        for member in _members(made):
            made.members[member.name] = member
        yield made


def _members(made: Site) -> Sequence[Member]:
    """Return the processes, in the order of their start."""
    lab = made.lab

    def worker(name: str, url: str, queues: str) -> Member:
        environ = {"RQFLOW__WORKER__WORK_DIR": str(lab.root / name), "RQFLOW__REDIS__URL": url}
        if name in FAR:
            environ["RQFLOW__DATABASE__URL"] = ""
        return Member(name, lambda: lab.start("worker", "-n", "3", "-Q", queues, environ=environ, name=name))

    def stock() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "rq.cli", "worker", "--serializer", "json", "--url", lab.redis_url, plan.STOCK]
        with (lab.root / f"{STOCK}-{len(lab.processes)}.log").open("wb") as stream:
            process = subprocess.Popen(command, env=lab.environ, cwd=lab.folder, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
        lab.processes.append(process)
        return process

    schedulers = [Member(name, lambda name=name: lab.start("scheduler", name=name)) for name in SCHEDULERS]  # type: ignore[misc]
    far = [worker(name, proxy.redis_url, f"{plan.FENCED},{plan.DEFAULT}") for name, proxy in made.proxies.items()]
    return [*schedulers, worker(NEAR, made.redis.url, plan.DEFAULT), *far, Member(STOCK, stock)]


