"""What people do to runs and tasks from the page: previews, what is done, what is refused."""

from __future__ import annotations

import re

import pytest

from rqflow.actions.people import audit
from rqflow.security.roles import Role
from rqflow.states import TaskState
from rqflow.store.events import EventFilter
from rqflow.store.runs import RunRecord
from tests.integration.broker import playing
from tests.integration.web.site import Site
from tests.unit.builders import a_task, a_version
from tests.waiting import processor_seconds

DIALOG = {"HX-Request": "true", "HX-Target": "div#dialog-body"}
DAG = {"a": [], "b": ["a"], "c": ["b"], "d": ["a"]}


def failed(site: Site, **changes: object) -> RunRecord:
    """A run in which b has failed, and so c did not run."""
    run = site.hub.start(a_version(DAG, dag_id="line"), **changes)  # type: ignore[arg-type]  # names are data here
    playing.play(site.hub.broker, {"b": TaskState.FAILED})
    site.hub.record()
    return run


def fields(page: str) -> dict[str, str]:
    """What the form that changes something would send."""
    form = page[page.index('<form class="confirm"'):]
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form))


def deeds(site: Site, run: RunRecord) -> list[str]:
    return [one.event for one in audit.search(site.engine, EventFilter(run_key=run.run_key)) if one.event != "run_started"]


def test_a_clear_says_what_will_run_before_it_does(site: Site) -> None:
    run, browser = failed(site), site.browser("ann")
    url = f"/runs/{run.run_key}/clear"
    whole = browser.get(url).text
    assert "Run 2 tasks again" in whole
    assert 'name="only_failed" value="1" checked' in whole
    assert "which has nothing new for them" in whole
    task = browser.get(f"{url}?task=a").text
    assert "Run 4 tasks again" in task
    assert "Run 1 task again" in browser.get(f"{url}?task=a&chosen=1").text
    assert "Run 2 tasks again" in browser.get(f"{url}?task=b&chosen=1&upstream=1").text
    assert "Nothing to run again" in browser.get(f"{url}?task=d&chosen=1&only_failed=1").text
    assert deeds(site, run) == []
    assert "<html" not in browser.get(url, headers=DIALOG).text
    answer = browser.post(url, data=fields(whole))
    assert (answer.status_code, answer.headers["location"]) == (303, f"/runs/{run.run_key}")
    assert site.hub.states(run) == {"a": "success", "b": "queued", "c": "pending", "d": "success"}
    assert deeds(site, run) == ["run_cleared"]
    assert "2 tasks run again." in browser.get(f"/runs/{run.run_key}").text


def test_what_is_new_in_the_version_is_said(site: Site) -> None:
    run, browser = failed(site), site.browser("ann")
    site.hub.start(a_version(DAG, dag_id="line", commands={"b": "echo mended"}), day=1)
    url = f"/runs/{run.run_key}/clear?task=b"
    assert "echo mended" in browser.get(url).text
    assert "the version of their last tries" in browser.get(f"{url}&chosen=1&same_version=1").text


def test_runs_before_and_after_are_cleared_too(site: Site) -> None:
    first, second = failed(site), failed(site, day=1)
    browser = site.browser("ann")
    page = browser.get(f"/runs/{second.run_key}/clear?task=b&chosen=1&past=1").text
    assert "of 2 runs" in page
    browser.post(f"/runs/{second.run_key}/clear", data=fields(page))
    assert [site.hub.states(run)["b"] for run in (first, second)] == ["queued", "queued"]


def test_of_two_people_who_clear_the_same_task_the_second_is_told(site: Site) -> None:
    run, ann, bob = failed(site), site.browser("ann"), site.browser("bob")
    url = f"/runs/{run.run_key}/clear"
    one, other = (person.get(f"{url}?task=b").text for person in (ann, bob))
    assert ann.post(url, data=fields(one)).status_code == 303
    refused = bob.post(url, data=fields(other), headers=DIALOG)
    assert refused.status_code == 409
    assert "ann cleared tasks of this run at" in refused.text
    assert "<html" not in refused.text
    assert "queued" in refused.text
    assert bob.post(url, data=fields(refused.text)).status_code == 303
    assert deeds(site, run) == ["run_cleared", "run_cleared"]


def test_running_tasks_are_left_alone_and_that_is_said(site: Site) -> None:
    run, browser = site.hub.start(a_version(DAG, dag_id="line")), site.browser("ann")
    playing.claim(site.hub.broker)
    page = browser.get(f"/runs/{run.run_key}/clear?task=a&chosen=1").text
    assert "1 of them run now and are left alone" in page
    browser.post(f"/runs/{run.run_key}/clear", data=fields(page))
    assert "Not done: a cannot be cleared now" in browser.get(f"/runs/{run.run_key}").text


@pytest.mark.parametrize("state", ["success", "failed", "skipped"])
def test_a_task_is_marked_after_a_preview(site: Site, state: str) -> None:
    run, browser = failed(site), site.browser("ann")
    page = browser.get(f"/runs/{run.run_key}/mark?task=b&chosen=1&state={state}").text
    assert f"Mark 1 task {state}" in page
    assert browser.post(f"/runs/{run.run_key}/mark", data=fields(page)).headers["location"] == f"/runs/{run.run_key}/tasks/b"
    assert site.hub.states(run)["b"] == state


def test_a_whole_run_is_marked(site: Site) -> None:
    run, browser = failed(site), site.browser("ann")
    page = browser.get(f"/runs/{run.run_key}/mark").text
    assert "Mark 2 tasks success" in page
    browser.post(f"/runs/{run.run_key}/mark", data=fields(page))
    assert set(site.hub.states(run).values()) == {"success"}
    assert browser.get(f"/runs/{run.run_key}/mark?state=wrong").status_code == 422


def test_a_task_is_killed_and_a_second_time_refused_in_words(site: Site) -> None:
    run, browser = site.hub.start(a_version(DAG, dag_id="line")), site.browser("ann")
    url = f"/runs/{run.run_key}/tasks/d/kill"
    assert "no further try" in browser.get(url, headers=DIALOG).text
    done = browser.post(url, headers=DIALOG)
    assert (done.status_code, done.headers["hx-redirect"]) == (204, f"/runs/{run.run_key}/tasks/d")
    assert site.hub.states(run)["d"] == "cancelled"
    again = browser.post(url, headers=DIALOG)
    assert again.status_code == 409
    assert "d of run" in again.text
    assert "has ended: cancelled" in again.text
    assert "<html" not in again.text


def test_a_retry_starts_at_once_and_what_waits_for_nothing_does_not(site: Site) -> None:
    run = site.hub.start(a_version(["a", "b"], dag_id="late", specs=[a_task("a", retries=1, retry_delay=600.0)]))
    claims = {one.task_id: one for one in playing.claim(site.hub.broker)}
    playing.tell(site.hub.broker, playing.end(claims["a"], TaskState.UP_FOR_RETRY, retry_in=600.0))
    browser = site.browser("ann")
    assert browser.post(f"/runs/{run.run_key}/tasks/a/run-now").status_code == 303
    assert site.hub.states(run)["a"] == "queued"
    refused = browser.post(f"/runs/{run.run_key}/tasks/b/run-now")
    assert refused.status_code == 409
    assert "neither waits for its time nor is it parked" in refused.text


def test_only_what_is_unreachable_is_declared_lost(site: Site) -> None:
    run, browser = site.hub.start(a_version(["a"], dag_id="far")), site.browser("ann")
    playing.claim(site.hub.broker)
    refused = browser.post(f"/runs/{run.run_key}/tasks/a/mark-lost")
    assert refused.status_code == 409
    assert "which is heard of" in refused.text


def test_a_run_is_cancelled_noted_and_deleted(site: Site) -> None:
    run, browser = site.hub.start(a_version(DAG, dag_id="line")), site.browser("ann")
    at = f"/runs/{run.run_key}"
    assert "What has not begun does not begin any more" in browser.get(f"{at}/cancel").text
    assert browser.post(f"{at}/cancel").status_code == 303
    assert set(site.hub.states(run).values()) == {"cancelled"}
    assert browser.post(f"{at}/cancel").status_code == 409
    assert browser.post(f"{at}/note", data={"note": "why <b>\r\nnot", "back": "a"}).headers["location"] == f"{at}/tasks/a"
    assert "why &lt;b&gt;\nnot" in browser.get(at).text
    for note in ("x" * 10_001, "a\0b"):
        assert browser.post(f"{at}/note", data={"note": note}).status_code == 422
    assert "go for good" in browser.get(f"{at}/delete").text
    assert browser.post(f"{at}/delete").headers["location"] == "/dags/line"
    assert browser.get(at).status_code == 404


PAGES = ("clear", "mark?task=a", "cancel", "delete", "note", "tasks/a/kill", "tasks/a/mark-lost")
POSTS = ("clear", "mark", "cancel", "delete", "note", "tasks/a/kill", "tasks/a/mark-lost", "tasks/a/run-now")


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_the_run_of_another_operator_is_not_changed(site: Site, role: Role) -> None:
    run, browser = failed(site), site.browser("otto", role)
    before = site.hub.states(run)
    for path in PAGES:
        answer = browser.get(f"/runs/{run.run_key}/{path}", headers=DIALOG)
        assert answer.status_code == 403, path
        assert "ann started it" in answer.text or "takes operator" in answer.text
        assert "<html" not in answer.text
    for path in POSTS:
        assert browser.post(f"/runs/{run.run_key}/{path}", data={"task": "a", "state": "failed"}).status_code == 403, path
    assert site.hub.states(run) == before
    assert deeds(site, run) == []


def test_who_started_a_run_may_change_it(site: Site) -> None:
    version = a_version(DAG, dag_id="line")
    site.hub.start(version)
    otto = site.browser("otto", Role.OPERATOR)
    key = otto.post("/api/v1/runs", json={"dag_id": "line"}).json()["run_key"]
    assert otto.post(f"/runs/{key}/cancel").status_code == 303


@pytest.mark.parametrize("data", [{"task": "nobody"}, {"task": "\0"}, {"task": "a", "seen_at": "soon"}, {"task": "a", "seen_at": "9999-12-31T23:59:59-14:00"}])
def test_nonsense_is_answered_in_words(site: Site, data: dict[str, str]) -> None:
    run = failed(site)
    for path in ("clear", "mark"):
        assert site.browser("ann").post(f"/runs/{run.run_key}/{path}", data={"state": "success", **data}).status_code in {303, 404, 422}


def test_a_clear_of_a_large_run_is_previewed_at_once(site: Site) -> None:
    run = site.hub.start(a_version({f"t{n}": [] for n in range(3000)}, dag_id="big"))
    browser = site.browser("ann")
    page = browser.get(f"/runs/{run.run_key}/clear?chosen=1").text
    assert processor_seconds(lambda: browser.get(f"/runs/{run.run_key}/clear?chosen=1")) < 2.0
    assert "Run 3,000 tasks again" in page
    assert page.count("<tr>") <= 201
