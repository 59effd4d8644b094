"""All services of a machine under supervisord: rqflow up, down, restart, status, and the control script."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import psutil
import pytest
import requests

from tests.e2e.lab import COMMAND, Lab, alive, states
from tests.processes import matching
from tests.profile import PATIENCE
from tests.waiting import is_alive, until

ROOT = Path(__file__).parents[2]
CONTROL = ROOT / "scripts" / "rqflowctl"
HELD = """
from rqflow import DAG, BashOperator
with DAG("held"):
    BashOperator(task_id="a", bash_command="echo $$ >> {folder}/began; while [ ! -e {folder}/go ]; do sleep 0.05; done")
"""


@pytest.fixture
def up(new_lab: Callable[..., Lab]) -> Iterator[Lab]:
    """A lab on the embedded default whose services were started."""
    lab = new_lab()
    lab.run("up")
    yield lab
    lab.run("down")


def standing(lab: Lab, code: int = 0) -> dict[str, dict[str, Any]]:
    return {one["program"]: one for one in json.loads(lab.run("status", "-o", "json", code=code).stdout)}


def control(lab: Lab, *words: str, code: int = 0) -> str:
    """Run the control script."""
    command = lab.root / "rqflow"
    command.write_text(f"#!/bin/sh\nexec {' '.join(COMMAND)} \"$@\"\n")
    command.chmod(0o755)
    done = subprocess.run([CONTROL, *words], env={**lab.environ, "RQFLOW": str(command)}, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_one_command_starts_all_and_a_program_that_is_killed_comes_back(up: Lab) -> None:
    before = standing(up)
    assert {name: one["state"] for name, one in before.items()} == {
        "redis": "RUNNING", "scheduler": "RUNNING", "worker": "RUNNING", "webserver": "RUNNING"}
    up.run("submit", up.dag("""
from rqflow import DAG, BashOperator
with DAG("quick"):
    BashOperator(task_id="a", bash_command="true")
"""), "--run", "--follow")
    os.kill(before["scheduler"]["pid"], signal.SIGKILL)
    again = until(lambda: (now := standing(up, code=None)["scheduler"])["state"] == "RUNNING" and now["pid"] != before["scheduler"]["pid"] and now,  # type: ignore[arg-type]
                  what="the scheduler to be started again")
    up.run("up")
    assert standing(up)["scheduler"]["pid"] == again["pid"], "what runs is left alone"
    assert standing(up)["worker"]["pid"] == before["worker"]["pid"]


def test_those_that_submit_started_give_way_at_once_and_end_no_task(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab()
    lab.environ["RQFLOW__WORKER__ON_STOP"] = "kill"
    run_id = lab.submit(lab.dag(HELD.replace("{folder}", str(lab.folder))))
    began = lab.folder / "began"
    until(lambda: began.exists() and began.read_text(), what="the task to run")
    passing = matching(lambda process: {"--idle-exit", str(lab.home)} <= set(process.cmdline()))
    assert len(passing) == 2
    assert "another worker uses" in lab.run("worker", "--burst", code=5).stderr
    assert all(process.is_running() for process in passing), "for one that ends soon nobody gives way: later tries would wait for nobody"
    try:
        lab.run("up")
        assert {name: one["state"] for name, one in standing(lab).items()} == {
            "redis": "RUNNING", "scheduler": "RUNNING", "worker": "RUNNING", "webserver": "RUNNING"}
        until(lambda: not any(process.is_running() for process in passing), what="them to have given way")
        (lab.folder / "go").touch()
        assert states(lab.finish(run_id)) == {"a": "success"}
        assert len(began.read_text().splitlines()) == 1, "the task was begun once"
    finally:
        lab.run("down")


def test_a_restart_of_all_ends_no_task(up: Lab) -> None:
    run_id = up.submit(up.dag(HELD.replace("{folder}", str(up.folder))))
    began = up.folder / "began"
    until(lambda: began.exists() and began.read_text(), what="the task to run")
    before = standing(up)
    up.run("restart")
    after = standing(up)
    assert not {one["pid"] for one in before.values()} & {one["pid"] for one in after.values()}
    (up.folder / "go").touch()
    assert states(up.finish(run_id)) == {"a": "success"}
    assert len(began.read_text().split()) == 1


def test_a_restart_from_a_new_installation_runs_that_one_and_ends_no_task(up: Lab, tmp_path: Path) -> None:
    """The upgrade of docs/how-to/upgrade.md: a new virtual environment, the link to it is switched, restart."""
    run_id = up.submit(up.dag(HELD.replace("{folder}", str(up.folder))))
    until(lambda: (up.folder / "began").exists(), what="the task to run")
    new = tmp_path / "new"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", new], check=True)
    (site,) = new.glob("lib/python*/site-packages")
    (site / "as_before.pth").write_text("\n".join(path for path in (str(ROOT), *sys.path) if path))
    command = [str(new / "bin" / "python"), "-m", "rqflow.cli.main", "restart"]
    subprocess.run(command, env=up.environ, check=True, capture_output=True, timeout=120, cwd="/")
    after = standing(up)
    assert {one["state"] for one in after.values()} == {"RUNNING"}
    assert all(psutil.Process(one["pid"]).cmdline()[0] == str(new / "bin" / "python") for one in after.values())
    (up.folder / "go").touch()
    assert states(up.finish(run_id)) == {"a": "success"}
    assert len((up.folder / "began").read_text().split()) == 1


def test_a_stop_of_all_ends_no_task_and_leaves_nothing_else(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab()
    lab.run("up")
    run_id = lab.submit(lab.dag(HELD.replace("{folder}", str(lab.folder))))
    began = lab.folder / "began"
    until(lambda: began.exists() and began.read_text(), what="the task to run")
    lab.run("down")
    assert alive([int(began.read_text())])
    assert "not up" in lab.run("status", code=1).stderr
    assert "not up" in lab.run("down").stderr, "it may be said again"
    (lab.folder / "go").touch()
    lab.run("up")
    assert states(lab.finish(run_id)) == {"a": "success"}
    lab.run("down")
    until(lambda: not [one for one in lab.belongings() if is_alive(one)], patience=2 * PATIENCE, what="all to be gone")


def test_nothing_is_given_up_while_redis_is_away(new_lab: Callable[..., Lab], tmp_path: Path) -> None:
    lab = new_lab(redis_url=f"unix://{tmp_path}/none.sock")
    try:
        lab.run("up", code=None)
        found = standing(lab, code=None)  # type: ignore[arg-type]
        assert set(found) == {"scheduler", "worker", "webserver"}, "there is no private Redis"
        assert {one["state"] for one in found.values()} == {"RUNNING"}, "they wait for it"
    finally:
        lab.run("down")


def test_single_programs_are_steered_and_unknown_ones_named(up: Lab) -> None:
    assert lab_state(up, "down", "worker") == {"worker": "STOPPED"}
    assert {name: one["state"] for name, one in standing(up).items() if one["state"] != "RUNNING"} == {"worker": "STOPPED"}
    assert lab_state(up, "up", "worker") == {"worker": "RUNNING"}
    assert "There are redis, scheduler, worker, webserver" in up.run("restart", "page", code=3).stderr


def lab_state(lab: Lab, *words: str) -> dict[str, str]:
    return {one["program"]: one["state"] for one in lab.json(*words)}


@pytest.mark.timeout(240)  # all is started four times, on a busy machine
def test_the_control_script_takes_the_words_of_those_used_to_it(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab()
    try:
        control(lab, "-S")
        first = standing(lab)
        control(lab, "-S", "TRUE")
        assert standing(lab) == first
        assert "RUNNING" in control(lab, "status")
        control(lab, "-a", "TRUE")
        assert standing(lab)["worker"]["pid"] != first["worker"]["pid"]
        before = standing(lab)
        control(lab, "-s", "TRUE")
        after = standing(lab)
        assert {name for name, one in after.items() if one["pid"] != before[name]["pid"]} == {"webserver"}
        control(lab, "stop", "worker")
        assert standing(lab)["worker"]["state"] == "STOPPED"
        assert "rqflowctl -S" in control(lab, "-S", "FALSE", code=2)
        assert "rqflowctl -S" in control(lab, code=2)
    finally:
        control(lab, "stop")
    assert "not up" in control(lab, "status", code=1)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_at_a_terminal_it_says_where_the_page_is_and_how_to_log_in(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab()
    child = pexpect.spawn(COMMAND[0], [*COMMAND[1:], "up"], env=lab.environ, encoding="utf-8", timeout=PATIENCE)
    try:
        child.expect(r"The page: (http://127\.0\.0\.1:\d+)")
        assert child.match
        url = child.match[1]
        child.expect("Nobody can log in yet: `rqflow user setup-link`")
        child.expect(pexpect.EOF)
        port = int(url.rpartition(":")[2])
        until(lambda: listens(port), what="the web server to listen")
        assert "There is no user yet" in requests.get(f"{url}/login", timeout=PATIENCE).text
    finally:
        child.close()
        lab.run("down")
