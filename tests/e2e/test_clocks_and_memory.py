"""Clocks that are off (reliability 73, 82), memory that runs out (83), and memory that stays flat (70), each with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from rqflow import clock
from rqflow.actions import query, trigger
from tests.e2e.lab import Lab, states, tasks
from tests.e2e.wrong_clocks import move, wrong
from tests.profile import LEASE
from tests.waiting import until

#: The root of the cgroups that limit memory, of either version.
CGROUPS = Path("/sys/fs/cgroup")


def times(task: dict[str, object]) -> list[datetime]:
    return [datetime.fromisoformat(str(task[name])) for name in ("started_at", "ended_at")]


@pytest.mark.parametrize("steps", [[600], [-600], [0, 600, -600, 3600]], ids=["fast", "slow", "stepping"])
def test_r73_a_worker_whose_clock_is_off_or_steps_loses_nothing_and_keeps_right_times(
    new_lab: Callable[..., Lab], lab_redis: str, steps: list[int],
) -> None:
    """Reliability 73: no false lost, no early retry, durations that are true, order and times by Redis' clock."""
    lab = new_lab(redis_url=lab_redis)
    lab.hub()
    file, environ = wrong(lab, steps[0])
    worker = lab.worker(environ=environ)
    before = lab.services.broker.now()
    run_id = lab.submit(lab.dag(f"""
        from datetime import timedelta
        from rqflow import DAG, BashOperator
        with DAG("off"):
            a = BashOperator(task_id="a", bash_command="touch said; while [ ! -e go ]; do sleep 0.05; done", cwd={str(lab.folder)!r})
            b = BashOperator(task_id="b", bash_command="[ $RQFLOW_TRY = 2 ]", retries=1, retry_delay=timedelta(seconds=2))
            a >> b
    """))
    until((lab.folder / "said").exists, what="the task to start")
    for step in steps[1:]:
        move(file, step)
        since = lab.services.broker.now()
        until(lambda: (lab.services.broker.now() - since).total_seconds() > LEASE, what="a lease to pass")  # noqa: B023 (called before the next turn)
        assert tasks(lab.show(run_id))["a"]["unreachable_since"] is None
    (lab.folder / "go").touch()
    run = lab.finish(run_id)
    assert (run["state"], [len(task["tries"]) for task in run["tasks"]]) == ("success", [1, 2])
    after = lab.services.broker.now()
    for task in run["tasks"]:
        for one in task["tries"]:
            started, ended = times(one)
            assert before <= started <= ended <= after
            assert 0 <= one["duration"] < (after - before).total_seconds()
    first, second = tasks(run)["b"]["tries"]
    assert (times(second)[0] - times(first)[1]).total_seconds() >= 2.0
    assert file.with_name(f"{file.name}.{worker.pid}").exists(), "its clock was right"


@pytest.mark.parametrize("hours", [1 / 6, 13])
def test_r82_a_task_that_takes_very_long_has_no_timeout_and_is_not_given_out_again(
    new_lab: Callable[..., Lab], lab_redis: str, hours: float,
) -> None:
    """Reliability 82: all clocks of worker and shepherd, the monotonic one too, go on by that much while the task runs."""
    lab = new_lab(redis_url=lab_redis)
    lab.hub()
    file, environ = wrong(lab, 0, "monotonic boottime")
    worker = lab.worker("-n", "2", environ=environ)
    run_id = lab.submit(lab.dag(f"""
        from rqflow import DAG, BashOperator
        with DAG("long"):
            BashOperator(task_id="a", bash_command="echo $$ >> began; while [ ! -e go ]; do sleep 0.05; done", cwd={str(lab.folder)!r})
            BashOperator(task_id="b", bash_command="true")
    """))
    until(lambda: states(lab.show(run_id)) == {"a": "running", "b": "success"}, what="the task to run")
    move(file, hours * 3600)
    since = lab.services.broker.now()
    until(lambda: (lab.services.broker.now() - since).total_seconds() > LEASE, what="a lease to pass")
    assert worker.poll() is None
    assert len(list(file.parent.glob(f"{file.name}.[0-9]*"))) >= 2, "worker or shepherd had a clock that was right"
    found = tasks(lab.show(run_id))["a"]
    assert (found["state"], found["unreachable_since"]) == ("running", None)
    (lab.folder / "go").touch()
    run = lab.finish(run_id)
    assert (run["state"], len(tasks(run)["a"]["tries"])) == ("success", 1)
    assert len((lab.folder / "began").read_text().split()) == 1


@pytest.fixture
def small_memory() -> Iterator[Path]:
    """A cgroup of 200 MB without swap; the processes in it must have ended."""
    folder, limit = CGROUPS / "memory", "memory.limit_in_bytes"
    if not folder.is_dir():
        folder, limit = CGROUPS, "memory.max"
    group = folder / f"rqflow-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text(str(200 << 20))
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    yield group
    for pid in map(int, (group / "cgroup.procs").read_text().split()):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not (group / "cgroup.procs").read_text(), what="the cgroup to be empty")
    group.rmdir()


@pytest.mark.timeout(240)
def test_r83_a_task_killed_for_memory_says_so_with_its_peak(new_lab: Callable[..., Lab], lab_redis: str, small_memory: Path) -> None:
    """Reliability 83: the kernel kills it in a cgroup of 200 MB; not `terminated unexpectedly`."""
    lab = new_lab(redis_url=lab_redis)
    lab.hub()
    script = f"echo $$ > {small_memory}/cgroup.procs; exec {sys.executable} -m rqflow.cli.main worker"
    with (lab.root / "worker-in-group.log").open("wb") as log:
        lab.processes.append(subprocess.Popen(["bash", "-c", script], env=lab.environ, cwd=lab.folder, stdin=subprocess.DEVNULL,
                                              stdout=log, stderr=subprocess.STDOUT))
    (lab.folder / "hungry.py").write_text("print(len(b'1' * (400 << 20)))")
    run_id = lab.submit(lab.dag(f"""
        from rqflow import DAG, BashOperator
        with DAG("hungry"):
            BashOperator(task_id="a", bash_command="exec {sys.executable} {lab.folder}/hungry.py")
    """))
    try:
        run = lab.finish(run_id)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{tasks(lab.show(run_id))}\n{lab.logs()}") from error
    a = tasks(run)["a"]
    assert (a["state"], a["tries"][0]["signal"]) == ("failed", signal.SIGKILL)
    assert "out of memory: peak memory" in a["reason"]
    assert "perhaps" not in a["reason"]
    assert a["tries"][0]["max_rss_bytes"] > 50 << 20
    assert "out of memory" in lab.task_log(run["run_id"], "a").splitlines()[-1]


def test_r70_memory_of_hub_and_worker_is_flat_over_many_runs(new_lab: Callable[..., Lab], lab_redis: str) -> None:
    """Reliability 70 in small; benchmarks/ has the day. Runs of one DAG follow each other, most of them after memory has settled."""
    lab = new_lab(redis_url=lab_redis, environ={"RQFLOW__BROKER__RUN_RETENTION": "100ms"})
    processes = [psutil.Process(lab.hub().pid), psutil.Process(lab.worker().pid)]
    file = lab.dag("""
        from rqflow import DAG, BashOperator
        with DAG("small"):
            BashOperator(task_id="a", bash_command="echo a") >> [BashOperator(task_id=f"b{n}", bash_command="true") for n in range(3)]
    """)
    services = lab.services
    lab.finish(lab.submit(file))
    version = query.find_version(services.engine, "small")

    def start() -> str:
        run = trigger.by_hand(version, trigger.Given(), clock.utcnow())
        assert trigger.start(services.broker, services.engine, run, version, by="ann")
        return run.key

    def more(count: int) -> list[int]:
        for _ in range(count):
            run_key = start()
            until(lambda: services.broker.is_finished(run_key), what="a run to end")  # noqa: B023 (called before the next turn)
        until(lambda: not services.broker.all_runs(), what="Redis to forget the runs")
        return [process.memory_info().rss for process in processes]

    settled, after = more(10), more(30)
    assert [now < 1.05 * was + (2 << 20) for was, now in zip(settled, after, strict=True)] == [True, True], (settled, after)
