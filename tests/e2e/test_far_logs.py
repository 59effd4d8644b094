"""Logs of far workers on their way through ssh (reliability 51, 52, 56), and what a doctor says there (72)."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import make_url

from tests.e2e.far import PASSWORD, Far, Hub
from tests.e2e.lab import Lab, states, tasks
from tests.e2e.pages import Pages
from tests.e2e.wrong_clocks import wrong
from tests.network import Network
from tests.profile import LIVE, NOISE, PATIENCE
from tests.waiting import until

# One world a test, on a machine that others load.
pytestmark = pytest.mark.timeout(240)
#: Seconds of the way to the hub.
DELAY = 0.05
#: What tells of one link more than a heartbeat: a bit a second.
NARROW = 100
#: Times that go with the rate, which is not scaled: the lease is an eighth, all others are the defaults.
NARROW_LEASE = 8.0
UNSCALED = {"RQFLOW__REDIS__SOCKET_TIMEOUT": "10s", "RQFLOW__TUNNELS__CONNECT_TIMEOUT": "10s", "RQFLOW__TUNNELS__PROBE_TIMEOUT": "10s",
            "RQFLOW__TUNNELS__SERVER_ALIVE": "15s", "RQFLOW__WORKER__LEASE": f"{NARROW_LEASE}s", "RQFLOW__WORKER__HEARTBEAT": "1s"}
CHECKS = {"tunnel hub", "tunnel hub: redis", "tunnel hub: database", "redis", "database", "clock", "releases", "disk"}


@pytest.fixture
def hub(network: Network, new_lab: Callable[..., Lab]) -> Hub:
    """A hub with a scheduler."""
    made = Hub(network, new_lab)
    made.lab.hub()
    return made


def test_r51_a_line_of_a_far_worker_is_seen_within_three_seconds(hub: Hub) -> None:
    """Reliability 51: on the page of the log, and by somebody on the hub who follows it, from a machine that nobody can dial, over a link with a delay."""
    far, lab = Far(hub, "worker"), hub.lab
    hub.network.relay(far.host, hub.host).delay(DELAY)
    far.dial()
    far.work()
    run_id = lab.submit(lab.dag(f"""
        from rqflow import DAG, BashOperator
        with DAG("talking"):
            BashOperator(task_id="a", bash_command="n=0; while [ ! -e go ]; do if [ -e line.$n ]; then echo line $n; date +%s.%N; n=$((n+1)); fi; sleep 0.05; done",
                         cwd={str(lab.folder)!r})
    """))
    until(lambda: states(lab.show(run_id))["a"] == "running", what="the task to run")
    (lab.folder / "line.0").touch()
    follower = lab.start("task", "logs", run_id, "a", "-f", name="followed")
    out = next(lab.root.glob("followed-*.log"))
    until(lambda: b"line 0" in out.read_bytes(), what="the follower to begin")
    pages = Pages(lab, host=hub.host)
    log = pages.log(lab.show(run_id), "a")
    assert ">line 0</span>" in pages.get(log).text
    with ThreadPoolExecutor(1) as tab:
        page = tab.submit(pages.follow, log)
        for number in range(1, 4):
            (lab.folder / f"line.{number}").touch()
            until(lambda: f"line {number}\n".encode() in out.read_bytes(), patience=LIVE + NOISE, what="the line")  # noqa: B023 (called before the next turn)
        (lab.folder / "go").touch()
        assert follower.wait(PATIENCE) == 0
        seen = [late for _, late in page.result(PATIENCE)]
    assert len(seen) == 4
    # The first was there before the page was opened.
    assert sorted(seen[1:])[1] < LIVE, seen
    assert max(seen[1:]) < LIVE + NOISE, seen
    assert [line for line in out.read_text().splitlines() if line.startswith("line")] == [f"line {number}" for number in range(4)]


def test_r52_logs_of_tries_on_three_machines_are_there_when_the_machines_are_gone(hub: Hub) -> None:
    """Reliability 52: each machine loses power, and its disk, as soon as its try has ended."""
    lab, names = hub.lab, ["one", "two", "three"]
    run_id = lab.submit(lab.dag("""
        from datetime import timedelta
        from rqflow import DAG, BashOperator
        with DAG("moving"):
            BashOperator(task_id="a", bash_command="echo try $RQFLOW_TRY on $(hostname); [ $RQFLOW_TRY = 3 ]", retries=2, retry_delay=timedelta(0))
    """))
    for name in names:
        far = Far(hub, name)
        far.dial()
        assert far.work("--max-tasks", "1").wait(PATIENCE) == 0, far.lab.logs()
        far.host.power_cut()
        shutil.rmtree(far.work_dir)
        shutil.rmtree(far.lab.home)
    run = lab.finish(run_id)
    assert [one["host"] for one in tasks(run)["a"]["tries"]] == names
    for number, name in enumerate(names, 1):
        assert lab.task_log(run_id, "a", "--try", str(number)).splitlines()[0] == f"try {number} on {name}"


def test_r56_a_log_over_100_kbit_a_second_delays_no_heartbeat_and_no_result(network: Network, new_lab: Callable[..., Lab]) -> None:
    """Reliability 56: all goes through one ssh, whose link the task that never stops talking would fill for half a minute at once."""
    hub = Hub(network, new_lab, environ=UNSCALED)
    far, lab = Far(hub, "worker", environ={"RQFLOW__WORKER__MAX_LOG_SIZE": "600K", **UNSCALED}), hub.lab
    lab.hub()
    far.dial()
    far.work()
    hub.network.limit(far.host, NARROW)
    others = {f"t{number}": f"sleep {number * 5}" for number in range(3)}
    lines = "".join(f"            BashOperator(task_id={name!r}, bash_command={command!r}, cwd={str(lab.folder)!r})\n" for name, command in {
        "talks": "while [ ! -e go ]; do head -c 20000 /dev/zero | tr '\\0' x; echo; sleep 0.05; done", **others}.items())
    run_id = lab.submit(lab.dag(f"""
        from rqflow import DAG, BashOperator
        with DAG("talking"):
{lines}"""))
    unreachable: list[str] = []

    def look() -> bool:
        found = tasks(lab.show(run_id))
        unreachable.extend(name for name, task in found.items() if task["unreachable_since"])
        return all(found[name]["state"] == "success" for name in others)

    until(look, patience=2 * PATIENCE, what="the other tasks to end while one talks")
    found = tasks(lab.show(run_id))
    assert (found["talks"]["state"], unreachable) == ("running", []), far.lab.logs()
    assert all(found[name]["duration"] < number * 5 + NARROW_LEASE / 2 for number, name in enumerate(others)), found
    hub.network.heal()
    (lab.folder / "go").touch()
    assert lab.finish(run_id)["state"] == "success"
    until(lambda: "rqflow: exit code 0" in lab.task_log(run_id, "talks"), what="the log to be whole")
    log = lab.task_log(run_id, "talks")
    assert re.search(r"\nrqflow: \d+ bytes of this log are left out here \(worker\.max_log_size\)\n", log)
    assert len(log) < 620_000
    assert far.lab.logs().count("up\n") == 1, "the link was never taken for a dead one"


def test_r72_a_doctor_on_a_worker_looks_at_each_part_of_its_way_to_the_hub(network: Network, new_lab: Callable[..., Lab], mariadb_database: str) -> None:
    """Reliability 72: ssh, forwards, PING, SELECT 1, clock, versions, disk, one line each; a clock that is off, and a link that is cut, are told."""
    hub = Hub(network, new_lab, database_url=mariadb_database)
    hub.lab.run("db", "upgrade")
    hub.lab.hub()
    url = make_url(mariadb_database)
    far = Far(hub, "worker", line=f"-L hub redis database={url.query['unix_socket']}",
              environ={"RQFLOW__DATABASE__URL": f"mysql+tunnel://root@hub/{url.database}"})
    far.dial()
    far.work()
    lines = far.lab.run("doctor", "-o", "json").stdout
    found = {one["check"]: one for one in json.loads(lines)}
    assert len(json.loads(lines)) == len(found), "one line each"
    assert {name: found[name]["verdict"] for name in CHECKS} == dict.fromkeys(CHECKS, "ok"), found
    assert "answers through it in" in found["tunnel hub: redis"]["detail"]
    assert "answers through it in" in found["tunnel hub: database"]["detail"]
    assert PASSWORD not in lines
    _, off = wrong(far.lab, -600)
    found = {one["check"]: one for one in json.loads(far.lab.run("doctor", "-o", "json", environ=off).stdout)}
    assert found["clock"]["verdict"] == "warning"
    assert re.search(r"it is (59\d|60\d)\.\d s (behind|before) that of Redis", found["clock"]["detail"]), found["clock"]
    network.cut(far.host, hub.host)
    until(lambda: far.link() == "no answer", what="the cut to be noticed")
    found = {one["check"]: one for one in json.loads(far.lab.run("doctor", "-o", "json", code=1).stdout)}
    assert (found["tunnel hub"]["verdict"], found["redis"]["verdict"], found["database"]["verdict"]) == ("problem", "problem", "problem")
    assert " since 20" in found["tunnel hub"]["detail"]
    assert found["tunnel hub"]["remedy"]
