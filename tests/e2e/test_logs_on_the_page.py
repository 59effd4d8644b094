"""Logs as the web server of a real hub gives them: while tasks run, when they are killed, when their machines are gone, and very long ones."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.e2e.lab import Lab, tasks
from tests.profile import PATIENCE
from tests.waiting import until

MB = 1 << 20


class Pages:
    """A web server of a lab, and somebody who has a token for it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.process: subprocess.Popen[bytes] = lab.start("webserver", "-p", "0")
        said = lab.root / f"webserver-{len(lab.processes) - 1}.log"
        until(lambda: "listening on http" in said.read_text() or self.process.poll() is not None, what="the web server to listen")
        found = re.search(r"listening on (\S+)", said.read_text())
        assert found, said.read_text()
        self.url = found[1]
        lab.run("user", "add", "ann", "--role", "viewer", "--no-password")
        self.client = requests.Session()
        self.client.headers["Authorization"] = f"Bearer {lab.run('token', 'create', 'test', '--user', 'ann').stdout.split()[-1]}"

    def get(self, path: str, **query: Any) -> requests.Response:
        """What it answers, which must be well."""
        answer = self.client.get(self.url + path, params=query, timeout=PATIENCE)
        assert answer.status_code == 200, (path, answer.status_code, answer.text[:500])
        return answer

    def log(self, run: dict[str, Any], task_id: str, number: int = 1) -> str:
        """The path of a log."""
        return f"/runs/{run['run_key']}/logs/{task_id}/{number}"

    @property
    def memory(self) -> int:
        """Bytes that the server has in memory."""
        return int(psutil.Process(self.process.pid).memory_info().rss)


@pytest.fixture
def pages(new_lab: Callable[..., Lab], lab_redis: str) -> Pages:
    lab = new_lab(redis_url=lab_redis)
    lab.hub()
    return Pages(lab)


def test_r51_r52_r53_logs_are_read_live_after_a_kill_and_after_their_machines_are_gone(pages: Pages) -> None:
    lab = pages.lab
    run_id = lab.submit(lab.dag("""
        from datetime import timedelta
        from rqflow import DAG, BashOperator
        with DAG("moving"):
            BashOperator(task_id="a", bash_command="echo try $RQFLOW_TRY; [ $RQFLOW_TRY = 3 ]", retries=2, retry_delay=timedelta(seconds=0))
            BashOperator(task_id="live", bash_command="for i in 1 2 3 4 5 6 7 8; do date +%s.%N; sleep 0.3; done; kill -9 0", queue="other")
    """))
    lab.worker("-Q", "other", work_dir="living")
    run = lab.show(run_id)
    late = []
    with pages.client.get(f"{pages.url}{pages.log(run, 'live')}/stream", stream=True, timeout=PATIENCE) as answer:
        for raw in answer.iter_lines():
            line = raw.decode()
            late += [time.time() - float(at) for at in re.findall(r">(\d{10}\.\d+)</span>", line.replace('\\"', '"'))] if line.startswith("data:") else []
            if line == "event: end":
                break
    assert len(late) == 8
    assert max(late) < 3
    for number in range(3):
        worker = lab.worker("--max-tasks", "1", work_dir=f"machine{number}")
        assert worker.wait(PATIENCE) == 0, lab.logs()
        shutil.rmtree(lab.root / f"machine{number}")
    run = lab.finish(run_id)
    assert len({one["worker"] for one in tasks(run)["a"]["tries"]}) == 3
    for number in range(1, 4):
        page = pages.get(pages.log(run, "a", number)).text
        assert f">try {number}</span>" in page
        assert page.count('class="log-tries"') == 1
    lines = pages.get(pages.log(run, "live"), format="text").text.splitlines()
    assert len(lines) == 9
    assert "signal 9" in lines[-1] or "SIGKILL" in lines[-1]
    assert "killed by SIGKILL after" in pages.get(pages.log(run, "live")).text


def test_r54_a_log_of_a_gigabyte_takes_little_memory(pages: Pages) -> None:
    lab = pages.lab
    lab.worker()
    run = lab.finish(lab.submit(lab.dag("""
        from rqflow import DAG, BashOperator
        with DAG("long"):
            BashOperator(task_id="a", bash_command="echo short")
    """)))
    url = pages.log(run, "a")
    for path in (url, f"{url}/search?q=short", f"{url}/search?errors=true", f"{url}/raw"):
        pages.get(path)
    file = lab.services.settings.logs.folder
    found = next(Path(file).rglob("1.log"))
    found.chmod(0o640)
    lines = b"".join(b"2026-01-01 12:00:00 INFO step %07d, and nothing to see here, all is well and goes on\n" % number for number in range(100_000))
    with found.open("wb") as stream:
        for _ in range(1000 * MB // len(lines)):
            stream.write(lines)
        stream.write(b"x" * (50 * MB) + b"\nERROR <script>last</script>\n")
    before = pages.memory
    began = time.monotonic()
    page = pages.get(url)
    took = time.monotonic() - began
    assert len(page.content) < 2_000_000
    assert "ERROR &lt;script&gt;last&lt;/script&gt;" in page.text
    size = found.stat().st_size
    long_line = pages.get(url, format="json", before=size - 28).json()
    assert [line["left_out"] for line in long_line["lines"]] == [50 * MB - 4096]
    assert len(pages.get(url, format="block", line=5_000_000).content) < 2_000_000
    until(lambda: pages.get(f"{url}/number", at=long_line["start"]).json()["line"], what="the lines to be counted")
    pages.get(f"{url}/search", q="not in there")
    pages.get(f"{url}/search", errors=True)
    with pages.client.get(f"{pages.url}{url}/raw?plain=1", stream=True, timeout=PATIENCE) as answer:
        assert sum(map(len, answer.iter_content(MB))) == size
    found.unlink()
    assert pages.memory - before < 50 * MB
    assert took < 1
