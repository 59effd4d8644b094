from __future__ import annotations

import os
import select
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from rqflow.worker.shepherd_client import ShepherdClient
from rqflow.worker.shepherd_protocol import Ended, Start
from tests.profile import KILL_GRACE, PATIENCE
from tests.waiting import until

#: Seconds that a shepherd of these tests outlives its last task and client.
LINGER = 1.0
PATH = os.environ["PATH"]


def is_alive(pid: int) -> bool:
    """Tell whether `pid` runs, zombies not counted."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


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
