"""Workers and queues: seen, paused, stopped, forgotten, emptied; each deed in the audit log, and refused to who may not."""

from __future__ import annotations

import json

from rqflow.broker import control, keys, standing, unserved
from rqflow.broker.broker import Broker
from rqflow.clock import to_micros
from rqflow.security.roles import Role
from rqflow.states import TaskState
from tests.integration.broker import playing
from tests.integration.web import rooms
from tests.integration.web.site import Site
from tests.profile import PATIENCE
from tests.unit.builders import a_version


def test_the_page_shows_what_a_worker_is_and_what_it_runs(site: Site) -> None:
    run = site.hub.start(a_version({"copy": [], "load": ["copy"]}, dag_id="daily"), run_id="first")
    rooms.a_worker(site.hub.db, "w1.dir.1", queues=("default", "<gpu>"), labels="fast", load="3.42", cpus="16", memory=str(64 << 30),
                   memory_free=str(21 << 30), disk_free=str(1 << 20))
    playing.claim(Broker(site.hub.db, site.hub.settings, caller="w1.dir.1"))
    browser = site.browser("vera", Role.VIEWER)
    text = browser.get("/workers").text
    for said in ("w1.dir.1", "&lt;gpu&gt;", "fast", "3.4", "21.0 GB", "1.0 MB", f"/runs/{run.run_key}/tasks/copy"):
        assert said in text, said
    assert "/pause" not in text  # a viewer is shown no deeds
    one = browser.get("/workers/w1").text
    assert f"/runs/{run.run_key}" in one
    assert "3.42 of 16 processors" in one
    (found,) = browser.get("/api/v1/workers").json()["items"]
    assert (found["load"], found["cpus"], found["memory"], [task["task_id"] for task in found["tasks"]]) == (3.42, 16, 64 << 30, ["copy"])
    assert browser.get("/workers/nobody").status_code == 404


def test_tasks_of_dags_that_are_not_to_be_seen_are_only_counted(site: Site, redis_url: str) -> None:
    site.hub.start(a_version(dag_id="hidden_dag"), run_id="first")
    rooms.a_worker(site.hub.db, "w1.dir.1")
    playing.claim(Broker(site.hub.db, site.hub.settings, caller="w1.dir.1"))
    filtered = Site(site.hub.db, redis_url, site.engine, site.settings.home, filter_by_owner=True)
    browser = filtered.browser("vera", Role.VIEWER)
    for path in ("/workers", "/workers/w1", "/api/v1/workers"):
        assert "hidden_dag" not in browser.get(path).text
    assert "1 of others" in browser.get("/workers").text
    assert browser.get("/api/v1/pools/default_pool/tasks").json()["items"] == []
    assert "hidden_dag" in filtered.browser("ann").get("/workers").text
    filtered.close()


def test_a_worker_is_paused_and_resumed(site: Site) -> None:
    name = rooms.a_worker(site.hub.db)
    browser = site.browser("ann")
    assert browser.post(f"/workers/{name}/pause").headers["location"] == "/workers"
    halt = control.is_paused(site.hub.broker, name)
    assert halt is not None
    assert halt.by == "ann"
    text = browser.get("/workers").text
    assert "takes no tasks until somebody resumes it" in text
    assert "by ann" in text
    browser.post(f"/workers/{name}/resume")
    assert control.is_paused(site.hub.broker, name) is None
    assert rooms.deeds(site, "worker_paused") == rooms.deeds(site, "worker_resumed") == ["ann"]
    assert browser.post(f"/api/v1/workers/{name}/resume").json() == {"worker": name, "changed": False}


def test_a_worker_is_told_how_to_end_by_a_form_that_asks(site: Site) -> None:
    name = rooms.a_worker(site.hub.db)
    browser = site.browser("ann")
    asked = browser.get(f"/workers/{name}/stop?how=kill").text
    assert 'value="kill" checked' in asked
    with site.hub.db.pubsub() as heard:
        heard.subscribe(f"{keys.RQ}pubsub:{name}")
        assert heard.get_message(timeout=PATIENCE)
        for how in ("drain", "kill", "keep"):
            answer = browser.post(f"/workers/{name}/stop", data={"how": how})
            assert answer.status_code == 303, answer.text
            message = heard.get_message(timeout=PATIENCE)
            assert message
            assert json.loads(message["data"]) == {"command": "shutdown", "how": how}
    assert browser.post(f"/workers/{name}/stop", data={"how": "<b>"}).status_code == 422
    silent = browser.post(f"/workers/{name}/stop", data={"how": "keep"})
    assert silent.status_code == 409
    assert "does not listen" in silent.text
    assert rooms.deeds(site, "worker_stopped") == ["ann"] * 3


def test_a_worker_that_is_gone_is_shown_and_forgotten(site: Site) -> None:
    db = site.hub.db
    long_ago = to_micros(site.hub.broker.now()) - 3_600_000_000
    db.hset(keys.HEARD, "old.dir", standing.heard(long_ago, pid=1, name="old.dir.7", host="old", queues=["q"], labels=[], slots=1, version="0.1"))
    db.hset(keys.MACHINES, "old.dir", json.dumps({"name": "old.dir.7", "queues": ["q"]}))
    browser = site.browser("ann")
    assert "unreachable" in browser.get("/workers").text
    assert "Forget this worker" in browser.get("/workers/old.dir.7/forget").text
    answer = browser.post("/workers/old.dir.7/forget")
    assert answer.status_code == 303, answer.text
    assert "old.dir" not in browser.get("/workers?only=fleet").text
    live = rooms.a_worker(db)
    assert browser.post(f"/workers/{live}/forget").status_code == 409
    assert browser.post("/workers/none/forget").status_code == 404


def test_a_queue_is_paused_emptied_and_what_failed_there_runs_again(site: Site) -> None:
    run = site.hub.start(a_version({"one": [], "two": []}, dag_id="daily"), run_id="first")
    browser = site.browser("ann")
    browser.post("/queues/default/pause")
    assert control.paused_queues(site.hub.broker)["default"].by == "ann"
    assert "by ann" in browser.get("/workers").text
    assert playing.claim(site.hub.broker) == []
    browser.post("/queues/default/resume")
    (claim, _) = playing.claim(site.hub.broker)
    playing.tell(site.hub.broker, playing.end(claim, TaskState.FAILED))
    site.hub.record()
    assert f"daily.{claim.task_id}" in browser.get("/queues/default/requeue-failed").text
    browser.post("/queues/default/requeue-failed")
    assert "1 task will run again" in browser.get("/workers").text
    assert site.hub.states(run)[claim.task_id] == "queued"
    assert "Cancel 1 task" in browser.get("/queues/default/empty").text
    browser.post("/queues/default/empty")
    assert site.hub.states(run)[claim.task_id] == "cancelled"
    for event in ("queue_paused", "queue_resumed", "queue_emptied"):
        assert rooms.deeds(site, event) == ["ann"], event
    for deed in ("pause", "resume", "empty", "requeue-failed"):
        assert browser.post(f"/queues/nobody/{deed}").status_code == 404


def test_a_queue_without_a_worker_is_warned_of(site: Site) -> None:
    site.hub.start(a_version(dag_id="daily"), run_id="first")
    unserved.look(site.hub.db)
    browser = site.browser("vera", Role.VIEWER)
    text = browser.get("/workers").text
    assert "No worker serves the queue default: 1 task waits" in text
    (queue,) = browser.get("/api/v1/queues").json()["items"]
    assert queue["unserved_since"]
    site.hub.record()
    (queue,) = browser.get("/api/v1/queues").json()["items"]
    assert queue["oldest_since"]


def test_who_is_no_admin_steers_nothing(site: Site) -> None:
    name = rooms.a_worker(site.hub.db)
    rooms.refused(site, [f"POST /workers/{name}/pause", f"POST /workers/{name}/resume", f"GET /workers/{name}/stop", f"POST /workers/{name}/stop",
                         f"GET /workers/{name}/forget", f"POST /workers/{name}/forget", "POST /queues/default/pause", "POST /queues/default/resume",
                         "GET /queues/default/empty", "POST /queues/default/empty", "GET /queues/default/requeue-failed",
                         "POST /queues/default/requeue-failed", f"POST /api/v1/workers/{name}/drain", f"DELETE /api/v1/workers/{name}"])
    assert control.is_paused(site.hub.broker, name) is None
