"""Reliability 11: Redis loses its last seconds, its last hour, or everything, with tasks running and queued. Nothing is lost or doubled."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.e2e.lab import Lab, states, tasks
from tests.services import OwnRedis
from tests.waiting import until

#: Each task proves by a folder that nobody runs it at the same time, notes its start and its end, and waits for a word where it has one.
DAG = """\
    from rqflow import DAG, BashOperator

    ALONE = (
        "mkdir $RQFLOW_TASK_ID.alone || { echo $RQFLOW_TASK_ID >> doubled; exit 1; }; echo $RQFLOW_TASK_ID >> began; "
        "while [ -n \\"$WORD\\" ] && [ ! -e \\"$WORD\\" ]; do sleep 0.05; done; echo $RQFLOW_TASK_ID >> ended; rmdir $RQFLOW_TASK_ID.alone"
    )
    with DAG("d") as dag:
        def task(name, word=""):
            return BashOperator(task_id=name, bash_command=ALONE, env={"WORD": word}, append_env=True, cwd="%s")

        long, a, b, c, d = task("long", "go.long"), task("a"), task("b", "go.b"), task("c", "go.c"), task("d")
        a >> b >> c >> d
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnRedis]:
    folder = tmp_path / "redis"
    folder.mkdir()
    found = OwnRedis(folder)
    found.start()
    yield found
    found.kill()


@pytest.fixture
def lab(tmp_path: Path, server: OwnRedis) -> Iterator[Lab]:
    made = Lab(tmp_path / "lab", redis_url=server.url)
    yield made
    made.close()


def cut(server: OwnRedis, size: int) -> None:
    """Kill Redis and take away what it appended since its file had `size` bytes."""
    server.kill()
    os.truncate(server.log(), size)
    server.start()


def wipe(server: OwnRedis, _: int) -> None:
    with redis.Redis(unix_socket_path=str(server.socket)) as connection:
        connection.flushall()


def lose(server: OwnRedis, _: int) -> None:
    """As a server without persistence."""
    server.kill()
    shutil.rmtree(server.folder / "appendonlydir")
    server.start()


def restart(server: OwnRedis, _: int) -> None:
    """Nothing is lost; but who knows."""
    server.kill()
    server.start()


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "unrecorded"])
@pytest.mark.parametrize("fault", [restart, cut, wipe, lose])
def test_r11_nothing_is_lost_or_doubled(lab: Lab, server: OwnRedis, fault: Callable[[OwnRedis, int], None], recorded: bool) -> None:
    hub = lab.hub()
    lab.worker()
    folder = lab.folder

    def lines(name: str) -> list[str]:
        return (folder / name).read_text().split() if (folder / name).exists() else []

    run = lab.submit(lab.dag(DAG % folder))
    until(lambda: {"long", "b"} <= set(lines("began")), what=f"b to begin: {lab.logs()}")
    until(lambda: tasks(lab.show(run))["b"]["state"] == "running" and lab.services.connection.xlen("rqflow:events") == 0, what="that to be recorded")
    before = server.log().stat().st_size
    if not recorded:
        hub.send_signal(signal.SIGSTOP)
    # What follows is what Redis forgets.
    (folder / "go.b").touch()
    until(lambda: "c" in lines("began"), what="c to begin")
    if recorded:
        until(lambda: tasks(lab.show(run))["c"]["tries"], what="that to be recorded")
    fault(server, before)
    hub.send_signal(signal.SIGCONT)
    (folder / "go.long").touch()
    (folder / "go.c").touch()
    ended = lab.finish(run)
    assert states(ended) == dict.fromkeys(["a", "b", "c", "d", "long"], "success"), lab.logs()
    assert sorted(lines("began")) == sorted(lines("ended")) == ["a", "b", "c", "d", "long"]
    assert not lines("doubled")
    assert {task["try_number"] for task in ended["tasks"]} == {1}
    assert all(len(task["tries"]) == 1 and not task["tries"][0]["late"] for task in ended["tasks"])


def test_a_queue_waits_for_a_worker_that_may_still_run_something_until_a_person_says_that_it_is_gone(lab: Lab, server: OwnRedis) -> None:
    hub = lab.hub()
    gone, here = lab.worker(work_dir="gone"), lab.worker(work_dir="here")
    file = lab.dag("""
        from rqflow import DAG, BashOperator
        with DAG("quick"):
            BashOperator(task_id="a", bash_command="true")
    """)
    lab.finish(lab.submit(file))
    gone.kill()
    gone.wait()
    wipe(server, 0)
    run = lab.submit(file)
    said = lambda: (lab.root / "scheduler-0.log").read_text()  # noqa: E731
    name = until(lambda: re.search(r"queue default waits for what (\S+) may still run", said()), what=f"the hub to name the worker: {lab.logs()}")[1]
    assert "nothing is lost" in said()
    assert states(lab.show(run)) == {"a": "queued"}
    assert here.poll() is None
    assert hub.poll() is None
    refused = lab.run("worker", "forget", "nobody.123456", code=3).stderr
    assert "there is no worker nobody.123456" in refused
    alive = next(worker["name"] for worker in lab.json("worker", "list"))
    assert "lives" in lab.run("worker", "forget", alive, code=5).stderr
    assert f"nobody waits for {name} any more" in lab.run("worker", "forget", name).stderr
    assert lab.finish(run)["state"] == "success"
