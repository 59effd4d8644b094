"""What is told to those who may not see it, where each sees only what is theirs (webserver.filter_by_owner): nothing, not even that it is there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from rqflow.actions import pools
from rqflow.security.roles import Role
from tests.integration.broker import playing
from tests.integration.web.site import Site
from tests.unit.builders import a_version

#: What nobody but ann and administrators may read, in names that are easily found.
DAG, RUN, TASK = "confidential", "secretive-1", "discreet"


@pytest.fixture
def hidden(site: Site) -> Iterator[Site]:
    """The same hub; who is no administrator sees only what is theirs."""
    made = Site(site.hub.db, site.settings.redis.url, site.engine, site.settings.home, filter_by_owner=True)
    yield made
    made.close()


def fill(site: Site) -> str:
    """A DAG with two runs and a backfill, which are ann's; the key of the first run."""
    version = a_version({TASK: []}, dag_id=DAG, schedule="@daily", start_date="2026-01-01T00:00:00+00:00")
    run = site.hub.start(version, run_id=RUN)
    site.hub.start(version, day=1, run_id="secretive-2")
    started = site.browser("ann").post(f"/api/v1/dags/{DAG}/backfills", json={"first": "2026-01-02T00:00:00Z", "last": "2026-01-03T00:00:00Z"})
    assert started.status_code == 200, started.text
    return run.run_key


def tells(browser: TestClient, path: str) -> list[str]:
    """What an answer gives away beyond what was asked with."""
    answer = browser.get(path)
    assert answer.status_code in {404, 422}, (path, answer.status_code)
    return [word for word in (DAG, RUN, "secretive-2", TASK) if word in answer.text.replace(path, "") and word not in path]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_no_answer_names_what_is_hidden(site: Site, hidden: Site, role: Role) -> None:
    key = fill(site)
    browser = hidden.browser("otto", role)
    for path in ("/api/v1/backfills/1", "/backfills/1", "/backfills/1/cancel", f"/api/v1/runs/{key}", f"/runs/{key}", "/api/v1/runs/secretive",
                 "/runs/secretive", "/api/v1/runs/secretive/tasks", "/api/v1/dags/confidentia", "/dags/confidentia", "/runs/confidentia@latest", f"/api/v1/runs/{key}/why", f"/runs/{key}/logs/x/1", f"/runs/{key}/report.html"):
        assert tells(browser, path) == [], path
    site.browser("ann").delete(f"/api/v1/runs/{key}")
    assert tells(browser, f"/api/v1/runs/{key}") == []


def test_what_is_hidden_is_answered_as_what_there_is_not(site: Site, hidden: Site) -> None:
    fill(site)
    browser = hidden.browser("otto", Role.OPERATOR)
    for there, not_there in ((f"/api/v1/runs/{DAG}@latest", "/api/v1/runs/none@latest"), (f"/api/v1/runs/{DAG}@last-failed", "/api/v1/runs/none@last-failed"),
                             (f"/airflow/api/v1/dags/{DAG}/dagRuns/{RUN}", f"/airflow/api/v1/dags/none/dagRuns/{RUN}"),
                             (f"/airflow/api/v1/dags/{DAG}/dagRuns/x", "/airflow/api/v1/dags/none/dagRuns/x"), (f"/api/v1/dags/{DAG}", "/api/v1/dags/none")):
        answers = [browser.get(path) for path in (there, not_there)]
        assert [one.status_code for one in answers] == [404, 404]
        assert answers[0].text.replace(DAG, "none") == answers[1].text, there


def test_a_name_is_looked_for_among_what_one_sees(site: Site, hidden: Site) -> None:
    fill(site)
    bob = hidden.browser("bob", Role.OPERATOR)
    assert bob.post("/api/v1/dags", json={"versions": [a_version(dag_id="own").json]}).status_code == 200
    own = bob.post("/api/v1/runs", json={"dag_id": "own", "run_id": "secretive-of-bob"}).json()
    assert bob.get("/api/v1/runs/secretive").json()["run_key"] == own["run_key"]


def test_who_runs_a_command_that_another_ran_before_sees_their_own_run_alone(site: Site, hidden: Site) -> None:
    command = {"command": ["true"]}
    keys = [hidden.browser(name, Role.OPERATOR).post("/api/v1/exec", json=command).json()["run_key"] for name in ("bob", "eve")]
    assert [hidden.browser("eve").get(f"/api/v1/runs/{key}").status_code for key in keys] == [404, 200]


def test_why_a_task_waits_names_nothing_that_is_hidden(site: Site, hidden: Site) -> None:
    pools.put(site.hub.broker, site.engine, "disk", 1, by="ann")
    site.hub.start(a_version({TASK: []}, dag_id=DAG, each={"pool": "disk"}), run_id=RUN)
    playing.claim(site.hub.broker)
    bob = hidden.browser("bob", Role.OPERATOR)
    assert bob.post("/api/v1/dags", json={"versions": [a_version(["a"], dag_id="own", each={"pool": "disk"}).json]}).status_code == 200
    key = bob.post("/api/v1/runs", json={"dag_id": "own"}).json()["run_key"]
    playing.claim(site.hub.broker)
    for path in (f"/api/v1/runs/{key}/tasks/a/why", f"/api/v1/runs/{key}/why", f"/runs/{key}/tasks/a", "/api/v1/dags/own/doctor?task_id=a"):
        text = bob.get(path).text
        assert "held by a task of a DAG that you do not see" in text, path
        assert not [word for word in (DAG, RUN, TASK) if word in text], path
        assert f"held by {TASK} of {RUN}" in site.browser("ann").get(path).text, path


def test_what_runs_is_counted_for_those_who_see_it(site: Site, hidden: Site) -> None:
    fill(site)
    playing.claim(site.hub.broker, 1)
    bob = hidden.browser("bob", Role.OPERATOR)
    seen = {name: browser.get("/api/v1/top").json() for name, browser in (("bob", bob), ("ann", site.browser("ann")))}
    assert {name: (one["runs"], one["running"], len(one["tasks"])) for name, one in seen.items()} == {"bob": (0, 0, 0), "ann": (2, 1, 1)}


def test_nobody_learns_of_the_sessions_of_others(site: Site) -> None:
    for _ in range(40):
        site.browser("ann")
    bob = site.browser("bob", Role.VIEWER)
    own = bob.get("/api/v1/sessions").json()["items"][0]["name"]
    assert {bob.delete(f"/api/v1/sessions/{digit}").status_code for digit in "0123456789abcdef" if digit != own[0]} == {404}
    assert bob.delete(f"/api/v1/sessions/{own[0]}").status_code == 200
