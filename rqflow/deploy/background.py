"""Hub and worker started by `submit` on the embedded default: detached processes that end when they are idle.

They are ordinary `rqflow scheduler` and `rqflow worker` processes in a session of their own, so that neither Ctrl-C nor a closed
terminal of whoever watches a run reaches them.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from rqflow.broker.status import WorkerStatus
from rqflow.deploy.services import Services
from rqflow.deploy.statedir import this_machine

HUB, WORKER = "hub", "worker"
_COMMANDS = {HUB: ("scheduler", "--idle-exit"), WORKER: ("worker", "--idle-exit")}


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """A process that was started here."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def failure(self) -> str:
        """Return what it said last when it has failed already; empty when it runs or has ended well."""
        if self.process.poll() in {None, 0}:
            return ""
        last = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        return "\n".join(last) or f"exit code {self.process.returncode}"


@contextmanager
def alive(state: Path, name: str) -> Iterator[None]:
    """Say during the block that a process of this kind lives; the kernel takes the word back however it ends."""
    fd = os.open(state / f"{name}.alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


def is_alive(state: Path, name: str) -> bool:
    """Tell whether a process of this kind lives on this machine."""
    fd = os.open(state / f"{name}.alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def live_workers(services: Services) -> list[WorkerStatus]:
    """Return the workers that live; of this machine's those whose process exists, so that a killed one is not waited for."""
    host = this_machine().host
    return [worker for worker in services.broker.workers() if worker.host != host or psutil.pid_exists(worker.pid)]


def ensure(services: Services, config: Path | None) -> list[Started]:
    """Start a hub and a worker where none lives; return what was started. Meant for the embedded default only."""
    started = []
    if not is_alive(services.state, HUB):
        started.append(_start(services, HUB, config))
    served = {queue for worker in live_workers(services) for queue in worker.queues}
    wanted = {queue.strip() for queue in services.settings.worker.queues.split(",")}
    if not served & wanted:
        started.append(_start(services, WORKER, config))
    return started


def _start(services: Services, name: str, config: Path | None) -> Started:
    options = ["--home", str(services.settings.home), *(["--config", str(config)] if config else [])]
    log = services.state / f"{name}.log"
    with log.open("ab") as stream:
        process = subprocess.Popen([sys.executable, "-m", "rqflow.cli.main", *options, *_COMMANDS[name]], stdin=subprocess.DEVNULL, stdout=stream,
                                   stderr=stream, cwd="/", start_new_session=True)
    return Started(name=name, process=process, log=log)
