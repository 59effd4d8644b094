"""Redis and the database away: what waits for them, what says so, and what goes on when they are back (reliability 16, 19 and 12)."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from rqflow.broker import lock
from rqflow.store import schema
from rqflow.store.engine import open_engine
from tests.e2e.lab import Lab, states, tasks
from tests.profile import PATIENCE
from tests.proxy import Proxy
from tests.services import loading_server, redis_server
from tests.waiting import until

#: Seconds for which a service is away (30 s in reliability.md, and 5 minutes of MySQL), and that a call may take.
AWAY, CALL = 30 / 30, 1.0
KEPT = ("--appendonly", "yes", "--appendfsync", "always")
RETRIED = """
    from datetime import timedelta
    from rqflow import DAG, BashOperator
    with DAG("retried"):
        BashOperator(task_id="a", bash_command="[ {{ ti.try_number }} = 2 ]", retries=1, retry_delay=timedelta(seconds=2))
"""


@pytest.fixture
def far(new_lab: Callable[..., Lab], lab_redis: str, tunnel: Proxy) -> Lab:
    """A lab whose processes reach Redis through a tunnel; the test looks at it without."""
    lab = new_lab(redis_url=lab_redis)
    lab.environ |= {"RQFLOW__REDIS__URL": tunnel.redis_url, "RQFLOW__REDIS__SOCKET_TIMEOUT": f"{CALL}s"}
    return lab


def said(lab: Lab) -> str:
    """What the processes of a lab wrote."""
    return "\n".join(path.read_text() for path in sorted(lab.root.glob("*.log")))


def waits(lab: Lab, process: subprocess.Popen[bytes], words: str) -> None:
    """Wait until a process says for what it waits; it is still there a while later."""
    until(lambda: words in said(lab) or process.poll() is not None, what="a word of what is waited for")
    time.sleep(AWAY)
    assert process.poll() is None, said(lab)


@pytest.mark.parametrize("command", ["worker", "scheduler"])
@pytest.mark.parametrize("fault", [Proxy.refuse, Proxy.reset, Proxy.black_hole], ids=["refused", "reset", "black hole"])
def test_a_service_that_starts_without_redis_waits_for_it_and_says_so(far: Lab, tunnel: Proxy, command: str, fault: Callable[[Proxy], None]) -> None:
    """Reliability 16."""
    fault(tunnel)
    process = far.start(command)
    waits(far, process, f"Redis does not answer at {tunnel.redis_url}")
    line, = said(far).splitlines()  # said once, not at each try
    assert "waiting for it since 20" in line
    assert "nothing is lost" in line
    tunnel.heal()
    with redis.Redis.from_url(far.redis_url) as connection:
        until(lambda: far.workers() if command == "worker" else lock.has_leader(connection), what="it to work")
    assert "answers again, after" in said(far)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", ["worker", "scheduler"])
def test_a_service_that_waits_for_redis_ends_in_good_order_when_told(far: Lab, tunnel: Proxy, command: str, number: signal.Signals) -> None:
    tunnel.black_hole()
    process = far.start(command)
    waits(far, process, "waiting for it since")
    process.send_signal(number)
    assert process.wait(PATIENCE) == 0
    assert "Traceback" not in said(far)


def test_a_redis_that_loads_its_data_is_waited_for(new_lab: Callable[..., Lab], tmp_path: Path) -> None:
    with loading_server(tmp_path, seconds=5) as url:
        lab = new_lab(redis_url=url)
        process = lab.start("worker")
        waits(lab, process, "Redis is still loading its data")
        until(lambda: "answers again" in said(lab), what="the worker to go on")
        until(lab.workers, what="the worker to register")
        process.terminate()
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("command", [("worker",), ("scheduler",)], ids=" ".join)
def test_a_redis_that_refuses_us_is_not_waited_for(new_lab: Callable[..., Lab], lab_redis: str, command: tuple[str, ...]) -> None:
    lab = new_lab(redis_url=lab_redis)
    with redis.Redis.from_url(lab_redis) as connection:
        connection.config_set("maxmemory-policy", "allkeys-lru")
        assert "maxmemory-policy" in lab.run(*command, code=7).stderr
        connection.config_set("maxmemory-policy", "noeviction")
        connection.config_set("requirepass", "right")
        wrong = {"RQFLOW__REDIS__URL": lab_redis.replace("unix://", "unix://:wrong@")}
        assert "refuses the password" in lab.run(*command, code=7, environ=wrong).stderr
        assert "asks for a password" in lab.run(*command, code=7).stderr
        connection.config_set("requirepass", "")


def test_a_command_does_not_wait_for_ever_and_says_what_is_away(far: Lab, tunnel: Proxy) -> None:
    for fault, command, words in [
        (Proxy.refuse, ("run", "list"), "Connection refused"), (Proxy.black_hole, ("worker", "--burst"), "Timeout"),
        (Proxy.reset, ("scheduler", "--once"), "reset"),
    ]:
        fault(tunnel)
        message = far.run(*command, code=7, timeout=PATIENCE).stderr
        tunnel.heal()
        assert f"Redis does not answer at {tunnel.redis_url}" in message
        assert words in message
        assert "tried since 20" in message
        assert "nothing is lost" in message


def test_a_command_goes_on_over_a_tunnel_that_breaks_once(far: Lab, tunnel: Proxy) -> None:
    file = far.dag(RETRIED)
    tunnel.drop_reply(lambda request: b"EVALSHA" in request or b"FCALL" in request, times=None, every=2)
    far.run("submit", file, "--run", "--no-follow")
    assert tunnel.dropped > 1
    tunnel.heal()
    before = tunnel.dropped
    tunnel.drop_reply(b"HGETALL")
    found, = far.json("run", "list")
    assert (found["state"], tunnel.dropped) == ("running", before + 1)


def test_scheduler_and_worker_live_through_a_stop_of_redis_and_the_next_retry_is_on_time(new_lab: Callable[..., Lab], tmp_path: Path) -> None:
    """Reliability 19; a cancel works afterwards without a restart of the worker (23)."""
    folder = tmp_path / "own"
    folder.mkdir()
    with redis_server(folder, *KEPT) as url:
        lab = new_lab(redis_url=url)
        hub, worker = lab.hub(), lab.worker()
        run_id = lab.submit(lab.dag(RETRIED + """
        BashOperator(task_id="long", bash_command="sleep 1000")
"""))
        until(lambda: states(lab.show(run_id)) == {"a": "up_for_retry", "long": "running"}, what="the retry to wait")
    for process in (hub, worker):
        waits(lab, process, "Redis does not answer")
    with redis_server(folder, *KEPT):
        lab.reopen()
        until(lambda: states(lab.show(run_id))["a"] == "success", what="the retry")
        lab.run("run", "cancel", run_id)
        ended = lab.finish(run_id)
        assert states(ended) == {"a": "success", "long": "cancelled"}
        assert tasks(ended)["a"]["try_number"] == 2
        assert (hub.poll(), worker.poll()) == (None, None)
        for process in (hub, worker):
            process.terminate()
            assert process.wait(PATIENCE) == 0, said(lab)


@pytest.mark.parametrize("fault", [Proxy.reset, Proxy.black_hole], ids=["reset", "black hole"])
def test_tasks_go_on_while_the_database_is_away_and_the_history_is_whole_afterwards(
    new_lab: Callable[..., Lab], lab_redis: str, mariadb_database: str, mariadb_url: str, fault: Callable[[Proxy], None],
) -> None:
    """Reliability 12, with a tunnel to the database."""
    path = mariadb_url.partition("unix_socket=")[2]
    with Proxy(path) as database:
        near = mariadb_database
        lab = new_lab(redis_url=lab_redis, database_url=near)
        engine = open_engine(near)
        schema.upgrade(engine)
        engine.dispose()
        far = {"RQFLOW__DATABASE__URL": f"mysql://root@127.0.0.1:{database.port}/{near.rpartition('/')[2].partition('?')[0]}"}
        hub = lab.start("scheduler", environ=far)
        worker = lab.worker(environ=far)
        file = lab.dag("""
            from rqflow import DAG, BashOperator
            with DAG("many"):
                first = BashOperator(task_id="first", bash_command="while [ ! -e go ]; do sleep 0.05; done", cwd="{{ var.value.here }}")
                first >> [BashOperator(task_id=f"t{n}", bash_command="true") for n in range(10)]
        """.replace("{{ var.value.here }}", str(lab.root)))
        run_id = lab.submit(file)
        until(lambda: tasks(lab.show(run_id))["first"]["state"] == "running", what="the run to begin")
        fault(database)
        (lab.root / "go").touch()
        until(lambda: not lab.services.broker.live_runs(), what="the run to end without the database")
        time.sleep(AWAY)
        database.heal()
        assert set(states(lab.finish(run_id)).values()) == {"success"}
        assert (hub.poll(), worker.poll()) == (None, None), lab.logs()
