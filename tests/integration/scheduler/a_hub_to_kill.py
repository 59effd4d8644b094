"""The stem of hubs that kill themselves: loads rqflow once and forks a real `rqflow scheduler` for each line that it reads.

A line is `THREAD NUMBER`: the hub ends by SIGKILL in that thread just before it would send its NUMBER-th command to Redis, begin its NUMBER-th
transaction or commit it, whatever of these comes; number 0 never. The answers are the hub's pid, and, for a line `wait`, how it ended.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import redis.connection
from sqlalchemy import Engine, event

from rqflow.cli.main import main
from rqflow.recorder.recorder import Recorder

#: What a dead recorder held is taken over after so many seconds: those of production by the test profile.
Recorder.__init__.__kwdefaults__["take_over_after"] = timedelta(seconds=15 / 30)


def arm(thread: str, number: int) -> None:
    """Let this process die at that point."""
    counts: Counter[str] = Counter()

    def count(*_: object) -> None:
        name = threading.current_thread().name
        counts[name] += 1
        if name == thread and counts[name] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    send = redis.connection.AbstractConnection.send_packed_command

    def counted(self: Any, *args: Any, **given: Any) -> None:
        count()
        send(self, *args, **given)

    redis.connection.AbstractConnection.send_packed_command = counted  # type: ignore[method-assign]
    event.listen(Engine, "begin", count)
    event.listen(Engine, "commit", count)


def answer(number: int) -> None:
    """Tell the test."""
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def serve() -> None:
    """Fork a hub for each line."""
    hub = 0
    for line in sys.stdin:
        if line.strip() == "wait":
            answer(os.waitstatus_to_exitcode(os.waitpid(hub, 0)[1]))
            continue
        thread, _, number = line.strip().rpartition(" ")
        hub = os.fork()
        if hub == 0:
            arm(thread, int(number))
            sys.argv = ["rqflow", "scheduler"]
            main()
            os._exit(0)
        answer(hub)


if __name__ == "__main__":
    serve()
