"""Workers behind a tunnel that breaks: reliability 5, 6, 7 and 23, with the proxy as the tunnel."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rq.command import send_stop_job_command
from rq.serializers import JSONSerializer
from rq.suspension import resume, suspend

from rqflow.broker.keys import xcom_key
from rqflow.dag.run import RunInfo
from tests.integration.worker.conftest import Site
from tests.integration.worker.test_commands import registered
from tests.integration.worker.test_stock import stock
from tests.profile import PATIENCE
from tests.proxy import Proxy
from tests.unit.builders import a_version
from tests.waiting import until

#: Seconds that a fault lasts (60 s in reliability.md), and that a call may take (10 s by default, which would be less than the noise here).
LASTS, CALL = 60 / 30, 1.0
#: Says that it runs and how often it was started, and ends with 3 lines of log when told.
WAITS = "echo begins; echo $$ >> started; while [ ! -e go ]; do sleep 0.05; done; echo ends; echo ended > ended; exit $(cat go)"
#: How the tunnel breaks, and how it comes back: `hold` leaves the connections of a black hole dead for ever.
BREAKS: dict[str, Callable[[Proxy], None]] = {"reset": Proxy.reset, "refused": Proxy.refuse, "black hole": Proxy.black_hole, "dead": Proxy.black_hole}


@pytest.fixture
def tunnel(site: Site) -> Iterator[Proxy]:
    """The tunnel of this site's workers."""
    site.environ["RQFLOW__REDIS__SOCKET_TIMEOUT"] = f"{CALL}s"
    with Proxy(site.url.removeprefix("unix://")) as proxy:
        site.url = proxy.redis_url
        yield proxy


@pytest.fixture(params=list(BREAKS))
def broken(request: pytest.FixtureRequest) -> str:
    """How the tunnel breaks."""
    return str(request.param)


def heal(tunnel: Proxy, broken: str) -> None:
    tunnel.heal(hold=broken == "dead")


def waiting(site: Site, **task: object) -> RunInfo:
    return site.command(WAITS, fields={"cwd": str(site.folder)}, **task)


def starts(site: Site) -> int:
    path = site.folder / "started"
    return len(path.read_text().split()) if path.exists() else 0


def noticed(site: Site, worker: subprocess.Popen[bytes]) -> None:
    """Wait until the worker knows of the fault, and for as long as it is to last."""
    began = time.monotonic()
    until(lambda: "waiting for it since" in site.said(), what="the worker to notice")
    time.sleep(max(LASTS - (time.monotonic() - began), 0))
    assert worker.poll() is None, site.said()


def test_a_task_goes_on_while_the_tunnel_is_down(site: Site, tunnel: Proxy, broken: str) -> None:
    """Reliability 5 and 6: the worker stays up, the task succeeds, one try, its log whole."""
    run = waiting(site)
    worker = site.start()
    until(lambda: starts(site), what="the task to start")
    BREAKS[broken](tunnel)
    noticed(site, worker)
    heal(tunnel, broken)
    until(lambda: "answers again" in site.said(), what="the worker to be back")
    (site.folder / "go").write_text("0")
    status = site.until(run, "success")
    assert (status.try_number, starts(site)) == (1, 1)
    assert worker.poll() is None
    until(lambda: site.log(run).splitlines()[:2] == ["begins", "ends"], what="the log")


def test_an_idle_worker_takes_a_job_soon_after_the_tunnel_is_back(site: Site, tunnel: Proxy, broken: str) -> None:
    """Reliability 6."""
    worker = site.start()
    registered(site)
    BREAKS[broken](tunnel)
    noticed(site, worker)
    run = site.command("true")
    heal(tunnel, broken)
    site.until(run, "success")


@pytest.mark.parametrize("restarted", [False, True])
def test_an_end_that_nobody_could_be_told_is_told_when_the_tunnel_is_back(site: Site, tunnel: Proxy, broken: str, restarted: bool) -> None:
    """Reliability 7: result, exit code and log, over a restart of the worker too."""
    run = waiting(site)
    worker = site.start()
    until(lambda: starts(site), what="the task to start")
    BREAKS[broken](tunnel)
    (site.folder / "go").write_text("3")
    until((site.folder / "ended").exists, what="the task to end")
    noticed(site, worker)
    if restarted:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    heal(tunnel, broken)
    if restarted:
        worker = site.start()
    status = site.until(run, "failed")
    assert (status.try_number, status.reason, starts(site)) == (1, "exit code 3", 1)
    assert site.end_of(run)["facts"]["exit_code"] == 3
    until(lambda: site.log(run).splitlines()[:2] == ["begins", "ends"], what="the log")
    assert worker.poll() is None


def test_commands_work_again_after_the_tunnel_was_down(site: Site, tunnel: Proxy, broken: str) -> None:
    """Reliability 23: cancel, stop and suspend, without a restart of the worker; its heartbeat is too slow to learn of any by itself."""
    site.environ |= {"RQFLOW__WORKER__HEARTBEAT": "30s", "RQFLOW__WORKER__LEASE": "90s"}
    run = site.run(a_version(["a", "b"], commands=dict.fromkeys("ab", "sleep 1000")))
    worker = site.start()
    name = registered(site).name
    for task_id in "ab":
        site.until(run, "running", task_id)
    before = site.db.client_list(_type="pubsub")
    BREAKS[broken](tunnel)
    time.sleep(LASTS)
    heal(tunnel, broken)
    if broken != "black hole":  # after which the old subscription is heard again
        old = {client["id"] for client in before}
        until(lambda: [one for one in site.db.client_list(_type="pubsub") if one["id"] not in old], what="a new subscription")
    site.broker.cancel_task(run.key, "a", "somebody")
    site.until(run, "cancelled", "a")
    send_stop_job_command(site.db, site.task(run, "b").job_id, serializer=JSONSerializer)
    assert site.until(run, "failed", "b").reason == "stopped by a person"
    assert worker.poll() is None
    assert registered(site).name == name


def test_suspending_holds_a_worker_that_was_cut_off(site: Site, tunnel: Proxy) -> None:
    worker = site.start()
    registered(site)
    tunnel.reset()
    noticed(site, worker)
    suspend(site.db)
    tunnel.heal()
    until(lambda: "suspended" in site.said(), what="the worker to see it")
    run = site.command("true")
    resume(site.db)
    site.until(run, "success")


def test_a_slow_tunnel_that_loses_every_third_answer_doubles_nothing(site: Site, tunnel: Proxy) -> None:
    tasks = [f"t{number}" for number in range(120)]
    run = site.run(a_version(tasks, commands={task: f"echo x >> {site.folder}/{task}" for task in tasks}))
    tunnel.delay(0.01)
    tunnel.drop_reply(b"FCALL", times=None, every=3)
    worker = site.start()
    until(lambda: set(site.states(run).values()) == {"success"}, what="all to end")
    assert tunnel.dropped > 3, site.said()
    assert [Path(site.folder / task).read_text() for task in tasks] == ["x\n"] * 120
    ends = [event["task"] for event in site.events() if event["kind"] == "ti" and event["state"] == "success"]
    assert sorted(ends) == sorted(tasks)
    tunnel.heal()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE) == 0


@pytest.mark.parametrize("broken", ["reset", "black hole"])
def test_the_end_of_a_task_under_a_stock_worker_is_told_when_the_tunnel_is_back(site: Site, tunnel: Proxy, broken: str) -> None:
    run = waiting(site)
    stock(site)
    until(lambda: starts(site), what="the task to start")
    BREAKS[broken](tunnel)
    (site.folder / "go").write_text("3")
    until((site.folder / "ended").exists, what="the task to end")
    until(lambda: "waiting for it since" in site.said(), what="the horse to notice")
    time.sleep(LASTS)
    heal(tunnel, broken)
    status = site.until(run, "failed")
    assert (status.reason, starts(site)) == ("exit code 3", 1)


def test_a_task_under_a_stock_worker_begins_although_the_link_breaks_where_it_is_prepared(site: Site, tunnel: Proxy) -> None:
    run = site.command("echo {{ ti.xcom_pull('t') }} was here")
    tunnel.drop_request(f"{xcom_key(run.key)}".encode(), times=7)
    stock(site)
    site.until(run, "success")
    until(lambda: "None was here" in site.log(run), what="the log")
    assert tunnel.dropped == 7


def test_what_rq_counts_of_a_worker_is_right_when_answers_get_lost(site: Site, tunnel: Proxy) -> None:
    site.start()
    name = registered(site).name
    tunnel.drop_reply(b"total_working_time", times=3)
    waits = f"while [ ! -e {site.folder}/go ]; do sleep 0.05; done; false"
    run = site.run(a_version({"good": [], "bad": ["good"]}, commands={"bad": waits}))
    site.until(run, "success", "good")
    until(lambda: tunnel.dropped == 3, what="three answers to get lost")
    (site.folder / "go").touch()
    site.until(run, "failed", "bad")
    key = f"rq:worker:{name}"
    counted = until(lambda: site.db.hget(key, "failed_job_count") not in {None, b"0"} and site.db.hmget(key, ["successful_job_count", "failed_job_count"]),
                    what="both to be counted")
    assert counted == [b"1", b"1"]
