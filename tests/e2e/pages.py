"""The web server of a lab, asked as its pages ask it."""

from __future__ import annotations

import re
import subprocess
import time
from contextlib import nullcontext
from typing import Any

import psutil
import requests

from tests.e2e.lab import Lab
from tests.network import Host
from tests.profile import PATIENCE
from tests.waiting import until


class Pages:
    """A web server of a lab, and somebody who has a token for it."""

    def __init__(self, lab: Lab, *, host: Host | None = None, role: str = "viewer") -> None:
        """Start it; with `host` on that machine, from which alone it is reached."""
        self.lab, self._host = lab, host
        self.process: subprocess.Popen[bytes] = lab.start("webserver", "-p", "0")
        said = lab.root / f"webserver-{len(lab.processes) - 1}.log"
        until(lambda: "listening on http" in said.read_text() or self.process.poll() is not None, what="the web server to listen")
        found = re.search(r"listening on (\S+)", said.read_text())
        assert found, said.read_text()
        self.url = found[1]
        lab.run("user", "add", "ann", "--role", role, "--no-password")
        self.client = requests.Session()
        self.client.headers["Authorization"] = f"Bearer {lab.run('token', 'create', 'test', '--user', 'ann').stdout.split()[-1]}"

    def ask(self, method: str, path: str, **given: Any) -> requests.Response:
        """What it answers."""
        with self._host.inside() if self._host else nullcontext():
            return self.client.request(method, self.url + path, timeout=PATIENCE, **given)

    def get(self, path: str, **query: Any) -> requests.Response:
        """What it answers, which must be well."""
        answer = self.ask("GET", path, params=query)
        assert answer.status_code == 200, (path, answer.status_code, answer.text[:500])
        return answer

    def log(self, run: dict[str, Any], task_id: str, number: int = 1) -> str:
        """The path of a log."""
        return f"/runs/{run['run_key']}/logs/{task_id}/{number}"

    def follow(self, path: str) -> list[tuple[str, float]]:
        """Follow a log as its page does, to its end; return each line that has a moment in it (`date +%s.%N`), and how many seconds after that it came."""
        found: list[tuple[str, float]] = []
        with self.ask("GET", f"{path}/stream", stream=True) as answer:
            for raw in answer.iter_lines():
                line = raw.decode().replace('\\"', '"')
                if line.startswith("data:"):
                    now = time.time()
                    found += [(text, now - float(at)) for text, at in re.findall(r'class="log-text"[^>]*>([^<]*?(\d{10}\.\d+)[^<]*)</span>', line)]
                if line == "event: end":
                    return found
        raise AssertionError(f"the stream ended without an end: {found}")

    @property
    def memory(self) -> int:
        """Bytes that the server has in memory."""
        return int(psutil.Process(self.process.pid).memory_info().rss)
