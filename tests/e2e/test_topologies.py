"""The three ways in which machines that only ssh reaches work together: who dials, and who has Redis and the database."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.e2e.lab import Lab, states, tasks
from tests.network import Network
from tests.waiting import until

#: Whole machines with all services take their time where others work, too.
pytestmark = pytest.mark.timeout(240)
THREE = """
from rqflow import DAG, BashOperator
with DAG("three"):
    a = BashOperator(task_id="a", bash_command="hostname")
    b = BashOperator(task_id="b", bash_command="echo second")
    a >> b >> BashOperator(task_id="c", bash_command="echo third")
"""


def ran_on(lab: Lab, run: dict[str, Any], host: str) -> None:
    """See that a run succeeded, on one machine alone, and that its log came."""
    assert states(run) == dict.fromkeys("abc", "success"), lab.logs()
    assert {attempt["host"] for task in tasks(run).values() for attempt in task["tries"]} == {host}
    assert lab.task_log(run["run_id"], "a").splitlines()[0] == host


def test_a_worker_dials_the_hub(network: Network, new_lab: Callable[..., Lab]) -> None:
    hub, worker = network.host("hub"), network.host("worker")
    hub.redis()
    hub.sshd.start()
    worker.may_enter(hub)
    there = new_lab(host=hub, redis_url=hub.redis_url)
    here = new_lab(host=worker, environ={"RQFLOW__TUNNELS__HUB": "-L hub redis", "RQFLOW__REDIS__URL": "tunnel://hub"})
    there.hub()
    try:
        here.run("up", "worker")
        run_id = there.submit(there.dag(THREE))
        ran_on(there, there.finish(run_id), "worker")
        standing = {one["program"]: one for one in json.loads(here.run("status", "-o", "json").stdout)}
        assert {name: one["link"] for name, one in standing.items() if one["state"] == "RUNNING"} == {"tunnel-hub": "up", "worker": ""}
        checks = {one["check"]: one for one in here.json("doctor")}
        assert (checks["tunnel hub"]["verdict"], checks["tunnel hub: redis"]["verdict"]) == ("ok", "ok")
        assert "answers through it in" in checks["tunnel hub: redis"]["detail"]
        hub.sshd.kill()
        until(lambda: here.link("hub").state == "connection refused", what="the cut to be told")
        told = json.loads(here.run("status", "-o", "json", code=1).stdout)[0]
        assert (told["link"], "Is its sshd running" in told["reason"]) == ("connection refused", True)
        assert "Tunnel hub: connection refused" in here.run("run", "list", code=7, environ={"RQFLOW__REDIS__SOCKET_TIMEOUT": "1s"}).stderr
    finally:
        here.run("down")


def test_all_is_inside_and_the_scheduler_outside_by_a_tunnel_that_the_inside_starts(
        network: Network, new_lab: Callable[..., Lab], mariadb_database: str) -> None:
    inside, outside = network.host("inside"), network.host("outside")
    inside.redis()
    outside.sshd.start()
    inside.may_enter(outside)
    within = new_lab(host=inside, redis_url=inside.redis_url, database_url=mariadb_database, environ={
        "RQFLOW__TUNNELS__HUB": "-R outside redis database"})
    landing = outside.home / ".rqflow/tunnels/hub"
    url = make_url(mariadb_database).update_query_dict({"unix_socket": str(landing / "database.sock")}).render_as_string(hide_password=False)
    without = new_lab(host=outside, environ={"RQFLOW__REDIS__URL": f"unix://{landing / 'redis.sock'}", "RQFLOW__DATABASE__URL": url})
    within.run("db", "upgrade")
    within.start("tunnel", "up")
    until(lambda: within.link("hub").is_working, what="the tunnel")
    without.hub()
    within.worker()
    run_id = str(without.json("submit", without.dag(THREE), "--run", "--no-follow")["run_id"])
    ran_on(without, within.finish(run_id), "inside")
    seen = [{key: value for key, value in lab.json("run", "show", run_id).items() if key in {"state", "tasks"}} for lab in (within, without)]
    assert seen[0] == seen[1]
    network.cut(inside, outside)
    until(lambda: not within.link("hub").is_working, what="the cut to be noticed")
    network.heal()
    again = str(within.json("run", "start", "three", "--run-id", "again")["run_id"])
    ran_on(without, within.finish(again), "inside")


def test_the_hub_dials_a_node_that_lets_only_ssh_in(network: Network, new_lab: Callable[..., Lab]) -> None:
    hub, node = network.host("hub"), network.host("node")
    hub.redis()
    node.sshd.start()
    hub.may_enter(node)
    there = new_lab(host=hub, redis_url=hub.redis_url, environ={"RQFLOW__TUNNELS__NODE": "-R node redis"})
    here = new_lab(host=node, environ={"RQFLOW__REDIS__URL": f"unix://{node.home}/.rqflow/tunnels/node/redis.sock"})
    here.redis_url = hub.redis_url  # for looking
    there.hub()
    there.start("tunnel", "up", "node")
    here.worker()
    ran_on(there, there.outcome(there.dag(THREE)), "node")
