"""Hub and worker started by `submit` on the embedded default: detached processes that end when they are idle.

They are ordinary `rqflow scheduler` and `rqflow worker` processes in a session of their own, so that neither Ctrl-C nor a closed
terminal of whoever watches a run reaches them. They give way to a hub or worker that stays: see `replace`.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from rqflow import logs
from rqflow.broker.status import WorkerStatus
from rqflow.deploy import flock, statedir
from rqflow.deploy.live import Live
from rqflow.deploy.statedir import this_machine
from rqflow.settings import environment

logger = logging.getLogger(__name__)

HUB, WORKER = "hub", "worker"
#: The socket of the supervisord of a home, in the folder of its sockets.
SOCKET = "supervisor.sock"
#: Seconds that a process which is told to give way may take: a worker tells its ends and sends its logs first.
LEAVE_PATIENCE = 60.0
_COMMANDS = {HUB: ("scheduler", "--idle-exit"), WORKER: ("worker", "--idle-exit")}


@dataclass(kw_only=True, slots=True)
class Started:
    """A process that was started here."""

    name: str
    pid: int
    log: Path
    #: How it ended, as wait(2) tells; None while it runs.
    status: int | None = None

    def is_running(self) -> bool:
        """Tell whether it has not ended yet."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is None

    def failure(self) -> str:
        """Return what it said last when it has failed already; empty when it runs or has ended well."""
        if self.is_running() or not self.status:
            return ""
        last = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        return "\n".join(last) or f"exit code {os.waitstatus_to_exitcode(self.status)}"


def alive(state: Path, name: str) -> AbstractContextManager[int]:
    """Say during the block that a process of this kind lives; the kernel takes the word back however it ends."""
    return flock.held(state / f"{name}.alive", shared=True)


def is_alive(state: Path, name: str) -> bool:
    """Tell whether a process of this kind lives on this machine."""
    return flock.is_held(state / f"{name}.alive")


def replace(live: Live, name: str) -> None:
    """End the process of this kind that `submit` has started for this home, because one that stays begins here; return when it is gone.

    Else a hub that watches no folder would go on leading, and a worker would keep the work_dir, until nothing is to do for scheduler.idle_exit.
    Its tasks stay in the care of the shepherd, whatever worker.on_stop says, and are the next worker's.
    """
    if not is_alive(live.state, name):
        return
    found = [process for process in psutil.process_iter(["cmdline"]) if _is_ours(process.info["cmdline"] or (), live, name)]
    for process in found:
        logger.info("process %d, which submit has started, gives way", process.pid, extra=logs.context("replacing", pid=process.pid))
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGHUP)
    for process in psutil.wait_procs(found, timeout=LEAVE_PATIENCE)[1]:
        logger.warning("process %d does not end", process.pid, extra=logs.context("not_replaced", pid=process.pid))


def _is_ours(command: Sequence[str], live: Live, name: str) -> bool:
    """Tell whether a process has the command line that `_start` gives to this kind for this home."""
    return tuple(command[1:5]) == _program(live) and tuple(command[-2:]) == _COMMANDS[name]


def live_workers(live: Live) -> list[WorkerStatus]:
    """Return the workers that live; of this machine's those whose process exists, so that a killed one is not waited for."""
    host = this_machine().host
    return [worker for worker in live.broker.workers() if worker.host != host or psutil.pid_exists(worker.pid)]


def ensure(live: Live, config: Path | None, started: Sequence[Started] = ()) -> list[Started]:
    """Start a hub and a worker where none lives, or is kept by `rqflow up`; return those and the ones of `started` that still run.

    For the embedded default only.

    Called after a run was started, it leaves none without: one that ends looks for runs after it has said that it is gone.
    """
    running = [one for one in started if one.is_running()]
    coming = {one.name for one in running} | _kept(live)
    if HUB not in coming and not is_alive(live.state, HUB):
        running.append(_start(live, HUB, config))
    if WORKER not in coming and not (is_alive(live.state, WORKER) and _is_served(live)):
        running.append(_start(live, WORKER, config))
    return running


def _kept(live: Live) -> set[str]:
    """Return those of the two that a supervisord of this home keeps: one that it has just started has not said that it lives."""
    if not (statedir.socket_folder(live.state, statedir.this_machine()) / SOCKET).exists():
        return set()
    from rqflow.deploy import supervision  # here: most homes have none, and it takes long to import

    with suppress(supervision.NotUp):
        kept = {one.program for one in supervision.Supervision(live.settings).status() if one.state not in supervision.AT_REST}
        return {name for name, program in ((HUB, supervision.SCHEDULER), (WORKER, supervision.WORKER)) if program in kept}
    return set()


def _is_served(live: Live) -> bool:
    """Tell whether a worker lives that serves one of the queues of the settings, or one that is just beginning."""
    workers = live_workers(live)
    wanted = {queue.strip() for queue in live.settings.worker.queues.split(",")}
    return not workers or bool(wanted & {queue for worker in workers for queue in worker.queues})


def _start(live: Live, name: str, config: Path | None) -> Started:
    command = [sys.executable, *_program(live), *(["--config", str(config)] if config else []), *_COMMANDS[name]]
    log = live.state / f"{name}.log"
    files = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
             (os.POSIX_SPAWN_DUP2, 1, 2)]
    # By a shell, because posix_spawn knows no working directory; and not by subprocess, which wants its children to end before it.
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", 'cd / && exec "$@"', "sh", *command], environment(), file_actions=files, setsid=True)
    return Started(name=name, pid=pid, log=log)


def _program(live: Live) -> tuple[str, str, str, str]:
    """Return the words with which its command begins, after the interpreter."""
    return "-m", "rqflow.cli.main", "--home", str(live.settings.home)
