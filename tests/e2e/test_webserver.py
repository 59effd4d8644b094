"""rqflow webserver as a process: where it listens, what it answers while parts are away, and how it ends."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import requests

from tests.e2e.lab import Lab
from tests.profile import PATIENCE
from tests.services import OwnRedis
from tests.waiting import until


def started(lab: Lab, *options: str) -> tuple[subprocess.Popen[bytes], str]:
    """A web server, and where it listens."""
    process = lab.start("webserver", "-p", "0", *options)
    log = lab.root / f"webserver-{len(lab.processes) - 1}.log"
    until(lambda: "listening on http" in log.read_text() or process.poll() is not None, what="the web server to listen")
    found = re.search(r"listening on (\S+)", log.read_text())
    assert found, log.read_text()
    return process, found[1]


def test_it_answers_probes_and_prometheus_whatever_is_away_and_ends_in_good_order(new_lab: Callable[..., Lab], tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    server = OwnRedis(folder)
    lab = new_lab(redis_url=server.url)
    process, url = started(lab)
    try:
        assert url.startswith("http://127.0.0.1:")
        assert requests.get(f"{url}/healthz", timeout=PATIENCE).text == "ok\n"
        answer = requests.get(f"{url}/readyz", timeout=PATIENCE)
        assert (answer.status_code, {name: one["is_healthy"] for name, one in answer.json()["components"].items()}) == (503, {"db": False, "redis": False})
        # The first page that is asked for makes a SQLite database of our own.
        assert requests.get(url, timeout=PATIENCE, allow_redirects=False).headers["location"] == "/login?next=/"
        assert 'rqflow_up{component="redis"} 0.0' in requests.get(f"{url}/metrics", timeout=PATIENCE).text
        server.start()
        lab.run("db", "upgrade")
        until(lambda: requests.get(f"{url}/readyz", timeout=PATIENCE).status_code == 200, what="it to be ready")
        text = requests.get(f"{url}/metrics", timeout=PATIENCE).text
        assert 'rqflow_up{component="redis"} 1.0' in text
        assert 'rqflow_http_request_duration_seconds_count{code="200",method="GET",route="/healthz"} 1.0' in text
        assert requests.get(f"{url}/a/path/of/nobody", timeout=PATIENCE).status_code == 404
        for path in ("/healthz", "/readyz", "/metrics"):
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                answer = requests.request(method, url + path, timeout=PATIENCE)
                assert answer.status_code == 405, (method, path)
        text = requests.get(f"{url}/metrics", timeout=PATIENCE).text
        assert 'route="none"' in text
        assert "nobody" not in text
        assert f"answers on {url}" in lab.run("health", "--component", "webserver").stdout
        server.kill()
        assert requests.get(f"{url}/readyz", timeout=PATIENCE).status_code == 503
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert "none was started" in lab.run("health", "--component", "webserver", code=1).stdout
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()


def test_a_taken_port_is_said_and_the_next_one_used_and_a_reload_keeps_it_serving(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = lab.start("webserver", "--port", str(port))
        log = lab.root / "webserver-0.log"
        until(lambda: "listening on http" in log.read_text(), what="the web server to listen")
        assert f"port {port} is taken: listening on" in log.read_text()
        process.send_signal(signal.SIGHUP)
        until(lambda: log.read_text().count("listening on http") == 2, what="it to listen again")
        assert process.poll() is None
        assert "answers on http://127.0.0.1:" in lab.run("health", "--component", "webserver").stdout
        process.kill()
        process.wait()
        assert "does not answer" in lab.run("health", "--component", "webserver", code=1).stdout


def test_r75_it_is_not_shown_to_other_machines(new_lab: Callable[..., Lab]) -> None:
    """Reliability 75: the web page on an address that is no loopback is refused, with the reason."""
    refused = new_lab().run("webserver", "--host", "0.0.0.0", code=6).stderr
    assert "0.0.0.0 can be reached from other machines, and there is no user yet" in refused
    assert "rqflow user add NAME --role admin" in refused


def test_metrics_are_printed_too(new_lab: Callable[..., Lab]) -> None:
    text = new_lab().run("metrics").stdout
    assert 'rqflow_up{component="redis"} 0.0' in text
    assert "rqflow_build_info{" in text
