"""The link between a hub and a far worker breaks, by real ssh between machines (reliability 1, 3, 5 to 9, 22, 23)."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.evidence import a_dag, began, reboot, words
from tests.e2e.far import FAULTS, Far, Hub, mend
from tests.e2e.lab import Lab, alive, states, tasks
from tests.network import Network
from tests.profile import GRACE, LEASE, PATIENCE
from tests.waiting import until

#: Seconds for which a link is down (60 s in reliability.md), and within which what ended meanwhile is recorded, or a new task begins.
DOWN, RECORDED, TAKEN = 60 / 30, 15.0, 20.0
# One world a test, on a machine that others load.
pytestmark = pytest.mark.timeout(240)
GATE = "while [ ! -e go.$RQFLOW_TASK_ID ]; do sleep 0.05; done; echo $RQFLOW_TASK_ID >> ended"


@pytest.fixture
def far(network: Network, new_lab: Callable[..., Lab]) -> Far:
    """A hub with a scheduler, and a machine whose tunnel is up."""
    hub = Hub(network, new_lab)
    hub.lab.hub()
    made = Far(hub, "worker")
    made.dial()
    return made


def within(seconds: float, condition: Callable[[], object], what: str) -> None:
    """See that something is so after so many seconds at most."""
    until(condition, patience=seconds, what=f"{what} within {seconds:g} s")


def tries_of(run: dict[str, Any]) -> dict[str, list[str]]:
    """Return the states of the tries of each task."""
    return {task["task_id"]: [one["state"] for one in task["tries"]] for task in run["tasks"]}


@pytest.mark.parametrize("fault", FAULTS)
def test_r05_r06_r07_r09_r22_r23_a_link_that_breaks_under_tasks_costs_nothing_and_is_told_meanwhile(far: Far, fault: str) -> None:
    """Reliability 3, 5, 6, 7, 9, 22, 23: tasks go on, end and are cancelled while the link is down; then what was idle takes work, and obeys."""
    lab = far.hub.lab
    worker = far.work()
    run_id = lab.submit(a_dag(lab, f"[task(name, {GATE!r}) for name in ('goes_on', 'ends')]"))
    other = lab.submit(a_dag(lab, f"task('unwanted', {GATE!r})", dag_id="other"))
    until(lambda: len(words(lab, "began")) == 3, what="the tasks to start")
    FAULTS[fault](far)
    down = time.monotonic()
    (lab.folder / "go.ends").touch()
    lab.run("run", "cancel", other)
    seen = until(lambda: (found := tasks(lab.show(run_id))["goes_on"])["unreachable_since"] and found, what="it to be unreachable")
    shown = lab.run("run", "show", run_id).stdout
    assert f"unreachable since {seen['unreachable_since']:.19}".replace("T", " ") in shown
    assert "still assumed running" in shown
    unwanted = tasks(lab.show(other))["unwanted"]
    assert (unwanted["state"], unwanted["cancel_requested"]) == ("running", True)
    assert alive(began(lab, "unwanted"))
    until(lambda: ["ends"] in words(lab, "ended"), what="a task to end meanwhile")
    assert states(lab.show(run_id)) == {"goes_on": "running", "ends": "running"}
    until(lambda: time.monotonic() - down > DOWN, what="some time without a link")
    mend(far, fault)
    within(RECORDED, lambda: states(lab.show(run_id))["ends"] == "success", "the end to be recorded")
    within(RECORDED, lambda: states(lab.show(other))["unwanted"] == "cancelled", "the cancel to be carried out")
    (lab.folder / "go.goes_on").touch()
    run = lab.finish(run_id)
    assert {name: len(task["tries"]) for name, task in tasks(run).items()} == {"goes_on": 1, "ends": 1}
    assert run["state"] == "success"

    FAULTS[fault](far)  # now under an idle worker
    idle = lab.submit(a_dag(lab, f"task('next', {GATE!r})", dag_id="idle"))
    time.sleep(DOWN)
    mend(far, fault)
    within(TAKEN, lambda: began(lab, "next"), "new work to be taken")
    lab.run("run", "cancel", idle)
    assert states(lab.finish(idle)) == {"next": "cancelled"}
    assert (worker.poll(), words(lab, "doubled")) == (None, []), far.lab.logs()


def test_r01_r07_workers_and_tunnels_that_are_killed_while_the_link_is_down_lose_nothing(far: Far) -> None:
    """Reliability 1, 3, 7: worker and tunnel are killed by -9, with and without a link; what ran is taken over, what ended meanwhile is told."""
    lab, network = far.hub.lab, far.hub.network
    worker, tunnel = far.work(), far.lab.processes[0]
    scripts = {name: f"echo {name} says one; {GATE}; echo {name} says two" for name in ("adopted", "ended")}
    run_id = lab.submit(a_dag(lab, f"[task(name, script) for name, script in {scripts!r}.items()]"))
    until(lambda: len(words(lab, "began")) == 2, what="the tasks to start")
    worker.kill()
    worker.wait()
    worker = far.lab.start("worker")
    until(lambda: "took over 2 running tasks" in far.lab.logs(), what="the tasks to be taken over")
    network.cut(far.host, far.hub.host)
    (lab.folder / "go.ended").touch()
    until(lambda: words(lab, "ended"), what="a task to end meanwhile")
    for process in (worker, tunnel):
        process.kill()
        process.wait()
    far.lab.start("tunnel", "up")
    again = far.lab.start("worker")
    time.sleep(DOWN)
    network.heal()
    within(RECORDED, lambda: states(lab.show(run_id))["ended"] == "success", "the end to be recorded")
    (lab.folder / "go.adopted").touch()
    run = lab.finish(run_id)
    assert (run["state"], [len(task["tries"]) for task in run["tasks"]], words(lab, "doubled")) == ("success", [1, 1], [])
    for name in scripts:
        until(lambda: "rqflow: exit code 0" in lab.task_log(run_id, name), what="the log to be whole")  # noqa: B023 (called before the next turn)
        assert lab.task_log(run_id, name).splitlines()[:2] == [f"{name} says one", f"{name} says two"]
    assert again.poll() is None


def test_r08_with_a_grace_a_task_is_dead_before_it_runs_elsewhere_whatever_became_of_its_worker(far: Far) -> None:
    """Reliability 3, 8: the worker lives, was killed, stands still; what comes back with the link changes nothing."""
    lab, names = far.hub.lab, ("lives", "killed", "stopped")
    workers = {name: far.lab.worker("-Q", name, work_dir=name) for name in names}
    now, grace = "retries=1, retry_delay=timedelta(0)", f"grace=timedelta(seconds={GRACE})"
    run_id = lab.submit(a_dag(lab, f"[task(name, {GATE!r}, queue=name, {now}, {grace}) for name in {names}]"))
    until(lambda: len(words(lab, "began")) == 3, what="the tasks to start")
    first = [pid for name in names for pid in began(lab, name)]
    far.hub.network.cut(far.host, far.hub.host)
    workers["killed"].kill()
    workers["stopped"].send_signal(signal.SIGSTOP)
    near = lab.worker("-Q", ",".join(names), work_dir="near")
    until(lambda: len(words(lab, "began")) == 6, patience=PATIENCE + 2 * GRACE, what="the second tries to start")
    assert not alive(first)
    for name in names:
        (lab.folder / f"go.{name}").touch()
    run = lab.finish(run_id)
    assert tries_of(run) == {name: ["lost", "success"] for name in names}
    near.terminate()
    assert near.wait(PATIENCE) == 0
    far.hub.network.heal()
    workers["stopped"].send_signal(signal.SIGCONT)
    after = lab.submit(a_dag(lab, "[task(f'{name}_again', queue=name) for name in ('lives', 'stopped')]", dag_id="again"))
    assert lab.finish(after)["state"] == "success"
    assert (tries_of(lab.show(run_id)), states(lab.show(run_id))) == (tries_of(run), states(run))
    assert words(lab, "doubled") == []


def test_r04_r08_a_hub_that_is_off_for_ten_leases_and_boots_finds_all_tasks_as_they_are(network: Network, new_lab: Callable[..., Lab]) -> None:
    """Reliability 3, 8: without a grace none of 20 tasks is killed or run twice, half of which end while Redis, sshd and scheduler are gone."""
    short = {"RQFLOW__WORKER__LEASE": f"{LEASE / 2}s"}
    hub = Hub(network, new_lab, environ=short)
    far, lab = Far(hub, "worker", environ=short), hub.lab
    lab.hub()
    far.dial()
    worker = far.work("-n", "20")
    run_id = lab.submit(a_dag(lab, f"[task(f't{{n}}', {GATE!r}) for n in range(20)]"))
    until(lambda: len(words(lab, "began")) == 20, what="the tasks to start")
    hub.host.power_cut()
    off = time.monotonic()
    for number in range(10):
        (lab.folder / f"go.t{number}").touch()
    until(lambda: len(words(lab, "ended")) == 10, what="half of the tasks to end")
    until(lambda: time.monotonic() - off > 10 * LEASE / 2, what="ten leases to pass")
    hub.serve()
    lab.reopen()
    lab.hub()
    within(RECORDED, lambda: list(states(lab.show(run_id)).values()).count("success") == 10, "what ended to be recorded")
    for number in range(10, 20):
        (lab.folder / f"go.t{number}").touch()
    run = lab.finish(run_id)
    assert (run["state"], {len(task["tries"]) for task in run["tasks"]}) == ("success", {1})
    assert len(words(lab, "began")) == 20
    assert (words(lab, "doubled"), worker.poll()) == ([], None)


def test_r02_r04_a_machine_that_loses_power_is_unreachable_until_it_is_back_and_then_says_at_once_what_is_lost(far: Far) -> None:
    """Reliability 2, 3, 4, 9: with another boot id; the second try begins within 15 s of the worker's return."""
    lab = far.hub.lab
    far.work()
    run_id = lab.submit(a_dag(lab, f"task('t', {GATE!r}, retries=1, retry_delay=timedelta(0))"))
    until(lambda: began(lab, "t"), what="the task to start")
    far.host.power_cut()
    (lab.folder / "lock.t").unlink()
    seen = until(lambda: (found := tasks(lab.show(run_id))["t"])["unreachable_since"] and found, what="it to be unreachable")
    assert "still assumed running for as long as it takes" in seen["reason"]
    assert (seen["state"], len(began(lab, "t"))) == ("running", 1)
    reboot(far.work_dir)
    far.dial()
    far.lab.start("worker")
    within(RECORDED, lambda: len(began(lab, "t")) == 2, "the second try to start")
    (lab.folder / "go.t").touch()
    run = lab.finish(run_id)
    assert [one["state"] for one in tasks(run)["t"]["tries"]] == ["lost", "success"]
    assert (run["state"], words(lab, "doubled"), words(lab, "ended")) == ("success", [], [["t"]])
