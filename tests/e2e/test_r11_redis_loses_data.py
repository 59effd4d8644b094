"""Reliability 11: Redis loses its last seconds, its last hour, or everything, with tasks running and queued. Nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from rqflow import clock
from rqflow.actions import query, trigger
from rqflow.broker import keys
from rqflow.broker.events import EventStream
from rqflow.dag.asking import START_RUN
from rqflow.store import dags, runs
from rqflow.store import tasks as store_tasks
from rqflow.store.engine import reading
from tests.e2e.lab import Lab, states, tasks
from tests.profile import PATIENCE
from tests.proxy import Proxy
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
    server.lose_log()
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


#: `down` hands on what `up` has printed, or fails.
HANDS_ON = """\
    from rqflow import DAG, BashOperator

    with DAG("hands_on") as dag:
        up = BashOperator(task_id="up", bash_command="echo said", do_xcom_push=True)
        up >> BashOperator(task_id="down", bash_command="echo {{ ti.xcom_pull('up') }} | grep -x said")
"""


@pytest.mark.parametrize("kind", ["worker", "stock worker"])
@pytest.mark.parametrize("what", ["the run", "its XComs"])
def test_r11_what_a_worker_asks_for_after_its_claim_is_not_believed_of_a_redis_that_was_emptied(
    lab: Lab, server: OwnRedis, what: str, kind: str,
) -> None:
    asked = {"the run": rb"HGET\r\n\$\d+\r\nrqflow:run:[^\r]+\r\n\$4\r\ninfo\r", "its XComs": rb"HGETALL\r\n\$\d+\r\nrqflow:run:[^\r]+:x\r"}[what]
    emptied: list[bytes] = []

    def empty(request: bytes) -> bool:
        """Empty Redis just before it is asked for the first time; the request itself passes."""
        if not emptied and re.search(asked, request):
            emptied.append(request)
            wipe(server, 0)
        return False

    lab.hub()
    with Proxy(str(server.socket)) as tunnel:
        tunnel.drop_request(empty, times=None)
        if kind == "worker":
            lab.worker(environ={"RQFLOW__REDIS__URL": tunnel.redis_url})
        else:
            lab.stock_worker("default", url=tunnel.redis_url)
        ended = lab.finish(lab.submit(lab.dag(HANDS_ON)))
        assert emptied
        assert states(ended) == {"up": "success", "down": "success"}, lab.logs()
        assert [len(task["tries"]) for task in ended["tasks"]] == [1, 1]
        lab.close()


#: One task, which notes run and try, and goes on at a word for that try; the first try of the run `moves` fails.
OLD = """\
    from rqflow import DAG, BashOperator

    with DAG("old") as dag:
        BashOperator(task_id="a", retries=1, retry_delay=0, cwd="%s", bash_command=(
            'me=$RQFLOW_RUN_ID.$RQFLOW_TRY; mkdir $me.alone || { echo $me >> doubled; exit 9; }; echo $me >> began; '
            'while [ ! -e go.$me ]; do sleep 0.05; done; echo $me >> ended; [ $me != moves.1 ]'))
"""


def test_r11_what_an_old_copy_of_redis_knows_of_what_went_on_since_stands_as_it_is(tmp_path: Path) -> None:
    """An RDB of an hour ago: runs and tries that ended since, runs that began since, a worker that left, a request that was answered."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = OwnRedis(folder, "--appendonly", "no")
    server.start()
    lab = Lab(tmp_path / "lab", redis_url=server.url)
    try:
        lab.hub()
        lab.worker("-n", "8", work_dir="here")
        put_back(lab, server)
    finally:
        lab.close()
        server.kill()


def history(lab: Lab, run_id: str) -> list[Any]:
    """What the history has of a run, and of its task."""
    with reading(lab.services.engine) as connection:
        run = runs.find(connection, run_id)
        task, = store_tasks.of_run(connection, run.run_key)
        tries = store_tasks.tries(connection, run.run_key)
    return [run.state, run.started_at, run.ended_at, task.state, task.try_number, task.started_at, task.ended_at, tries]


def put_back(lab: Lab, server: OwnRedis) -> None:
    def lines(name: str) -> list[str]:
        return (lab.folder / name).read_text().split() if (lab.folder / name).exists() else []

    def start(name: str) -> str:
        with reading(lab.services.engine) as connection:
            version = dags.latest_version(connection, "old")
        assert version
        run = trigger.by_hand(version, trigger.Given(run_id=name), clock.utcnow())
        trigger.start(lab.services.broker, lab.services.engine, run, version, by="ann")
        until(lambda: f"{name}.1" in lines("began"), what=f"{name} to begin")
        return name

    def go(*names: str) -> None:
        for name in names:
            (lab.folder / f"go.{name}").touch()

    lab.run("submit", lab.dag(OLD % lab.folder))
    long, moves, ends = map(start, ("long", "moves", "ends"))
    # It signs off before it gets anything to do.
    left = lab.worker(work_dir="left")
    until(lambda: lab.services.connection.hlen(keys.ADMITTED) == 2, what="the second worker to be known")
    until(lambda: not EventStream(lab.services.connection).backlog(), what="all that to be recorded")
    hub = lab.processes[0]
    hub.send_signal(signal.SIGSTOP)
    lab.services.connection.xadd(keys.REQUESTS, {"id": "q", "kind": START_RUN, "payload": json.dumps({"dag_id": "old", "run_id": "asked"})})
    lab.services.connection.save()
    shutil.copy(server.folder / "dump.rdb", server.folder / "old.rdb")
    left.terminate()
    assert left.wait(PATIENCE) == 0
    hub.send_signal(signal.SIGCONT)

    go("ends.1", "asked.1", "moves.1")
    until(lambda: lab.services.connection.hlen(keys.ADMITTED) == 1, what="the second worker to be known as gone")
    for run in (ends, "asked"):
        lab.finish(run)
    ended, asked = history(lab, ends), history(lab, "asked")
    until(lambda: "moves.2" in lines("began"), what="the second try")
    over = start("over")
    go("over.1")
    lab.finish(over)
    newer = start("newer")
    until(lambda: tasks(lab.show(newer))["a"]["state"] == "running" and not EventStream(lab.services.connection).backlog(), what="that to be recorded")

    server.kill()
    shutil.copy(server.folder / "old.rdb", server.folder / "dump.rdb")
    server.start()
    lab.reopen()
    until(lambda: "Redis was restarted or replaced" in (lab.root / "scheduler-0.log").read_text(), what="the hub to notice")
    go("long.1", "moves.2", "newer.1")
    for run in (long, moves, newer):
        assert lab.finish(run)["state"] == "success", lab.logs()
    after = start("after")
    go("after.1")
    assert lab.finish(after)["state"] == "success"
    assert [history(lab, ends), history(lab, "asked")] == [ended, asked]
    assert sorted(lines("began")) == sorted(lines("ended"))
    assert sorted(lines("began")) == ["after.1", "asked.1", "ends.1", "long.1", "moves.1", "moves.2", "newer.1", "over.1"]
    assert not lines("doubled")


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


@pytest.mark.parametrize("fault", [cut, wipe])
def test_r11_the_end_of_a_task_under_a_stock_worker_is_told_again(lab: Lab, server: OwnRedis, fault: Callable[[OwnRedis, int], None]) -> None:
    hub = lab.hub()
    lab.stock_worker()
    folder = lab.folder
    run = lab.submit(lab.dag(f"""\
        from rqflow import DAG, BashOperator
        with DAG("d") as dag:
            BashOperator(task_id="t", bash_command="echo x >> {folder}/began; while [ ! -e {folder}/go ]; do sleep 0.05; done; exit 99")
    """))
    until(lambda: (folder / "began").exists(), what=f"t to begin: {lab.logs()}")
    until(lambda: tasks(lab.show(run))["t"]["tries"] and lab.services.connection.xlen("rqflow:events") == 0, what="that to be recorded")
    before = server.log().stat().st_size
    hub.send_signal(signal.SIGSTOP)
    # Redis has promised the hub the next event, and gives it to its socket; the one after that stays.
    lab.services.broker.push_xcom(query.find_run(lab.services.engine, run).run_key, "t", "k", '"v"')
    (folder / "go").touch()
    until(lambda: lab.services.connection.xlen("rqflow:events") > 1, what="the end to be told")
    fault(server, before)
    hub.send_signal(signal.SIGCONT)
    lab.reopen()
    assert states(lab.finish(run)) == {"t": "skipped"}
    assert (folder / "began").read_text() == "x\n"
