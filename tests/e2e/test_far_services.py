"""Workers on far machines as services (reliability 15 to 18): boots without a link, restarts under tasks, drain and stop from the hub."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rqflow.broker import lock
from tests.e2e.evidence import a_dag, began, words
from tests.e2e.far import Far, Hub
from tests.e2e.lab import Lab, alive, states, tasks
from tests.network import Network
from tests.profile import KILL_GRACE, PATIENCE
from tests.waiting import until

# One world a test, on a machine that others load.
pytestmark = pytest.mark.timeout(240)
#: Seconds without the hub from the boot on (half an hour in reliability.md, and this is what a test can wait), and until all works after that.
AWAY, RECOVERED = 3.0, 60.0
GATE = "while [ ! -e go.$RQFLOW_TASK_ID ]; do sleep 0.05; done; echo $RQFLOW_TASK_ID >> ended"


@pytest.fixture
def hub(network: Network, new_lab: Callable[..., Lab]) -> Hub:
    """A hub, on which Redis and sshd run."""
    return Hub(network, new_lab)


@pytest.fixture
def services(hub: Hub) -> Iterator[Far]:
    """A machine whose worker and tunnel are services of `rqflow up worker`, to be started by the test."""
    made = Far(hub, "worker", environ={"RQFLOW__WORKER__SLOTS": "8"})
    yield made
    made.lab.run("down")


def standing(lab: Lab) -> dict[str, dict[str, Any]]:
    """Return what `rqflow status` says of each program."""
    return {one["program"]: one for one in json.loads(lab.run("status", "-o", "json", code=None).stdout)}


def test_r15_r16_r18_services_that_boot_without_a_hub_recover_and_their_restarts_end_no_task(hub: Hub, services: Far) -> None:
    """Reliability 3, 15, 16, 18.

    From the boot on there is no Redis, and no sshd; tunnel, worker and scheduler wait, and work within 60 s afterwards. Then the services are restarted
    by supervisord, and the worker alone as systemd does it with KillMode=process, under a long task; and twice in a row under load.
    """
    lab = hub.lab
    hub.host.power_cut()
    scheduler = lab.hub()
    services.lab.run("up", "worker")
    time.sleep(AWAY)
    before = standing(services.lab)
    assert {name: before[name]["state"] for name in ("tunnel-hub", "worker")} == {"tunnel-hub": "RUNNING", "worker": "RUNNING"}
    assert before["tunnel-hub"]["link"] == "connection refused"
    assert scheduler.poll() is None
    hub.serve()
    # The scheduler makes the tables when it recovers.
    until(lambda: lab.run("db", "check", code=None).returncode == 0, patience=RECOVERED, what="the scheduler to recover by itself")
    until(lambda: lab.workers() and lock.has_leader(lab.services.connection), patience=RECOVERED, what="the worker to recover by itself")
    after = standing(services.lab)
    assert [after[name]["pid"] for name in ("tunnel-hub", "worker")] == [before[name]["pid"] for name in ("tunnel-hub", "worker")]

    long = lab.submit(a_dag(lab, f"task('long', {GATE!r})", dag_id="lasting"))
    pids = until(lambda: began(lab, "long"), what="the task to start")
    services.lab.run("restart", "worker", "tunnel-hub")
    again = standing(services.lab)
    assert {again[name]["pid"] for name in ("tunnel-hub", "worker")} & {after[name]["pid"] for name in ("tunnel-hub", "worker")} == set()
    os.kill(again["worker"]["pid"], signal.SIGTERM)  # what systemd does: it alone is told, and started anew
    until(lambda: standing(services.lab)["worker"]["pid"] not in {None, again["worker"]["pid"]}, what="the worker to be started anew")
    count = 20
    run_id = lab.submit(a_dag(lab, f"[task(f't{{n}}', 'sleep 0.5; ' + END) for n in range({count})]", dag_id="load"))
    for number in (2, 6):
        until(lambda: len(words(lab, "ended")) > number, what="some tasks to end")  # noqa: B023 (called before the next turn)
        services.lab.run("restart")
    run = lab.finish(run_id)
    assert alive(pids)
    (lab.folder / "go.long").touch()
    for found in (run, lab.finish(long)):
        assert (found["state"], {len(task["tries"]) for task in found["tasks"]}) == ("success", {1}), services.lab.logs()
    assert sorted(words(lab, "ended")) == sorted([["long"], *([f"t{n}"] for n in range(count))])
    assert words(lab, "doubled") == []


def test_r17_a_far_worker_drains_and_stops_when_the_hub_says_so(hub: Hub) -> None:
    """Reliability 17: drained, it takes nothing new and ends by 0; stopped, its group is dead, and the task begins again and has lost no retry."""
    lab, far = hub.lab, Far(hub, "worker")
    lab.hub()
    far.dial()
    worker = far.work("-n", "1")
    run_id = lab.submit(a_dag(lab, f"task('first', {GATE!r}) >> task('then', {GATE!r})"))
    until(lambda: began(lab, "first"), what="the task to start")
    name = lab.json("worker", "list")[0]["name"]
    lab.run("worker", "drain", name)
    until(lambda: lab.json("worker", "list")[0]["state"] == "draining", what="the worker to have heard it, through the tunnel")
    (lab.folder / "go.first").touch()
    assert worker.wait(PATIENCE) == 0, far.lab.logs()
    until(lambda: states(lab.show(run_id)) == {"first": "success", "then": "queued"}, what="the next task to wait")
    assert began(lab, "then") == []
    worker = far.work("-n", "1")
    pids = until(lambda: began(lab, "then"), what="the task to start")
    name = lab.json("worker", "list")[0]["name"]
    told = time.monotonic()
    lab.run("worker", "stop", name, "--now")
    until(lambda: not alive(pids), what="the task to be dead")
    assert time.monotonic() - told < KILL_GRACE + 2 + PATIENCE / 4  # a command takes seconds where others work too
    assert worker.wait(PATIENCE) == 0, far.lab.logs()
    found = tasks(lab.show(run_id))["then"]
    assert (found["state"], found["max_tries"]) == ("queued", 1)
    (lab.folder / "go.then").touch()
    far.work()
    run = lab.finish(run_id)
    assert (run["state"], words(lab, "doubled")) == ("success", [])
    assert (tasks(run)["then"]["try_number"], len(began(lab, "then"))) == (1, 2)
