"""Lists of runs, and what is done to many of them."""

from __future__ import annotations

import re

from rqflow.actions import query
from rqflow.security.roles import Role
from rqflow.states import TaskState
from rqflow.store import runs
from rqflow.store.engine import reading
from rqflow.store.runs import RunFilter, RunRecord
from tests.integration.broker import playing
from tests.integration.web.site import Site
from tests.unit.builders import a_version

LINE = a_version({"a": [], "b": ["a"]}, dag_id="line")


def some(site: Site) -> tuple[RunRecord, RunRecord, RunRecord]:
    """A run that succeeded, one that failed, one that goes on."""
    good = site.hub.start(LINE)
    playing.play(site.hub.broker)
    bad = site.hub.start(LINE, day=1)
    playing.play(site.hub.broker, {"a": TaskState.FAILED})
    going = site.hub.start(LINE, day=2)
    playing.claim(site.hub.broker)
    site.hub.record()
    return good, bad, going


def shown(text: str) -> list[str]:
    return re.findall(r'<tr id="run-(\w+)"', text)


def state(site: Site, run: RunRecord) -> str:
    return query.show(site.hub.broker, site.engine, run.run_key).state.value


def test_runs_are_listed_the_newest_first_and_filters_narrow_them(site: Site) -> None:
    good, bad, going = (run.run_key for run in some(site))
    browser = site.browser("ann")
    for path, expected in (("/runs", [going, bad, good]), ("/runs?state=failed", [bad]), ("/runs?dag=line", [going, bad, good]), ("/runs?dag=lin", []),
                           ("/runs?run_type=scheduled", []), ("/runs?since=2099-01-01", []), ("/runs?until=2099-01-01T10:00", [going, bad, good]),
                           ("/dags/line/runs?state=running", [going]), (f"/runs?after={bad}", [good])):
        assert shown(browser.get(path).text) == expected, path
    assert "Did you mean line?" in browser.get("/runs?dag=lin").text
    for path in ("/runs?state=odd", "/runs?since=soon", "/runs?run_type=odd", "/dags/line/runs?since=9999-99-99"):
        assert browser.get(path).status_code == 422, path
    assert browser.get("/runs?after=0123456789abcdef").status_code == 404
    assert browser.get("/dags/none/runs").status_code == 404


def test_the_chart_of_runs_has_a_mark_for_each_that_leads_to_it(site: Site) -> None:
    found = some(site)
    text = site.browser("ann").get("/dags/line/runs").text
    assert re.findall(r'<a href="/runs/(\w+)" class="mark st-(\w+)"', text) == [
        (run.run_key, state) for run, state in zip(found, ("success", "failed", "running"), strict=True)]


def test_what_failed_runs_again_after_its_tasks_were_shown(site: Site) -> None:
    good, bad, going = some(site)
    browser = site.browser("ann")
    preview = browser.get("/dags/line/runs/clear").text
    assert "2 tasks: a, b" in preview
    assert good.run_id not in preview
    keys = re.search(r'name="keys" value="([^"]+)"', preview)
    assert keys
    assert keys[1] == bad.run_key
    assert browser.post("/dags/line/runs/clear", data={"keys": keys[1]}).headers["location"] == "/dags/line/runs"
    assert "1 of 1 runs of line run again." in browser.get("/dags/line/runs").text
    assert (state(site, bad), state(site, going)) == ("running", "running")


def test_runs_are_cancelled_and_deleted(site: Site) -> None:
    good, bad, going = some(site)
    browser = site.browser("ann")
    cancelling = browser.get("/dags/line/runs/cancel").text
    assert going.run_key in cancelling
    assert bad.run_key not in cancelling
    browser.post("/dags/line/runs/cancel", data={"keys": f"{going.run_key},{bad.run_key},none"})
    text = browser.get("/dags/line/runs").text
    assert "1 of 3 runs of line are being cancelled. 2 could not be changed" in text
    assert good.run_key in browser.get("/dags/line/runs/delete?state=success").text
    browser.post("/dags/line/runs/delete", data={"keys": good.run_key})
    with reading(site.engine) as connection:
        assert good.run_key not in {run.run_key for run in runs.search(connection, RunFilter(dag_id="line"))}


def test_who_may_not_change_runs_is_told_so_before_and_after(site: Site) -> None:
    _, bad, _ = some(site)
    for name, role in (("vera", Role.VIEWER), ("otto", Role.OPERATOR)):
        browser = site.browser(name, role)
        assert "None of the runs that are shown can be meant" in browser.get("/dags/line/runs/delete").text
        browser.post("/dags/line/runs/delete", data={"keys": bad.run_key})
        assert "0 of 1 runs" in browser.get("/dags/line/runs").text
    assert site.browser("ann").get("/dags/line/runs/burn").status_code == 422
    assert state(site, bad) == "failed"
