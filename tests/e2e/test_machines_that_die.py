"""Machines that die with tasks on them (reliability 2, 3, 4), parents that are lost, cancelled or stopped (28, 29), and restarts (18, 49)."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable

import pytest
import redis
from rq.command import send_stop_job_command
from rq.serializers import JSONSerializer

from rqflow.broker import lock
from tests.e2e.evidence import a_dag, began, power_off, reboot, words
from tests.e2e.lab import Lab, states, tasks
from tests.profile import HEARTBEAT, LEASE, NOISE, PATIENCE
from tests.waiting import until


@pytest.mark.parametrize("rebooted", [False, True], ids=["killed", "rebooted"])
def test_r02_r03_r04_what_a_dead_machine_ran_is_lost_at_once_when_it_is_back_and_not_before(
    new_lab: Callable[..., Lab], lab_redis: str, rebooted: bool,
) -> None:
    """Reliability 2, 3, 4: unreachable while nobody knows; lost within 15 s of the worker's return, and then on_lost gives the next try."""
    lab = new_lab(redis_url=lab_redis)
    lab.hub()
    worker = lab.worker(work_dir="far")
    run_id = lab.submit(a_dag(lab, "task('t', GATE + END, retries=1, retry_delay=timedelta(0))"))
    pid = until(lambda: began(lab, "t"), what="the task to start")[0]
    power_off(worker.pid, pid)
    (lab.folder / "lock.t").unlink()
    seen = until(lambda: (found := tasks(lab.show(run_id))["t"])["unreachable_since"] and found, patience=PATIENCE, what="it to be unreachable")
    assert "still assumed running for as long as it takes" in seen["reason"]
    assert seen["state"] == "running"
    if rebooted:
        reboot(lab.root / "far")
    lab.start("worker", environ={"RQFLOW__WORKER__WORK_DIR": str(lab.root / "far")})
    until(lambda: len(began(lab, "t")) == 2, patience=15 + NOISE, what="the second try")
    (lab.folder / "go").touch()
    run = lab.finish(run_id)
    assert [one["state"] for one in tasks(run)["t"]["tries"]] == ["lost", "success"]
    assert (run["state"], words(lab, "doubled"), words(lab, "ended")) == ("success", [], [["t"]])


def test_r02_what_never_comes_back_is_lost_only_when_a_person_says_so(new_lab: Callable[..., Lab], lab_redis: str) -> None:
    """Reliability 2, 9, 29: and a child with trigger_rule=all_done runs then, one with all_success does not."""
    lab = new_lab(redis_url=lab_redis)
    lab.hub()
    worker = lab.worker(work_dir="far")
    run_id = lab.submit(a_dag(lab, """
        parent = task("parent", GATE, on_lost="fail", queue="default")
        parent >> [task("done", trigger_rule="all_done", queue="near"), task("good", queue="near")]
    """))
    pid = until(lambda: began(lab, "parent"), what="the task to start")[0]
    power_off(worker.pid, pid)
    lab.worker("-Q", "near", work_dir="near")
    found = until(lambda: (one := tasks(lab.show(run_id))["parent"])["unreachable_since"] and one, what="it to be unreachable")
    since = lab.services.broker.now()
    until(lambda: (lab.services.broker.now() - since).total_seconds() > LEASE + HEARTBEAT, what="a lease to pass")
    assert states(lab.show(run_id)) == {"parent": "running", "done": "pending", "good": "pending"}
    shown = lab.run("run", "show", run_id).stdout
    assert "unreachable" in shown
    assert f"since {found['unreachable_since']:.19}".replace("T", " ") in shown
    lab.run("task", "mark-lost", run_id, "parent")
    run = lab.finish(run_id)
    assert states(run) == {"parent": "lost", "done": "success", "good": "upstream_failed"}
    assert words(lab, "doubled") == []


def test_r28_children_of_a_stopped_parent_run_after_its_rerun_and_those_of_a_cancelled_one_never(
    new_lab: Callable[..., Lab], lab_redis: str,
) -> None:
    """Reliability 28."""
    lab = new_lab(redis_url=lab_redis)
    lab.hub()
    lab.worker()
    file = a_dag(lab, "task('parent', GATE + END) >> task('child')")
    cancelled = lab.submit(file)
    until(lambda: began(lab, "parent"), what="the parent to start")
    lab.run("run", "cancel", cancelled)
    assert set(states(lab.finish(cancelled)).values()) == {"cancelled"}
    stopped = lab.submit(file)
    until(lambda: len(began(lab, "parent")) == 2, what="the parent to start again")
    with redis.Redis.from_url(lab_redis) as connection:
        send_stop_job_command(connection, tasks(lab.show(stopped))["parent"]["job_id"], serializer=JSONSerializer)
    assert states(lab.finish(stopped)) == {"parent": "failed", "child": "upstream_failed"}
    (lab.folder / "go").touch()
    key = lab.show(stopped)["run_key"]
    lab.services.broker.clear(key, [0, 1], "ann")
    run = lab.finish(stopped)
    assert (states(run), run["state"]) == ({"parent": "success", "child": "success"}, "success")
    assert [name for name, _ in words(lab, "began")].count("child") == 1
    assert words(lab, "doubled") == []


def test_r18_stopping_and_starting_everything_twice_under_load_ends_well_and_doubles_nothing(
    new_lab: Callable[..., Lab], lab_redis: str,
) -> None:
    """Reliability 18, with a tenth of its tasks."""
    lab = new_lab(redis_url=lab_redis)
    names = range(20)
    processes = [lab.hub(), lab.worker("-n", "4")]
    run_id = lab.submit(a_dag(lab, f"[task(f't{{n}}', 'sleep 0.5; ' + END) for n in {list(names)}]"))
    for number in range(2):
        until(lambda: len(words(lab, "ended")) > number * 4, what="some tasks to end")  # noqa: B023 (called before the next turn)
        for process in processes:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(PATIENCE) for process in processes] == [0, 0], lab.logs()
        processes = [lab.hub(), lab.worker("-n", "4")]
        until(lambda: lock.has_leader(lab.services.connection), what="the next scheduler to lead")
    run = lab.finish(run_id)
    assert set(states(run).values()) == {"success"}
    assert {len(task["tries"]) for task in run["tasks"]} == {1}
    assert sorted(words(lab, "ended")) == sorted([f"t{n}"] for n in names)
    assert words(lab, "doubled") == []


def test_r49_a_pool_of_three_is_kept_over_random_kills_of_workers_and_is_free_at_the_end(new_lab: Callable[..., Lab], lab_redis: str) -> None:
    """Reliability 1, 3, 49: a twentieth of the tasks and kills; the tasks themselves count how many of them run."""
    lab = new_lab(redis_url=lab_redis)
    lab.run("pool", "set", "three", "3")
    lab.hub()
    workers = [lab.worker("-n", "4", work_dir=f"w{number}") for number in range(2)]
    count = 25
    seats = "for n in 1 2 3 none; do mkdir seat.$n 2>/dev/null && break; done; [ $n = none ] && echo $RQFLOW_TASK_ID >> overbooked; "
    script = f"{seats}sleep 0.2; rmdir seat.$n; "
    run_id = lab.submit(a_dag(lab, f"[task(f't{{n}}', {script!r} + END, pool='three') for n in range({count})]"))
    seed = random.randrange(1000)
    chance = random.Random(seed)
    for number in range(10):
        until(lambda: len(words(lab, "ended")) > number * 2, what="some tasks to end")  # noqa: B023 (called before the next turn)
        at = chance.randrange(2)
        workers[at].kill()
        workers[at].wait()
        workers[at] = lab.start("worker", "-n", "4", environ={"RQFLOW__WORKER__WORK_DIR": str(lab.root / f"w{at}")})
    run = lab.finish(run_id)
    assert (words(lab, "overbooked"), words(lab, "doubled")) == ([], []), f"seed {seed}"
    assert set(states(run).values()) == {"success"}, f"seed {seed}"
    assert sorted(words(lab, "ended")) == sorted([f"t{n}"] for n in range(count)), f"seed {seed}"
    pool = lab.services.broker.pools()["three"]
    assert (pool.slots, pool.used, pool.parked) == (3, 0, 0)
