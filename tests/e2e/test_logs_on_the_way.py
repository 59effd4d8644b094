"""Logs on their way from a far worker to a person (reliability 51, 53, 54, 55, 56): live, whole, odd, huge, and over a narrow link."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import redis

from rqflow.actions import logs, query
from tests.e2e.lab import Lab, states, tasks
from tests.profile import LEASE, LIVE, NOISE, PATIENCE
from tests.proxy import Proxy
from tests.waiting import until


@pytest.fixture
def far(new_lab: Callable[..., Lab], lab_redis: str, tunnel: Proxy) -> Lab:
    """A lab whose hub is near; its worker has nothing but a tunnel to Redis."""
    lab = new_lab(redis_url=lab_redis)
    lab.hub()
    return lab


def work(lab: Lab, tunnel: Proxy, **environ: str) -> psutil.Process:
    return psutil.Process(lab.worker(environ={"RQFLOW__REDIS__URL": tunnel.redis_url, **environ}).pid)


def a_dag(lab: Lab, **commands: str) -> Path:
    """A DAG of independent tasks, each with its bash command."""
    lines = "".join(f"            BashOperator(task_id={name!r}, bash_command={command!r}, cwd={str(lab.folder)!r})\n" for name, command in commands.items())
    return lab.dag(f"""
        from rqflow import DAG, BashOperator
        with DAG("talking"):
{lines}""")


def archive_of(lab: Lab, run_id: str, task_id: str) -> Path:
    """Where the hub keeps the log of the first try."""
    found = query.find_run(lab.services.engine, run_id)
    run = query.show(lab.services.broker, lab.services.engine, found.run_key)
    return Path(lab.services.settings.logs.folder) / logs.path(run, task_id, 1)


def whole(lab: Lab, run_id: str, task_id: str) -> bytes:
    """The log of a task that has ended, when all of it is there."""
    path = archive_of(lab, run_id, task_id)
    until(lambda: path.exists() and not path.stat().st_mode & 0o200, what="the log to be whole")
    return path.read_bytes()


def test_r51_r55_a_line_is_seen_live_from_a_far_worker_and_following_brings_each_byte_once(far: Lab, tunnel: Proxy) -> None:
    """Reliability 51, 55: a line is there within 3 s; what following printed is what the file has."""
    work(far, tunnel)
    command = "n=0; while [ ! -e go ]; do if [ -e line.$n ]; then echo line $n; printf 'part %d\\r' $n; n=$((n+1)); fi; sleep 0.05; done"
    run_id = far.submit(a_dag(far, a=command))
    until(lambda: states(far.show(run_id))["a"] == "running", what="the task to run")
    (far.folder / "line.0").touch()
    until(archive_of(far, run_id, "a").exists, what="the first line")
    follower = far.start("task", "logs", run_id, "a", "-f", name="followed")
    out = next(far.root.glob("followed-*.log"))
    until(lambda: b"line 0" in out.read_bytes(), what="the follower to begin")
    for number in range(1, 5):
        began = time.monotonic()
        (far.folder / f"line.{number}").touch()
        until(lambda: f"line {number}\n".encode() in out.read_bytes(), patience=LIVE + NOISE, what="the line")  # noqa: B023 (called before the next turn)
        assert time.monotonic() - began < LIVE + NOISE
    (far.folder / "go").touch()
    assert follower.wait(PATIENCE) == 0
    log = whole(far, run_id, "a")
    assert out.read_bytes() == log
    assert [log.count(b"line %d\n" % number) for number in range(5)] == [1] * 5


def test_r53_the_log_of_a_killed_group_is_whole_and_its_last_line_names_the_signal_and_the_time(far: Lab, tunnel: Proxy) -> None:
    """Reliability 53."""
    work(far, tunnel)
    command = "echo $$ > pid; n=0; while :; do echo $n; echo $n > last; n=$((n+1)); sleep 0.01; done"
    run_id = far.submit(a_dag(far, a=command))
    until(lambda: (far.folder / "last").exists() and int((far.folder / "last").read_text() or 0) > 50, what="it to write")
    os.killpg(int((far.folder / "pid").read_text()), signal.SIGKILL)
    run = far.finish(run_id)
    lines = whole(far, run_id, "a").decode().splitlines()
    written = [int(line) for line in lines if line.isdigit()]
    assert written == list(range(len(written)))
    assert len(written) >= 50
    last = (far.folder / "last").read_text().strip()
    assert last == "" or written[-1] >= int(last)
    assert re.match(r"rqflow: .*(signal 9|KILL).*, \d+\.\d s, CPU", lines[-1]), lines[-1]
    assert tasks(run)["a"]["tries"][0]["signal"] == signal.SIGKILL


def test_r54_logs_of_any_size_and_bytes_arrive_whole_and_grow_neither_hub_nor_worker_nor_redis(far: Lab, tunnel: Proxy, lab_redis: str) -> None:
    """Reliability 54, a twentieth: a line of 2.5 MB, carriage returns, invalid UTF-8, escapes, markup, and 50 MB in all."""
    worker, hub = work(far, tunnel), psutil.Process(far.processes[0].pid)
    odd = b"\r10%\r20%\n\xff\xfe\x80\x1b[31mred\x1b[0m<script>alert(1)</script>\0\n"
    (far.folder / "odd").write_bytes(odd)
    (far.folder / "long").write_bytes(b"x" * 2_500_000 + b"\n")
    before = far.finish(far.submit(a_dag(far, a="true")))
    assert before["state"] == "success"
    rss = {process: process.memory_info().rss for process in (worker, hub)}
    seen: list[int] = []
    run_id = far.submit(a_dag(far, a="cat odd long; yes 0123456789abcde | head -c 50000000; cat odd", b="sleep 0.1"))
    with redis.Redis.from_url(lab_redis) as connection:
        until(lambda: seen.append(connection.info("memory")["used_memory"]) or far.show(run_id)["state"] == "success", what="the run to end")
        log = whole(far, run_id, "a")
        assert max(seen) < 24 << 20
    assert log.startswith(odd + b"x" * 2_500_000 + b"\n0123456789abcde\n")
    body, _, last = log.rpartition(odd)
    assert len(body) == len(odd) + 2_500_001 + 50_000_000
    assert last.startswith(b"rqflow: exit code 0")
    for process, was in rss.items():
        assert process.memory_info().rss - was < 50 << 20
    assert len(far.run("run", "show", run_id).stdout) < 2 << 20


def test_r56_a_log_over_a_narrow_link_delays_no_heartbeat_and_no_result_and_is_capped_with_a_mark(far: Lab, tunnel: Proxy) -> None:
    """Reliability 56: 100 kbit/s, of which a task that never stops talking takes all that is left."""
    work(far, tunnel, RQFLOW__WORKER__MAX_LOG_SIZE="60K")
    others = {f"t{number}": f"sleep {number * 0.5}" for number in range(4)}
    file = a_dag(far, talks="while [ ! -e go ]; do head -c 20000 /dev/zero | tr '\\0' x; echo; sleep 0.05; done", **others)
    tunnel.rate(100_000)
    run_id = far.submit(file)
    unreachable: list[str] = []

    def look() -> bool:
        found = tasks(far.show(run_id))
        unreachable.extend(name for name, task in found.items() if task["unreachable_since"])
        return all(found[name]["state"] == "success" for name in others)

    until(look, what="the other tasks to end while one talks")
    found = tasks(far.show(run_id))
    assert (found["talks"]["state"], unreachable) == ("running", [])
    # Their results came at once, not after the log.
    ended = {name: found[name]["duration"] for name in others}
    assert all(duration < number * 0.5 + LEASE + NOISE for number, duration in enumerate(ended.values()))
    tunnel.heal()
    (far.folder / "go").touch()
    assert far.finish(run_id)["state"] == "success"
    log = whole(far, run_id, "talks")
    assert re.search(rb"\nrqflow: \d+ bytes of this log are left out here \(worker\.max_log_size\)\n", log)
    assert len(log) < 62_000


def test_r56_ten_megabytes_of_log_a_second_leave_worker_redis_and_questions_responsive(far: Lab, tunnel: Proxy, lab_redis: str) -> None:
    """The last row of the fault table, reliability 54, 56: other tasks start and end meanwhile, a question is answered, nothing piles up."""
    worker = work(far, tunnel)
    talks = "for n in {1..50}; do yes 0123456789abcde | head -c 1000000; sleep 0.1; done; while [ ! -e go ]; do sleep 0.05; done"
    file = a_dag(far, talks=talks)
    run_id = far.submit(file)
    until(archive_of(far, run_id, "talks").exists, what="the log to come")
    was = worker.memory_info().rss
    quick = far.dag("""
        from rqflow import DAG, BashOperator
        with DAG("quick"):
            BashOperator(task_id="a", bash_command="true") >> BashOperator(task_id="b", bash_command="true")
    """, "quick.py")
    with redis.Redis.from_url(lab_redis) as connection:
        for _ in range(2):
            began = time.monotonic()
            other = far.submit(quick)
            submitted = time.monotonic() - began
            until(lambda: far.show(other)["state"] == "success", what="another run")  # noqa: B023 (called before the next turn)
            assert time.monotonic() - began - submitted < 2 * NOISE
            began = time.monotonic()
            shown = far.show(run_id)
            assert time.monotonic() - began < NOISE
            assert tasks(shown)["talks"]["unreachable_since"] is None
            assert connection.info("memory")["used_memory"] < 40 << 20
    assert worker.memory_info().rss - was < 50 << 20
    (far.folder / "go").touch()
    assert far.finish(run_id)["state"] == "success"
    log = whole(far, run_id, "talks").rpartition(b"rqflow: ")[0]
    assert log == b"0123456789abcde\n" * (50 * 1_000_000 // 16)
