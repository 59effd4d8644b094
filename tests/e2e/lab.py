"""A lab: one home with real processes of rqflow, which do what a person would have them do, and are ended by pid."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import redis

from rqflow.actions import model, query
from rqflow.broker.events import EventStream
from rqflow.deploy.services import Services, open_services
from rqflow.deploy.statedir import locate, this_machine
from rqflow.deploy.tunnels.places import place
from rqflow.deploy.tunnels.status import TunnelStatus, told
from rqflow.settings import load
from rqflow.store.runs import RunFilter
from tests import forked, profile
from tests.network import Host
from tests.processes import matching, send
from tests.waiting import is_alive, until

COMMAND = [sys.executable, "-m", "rqflow.cli.main"]
#: A process that has this in its environment does not run what is imported here.
OTHER_MODULES = "PYTHONPATH"


def base_environ() -> dict[str, str]:
    """The environment of this test process without anything of rqflow's or Airflow's."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("RQFLOW", "AIRFLOW"))}


class Lab:
    """One RQFLOW_HOME, its servers, and the processes that belong to it."""

    def __init__(self, folder: Path, *, redis_url: str = "", database_url: str = "", environ: Mapping[str, str] | None = None,
                 host: Host | None = None, forks: bool = False) -> None:
        """Make the home; with `host` all commands run on that machine of a network, with its account's keys. `redis_url` is for this process, too.

        With `forks` services are forked from a process that has imported rqflow, as commands always are.
        """
        self._host, self._forks = host, forks
        self.command = host.command(*COMMAND) if host else COMMAND
        self.root = self.folder = folder
        self._folders = 0
        self.home = folder / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        if host:
            host.keys.mkdir(exist_ok=True)
            (self.home / "keys").symlink_to(host.keys)
        self.redis_url = redis_url
        self.environ = {**base_environ(), **profile.ENVIRON, "RQFLOW_HOME": str(self.home), "COLUMNS": "200",
                        **(host.environ() if host else {}), **(environ or {})}
        if redis_url:
            self.environ["RQFLOW__REDIS__URL"] = redis_url
        if database_url:
            self.environ["RQFLOW__DATABASE__URL"] = database_url
        self.processes: list[Any] = []
        self._open = ExitStack()
        self._services: Services | None = None

    @property
    def services(self) -> Services:
        """Redis and database opened in this process, for looking often: a command takes half a second of the processor."""
        if self._services is None:
            environ = dict(self.environ)
            if self._host and not environ.get("RQFLOW__DATABASE__URL"):  # its state folder is named by its host name, not by ours
                environ["RQFLOW__DATABASE__URL"] = f"sqlite:///{self.home}/state/{self._host.name}/rqflow.db"
            settings = load(home=self.home, environ=environ)
            self._services = self._open.enter_context(open_services(settings))
        return self._services

    def reopen(self) -> None:
        """Open `services` anew when they are used next: Redis was started anew."""
        self._open.close()
        self._services = None

    def enter_folder(self) -> None:
        """Use a new folder for files and logs from now on."""
        self._folders += 1
        self.folder = self.root / f"part{self._folders}"
        self.folder.mkdir()

    # -------------------------------------------------------------- commands

    def run(self, *arguments: str | Path, code: int | None = 0, timeout: float = 120, stdin: str | None = None,
            environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and check its exit code; `code` None takes any."""
        surroundings = {**self.environ, **(environ or {})}
        words = [*map(str, arguments)]
        if OTHER_MODULES in (environ or {}):
            done = subprocess.run([*self.command, *words], env=surroundings, cwd=self.folder, text=True, capture_output=True, timeout=timeout, input=stdin or "")
        else:
            done = forked.run(words, environ=surroundings, folder=self.folder, timeout=timeout, stdin=stdin or "", spaces=self._spaces)
        assert code is None or done.returncode == code, f"{arguments} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def together(self, *commands: list[str]) -> str:
        """Run some commands; return what they printed."""
        ended = [self.run(*words) for words in commands]
        return "".join(done.stdout + done.stderr for done in ended)

    def json(self, *arguments: str | Path) -> Any:
        """Run a command with -o json and return what it printed."""
        return json.loads(self.run(*arguments, "-o", "json").stdout)

    def start(self, *arguments: str | Path, environ: Mapping[str, str] | None = None, name: str = "") -> subprocess.Popen[bytes]:
        """Start a command that stays; its output goes to a file in the lab's folder."""
        log = self.root / f"{name or arguments[0]}-{len(self.processes)}.log"
        words, surroundings = [*map(str, arguments)], {**self.environ, **(environ or {})}
        with log.open("wb") as stream:
            if self._forks and OTHER_MODULES not in (environ or {}):
                process: Any = forked.Service(words, environ=surroundings, folder=self.folder, output=stream, spaces=self._spaces)
            else:
                process = subprocess.Popen([*self.command, *words], env=surroundings, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
        self.processes.append(process)
        return process

    @property
    def _spaces(self) -> list[Path]:
        return self._host.spaces if self._host else []

    def hub(self) -> subprocess.Popen[bytes]:
        """Start the scheduler with its recorder and log archive."""
        return self.start("scheduler")

    def worker(self, *arguments: str, work_dir: str = "", environ: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a worker, and wait until RQ lists one more; `work_dir` names one below the lab's folder. One of few tasks may have done them by then."""
        before = len(self.workers())
        if work_dir:
            environ = {**(environ or {}), "RQFLOW__WORKER__WORK_DIR": str(self.root / work_dir)}
        process = self.start("worker", *arguments, environ=environ)
        until(lambda: len(self.workers()) > before or process.poll() is not None, what="the worker to register")
        assert process.poll() in ({None, 0} if "--max-tasks" in arguments else {None}), self.logs()
        return process

    def stock_worker(self, *queues: str, url: str = "") -> subprocess.Popen[bytes]:
        """Start RQ's own worker with the JSON serializer, at another URL of the Redis if one is given."""
        before = len(self.workers())
        command = [sys.executable, "-m", "rq.cli", "worker", "--serializer", "json", "--url", url or self.redis_url, *queues]
        with (self.root / f"stock-{len(self.processes)}.log").open("wb") as stream:
            process = subprocess.Popen(command, env=self.environ, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
        self.processes.append(process)
        until(lambda: len(self.workers()) > before, what="the stock worker to register")
        return process

    def workers(self) -> set[bytes]:
        with redis.Redis.from_url(self.redis_url) as connection:
            return connection.smembers("rq:workers")

    # -------------------------------------------------------------- DAGs and runs

    def dag(self, source: str, name: str = "dag.py") -> Path:
        """Write a DAG file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return path

    def submit(self, file: Path, *arguments: str) -> str:
        """Submit a file with --run and return the run id of its only DAG."""
        return str(self.json("submit", file, "--run", "--no-follow", *arguments)["run_id"])

    def latest(self) -> str:
        """Return the id of the run that was made last."""
        if not self.redis_url:
            return str(self.json("run", "list", "-L", "1")[0]["run_id"])
        return query.list_runs(self.services.broker, self.services.engine, RunFilter(), limit=1)[0].run_id

    def show(self, run_id: str) -> dict[str, Any]:
        """Return what `run show -o json` says; by the command on the embedded default, whose Redis must see us come and go."""
        if not self.redis_url:
            return dict(self.json("run", "show", run_id))
        found = query.find_run(self.services.engine, run_id)
        return dict(model.plain(query.show(self.services.broker, self.services.engine, found.run_key)))

    def finish(self, run_id: str, *, patience: float = 60) -> dict[str, Any]:
        """Wait for the end of a run and of its recording; returns what `run show` says."""
        return dict(until(lambda: self._finished(run_id), patience=patience, what=f"run {run_id} to end"))

    def _finished(self, run_id: str) -> dict[str, Any] | None:
        if self.show(run_id)["state"] not in {"success", "failed", "cancelled"}:
            return None
        if self.redis_url and EventStream(self.services.connection).backlog():
            return None
        return self.show(run_id)

    def outcome(self, file: Path, *arguments: str) -> dict[str, Any]:
        """Submit, wait, and return what `run show` says."""
        return self.finish(self.submit(file, *arguments))

    def task_log(self, run_id: str, task_id: str, *arguments: str) -> str:
        return self.run("task", "logs", run_id, task_id, *arguments).stdout

    def link(self, name: str) -> TunnelStatus:
        """Return how a tunnel of this home is, as `rqflow tunnel status` says it; without a command, for looking often."""
        settings, machine = load(home=self.home, environ=self.environ), this_machine()
        if self._host:
            machine = replace(machine, host=self._host.name)
        return told(settings.tunnels.named[name], place(locate(settings, machine), machine, name))

    # -------------------------------------------------------------- ending

    def logs(self) -> str:
        files = sorted(self.root.rglob("*.log"), key=lambda path: (len(path.parts), path))[:20]
        return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in files)

    def belongings(self) -> list[psutil.Process]:
        """Every process that has this lab's home in its environment, or its folder in its command (a Redis overwrites its environment)."""
        return matching(lambda process: process.pid != os.getpid() and (
            process.environ().get("RQFLOW_HOME") == str(self.home) or any(str(self.root) in word for word in process.cmdline())))

    def close(self) -> None:
        """End everything that belongs to the lab, by pid; first politely, because the keeper of a private Redis takes that with it."""
        self._open.close()
        send(signal.SIGTERM, self.belongings())
        for child in self.processes:
            if child.poll() is None:
                child.terminate()
        psutil.wait_procs(self.belongings(), timeout=5)
        send(signal.SIGKILL, self.belongings())
        for child in self.processes:
            if child.poll() is None:
                child.kill()
            child.wait()


def tasks(run: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the tasks of a run as `run show` gives it, by id."""
    return {task["task_id"]: task for task in run["tasks"]}


def states(run: Mapping[str, Any]) -> dict[str, str]:
    """Return {task id: state} of a run as `run show` gives it."""
    return {task["task_id"]: task["state"] for task in run["tasks"]}


def alive(pids: Sequence[int]) -> list[int]:
    """Return those of `pids` that are processes and no zombies."""
    return [pid for pid in pids if is_alive(pid)]
