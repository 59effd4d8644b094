"""The page of a run, with and without a task beside the list; what it reads; the fragments that are got anew."""

from __future__ import annotations

import csv
import io
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event
from starlette.testclient import TestClient

from rqflow.actions import variables, why
from rqflow.actions.notes import write
from rqflow.actions.variables import Given
from rqflow.broker import keys
from rqflow.broker.watch import Held, Watch
from rqflow.deploy.lasting import Lasting
from rqflow.recorder.logpath import log_path
from rqflow.security.keyring import Keyring
from rqflow.security.roles import Role
from rqflow.settings import RedisSettings
from rqflow.states import TaskState
from rqflow.store.runs import RunRecord
from rqflow.web.run_pages import run_pages_of
from tests.integration.broker import playing
from tests.integration.web.site import Site
from tests.unit.builders import a_task, a_version
from tests.waiting import processor_seconds

PIECE = {"HX-Request": "true"}


def a_run(site: Site) -> RunRecord:
    """a has ended with XComs, b waits for its next try, c and d wait."""
    specs = [a_task("b", retries=2, retry_delay=600.0), a_task("g.c", "echo {{ params.city }} {{ ti.xcom_pull(task_ids='a') }}", group_id="g")]
    version = a_version({"a": [], "b": [], "g.c": ["a", "b"], "d": ["g.c"]}, dag_id="daily", specs=specs, groups={"g": {}},
                        params={"city": "<b>Bern</b>"})
    run = site.hub.start(version, run_id="first")
    claims = {one.task_id: one for one in playing.claim(site.hub.broker)}
    playing.tell(site.hub.broker, playing.end(claims["a"], xcoms={"return_value": '"<i>7</i>"'}),
                 playing.end(claims["b"], TaskState.UP_FOR_RETRY, retry_in=600.0, reason="exit code 3 <b>"))
    return run


def got(browser: TestClient, url: str, piece: str = "") -> str:
    answer = browser.get(url, headers={**PIECE, "HX-Target": f"div#{piece}"} if piece else {})
    assert answer.status_code == 200, answer.text
    return answer.text


def test_a_run_is_one_screen(site: Site) -> None:
    run = a_run(site)
    write(site.engine, run, "see https://example.org/x <b>", by="ann")
    browser = site.browser("ann")
    shown = got(browser, f"/runs/{run.run_key}")
    for part in ("first", "started by hand by <b>ann</b>", 'href="/dags/daily/trigger?of=', 'href="/dags/daily/code?version=1"', "1 param", 'data-since="',
                 '<a href="https://example.org/x"', f'data-live="run:{run.run_key}"', "waits for b", "exit code 3 &lt;b&gt;", 'class="graph-dot" hidden'):
        assert part in shown, part
    assert "<b>Bern" not in shown
    assert "&lt;b&gt;Bern&lt;/b&gt;" in got(browser, f"/runs/{run.run_key}?tab=params")
    assert "segment-retry" in got(browser, f"/runs/{run.run_key}?tab=timeline")
    site.hub.record()
    assert "exit code 3 &lt;b&gt;" in got(browser, f"/runs/{run.run_key}?tab=events")
    assert browser.get("/runs/first").headers["location"] == f"/runs/{run.run_key}"


def test_a_task_is_beside_the_list_with_its_log_and_all_that_is_known(site: Site) -> None:
    run = a_run(site)
    assert run.logical_date
    log = Path(site.settings.logs.folder, log_path("daily", "a", run.logical_date, 1, run_key=run.run_key))
    log.parent.mkdir(parents=True)
    log.write_text("it says <script>\n")
    browser, at = site.browser("ann"), f"/runs/{run.run_key}/tasks"
    assert "it says &lt;script&gt;" in got(browser, f"{at}/a")
    assert "&lt;i&gt;7&lt;/i&gt;" in got(browser, f"{at}/a?tab=xcoms")
    details = got(browser, f"{at}/b?tab=details")
    for part in ("Try 1 of 3", "exit code 3", "Trigger rule", "Downstream", "/tasks/b/run-now", f"/runs/{run.run_key}/tasks/b/kill"):
        assert part in details, part
    assert "No log yet" in got(browser, f"{at}/d")
    for tab in ("graph", "timeline", "details", "rendered", "xcoms"):
        got(browser, f"{at}/d?tab={tab}")
    assert 'aria-current="true" title="b: up for retry"' in details


def test_the_reason_is_the_one_that_the_command_line_gives(site: Site) -> None:
    run = a_run(site)
    version = site.hub.broker.version(run.version or "")
    assert version
    said = why.task(site.hub.broker, version, run.run_key, version.by_id["g.c"].index)
    shown = got(site.browser("ann"), f"/runs/{run.run_key}/tasks/g.c?tab=details")
    assert said.reason in shown
    assert f"What lifts it: {said.lifted_by}" in shown
    assert site.browser("ann").get(f"/api/v1/runs/{run.run_key}/tasks/g.c/why").json()["reason"] == said.reason


def test_an_unreachable_task_is_said_to_be_assumed_running(site: Site) -> None:
    run = site.hub.start(a_version(dag_id="far"))
    claim, = playing.claim(site.hub.broker)
    lease = time.time() - 1
    site.hub.db.zadd(keys.LEASES, {f"{run.run_key}:0:{claim.execution_id}": lease})
    assert Watch(site.hub.broker).mark_unreachable([Held(run.run_key, 0, claim.execution_id, lease)]) == 1
    browser = site.browser("ann")
    for url in (f"/runs/{run.run_key}", f"/runs/{run.run_key}/tasks/a"):
        shown = got(browser, url)
        assert "unreachable since 20" in shown
        assert "still assumed running for as long as it takes" in shown
        assert "st-unreachable" in shown
    assert "/tasks/a/mark-lost" in shown
    assert browser.post(f"/runs/{run.run_key}/tasks/a/mark-lost").status_code == 303
    assert site.hub.states(run) == {"a": "lost"}


def test_each_piece_is_got_by_itself_from_the_address_of_the_page(site: Site) -> None:
    run, browser = a_run(site), site.browser("ann")
    at = f"/runs/{run.run_key}/tasks/b?tab=graph"
    for piece, has, lacks in (("run-head", "Run again", "run-rows"), ("tasks", "run-rows", "graph-canvas"), ("panel", 'id="panel-body"', "run-rows"),
                              ("panel-top", "run-task-head", 'id="panel-body"'), ("panel-body", "graph-canvas", "run-task-head"),
                              ("graph-states", 'data-state="up_for_retry"', "graph-canvas")):
        shown = got(browser, at, piece)
        assert shown.count(f'id="{piece}"') == 1, piece
        assert has in shown
        assert lacks not in shown
        assert "<html" not in shown


def test_states_are_right_while_no_recorder_runs_and_after_redis_has_forgotten_the_run(site: Site) -> None:
    run, browser = site.hub.start(a_version({"a": [], "b": ["a"]}, dag_id="line")), site.browser("ann")
    assert 'title="a: queued"' in got(browser, f"/runs/{run.run_key}", "tasks")
    playing.play(site.hub.broker, {"b": TaskState.FAILED})
    unrecorded = got(browser, f"/runs/{run.run_key}", "tasks")
    site.hub.forget(run)
    forgotten = got(browser, f"/runs/{run.run_key}", "tasks")
    for shown in (unrecorded, forgotten):
        assert 'title="a: success"' in shown
        assert 'title="b: failed"' in shown


def test_the_list_is_narrowed_by_text_and_state_and_groups_close(site: Site) -> None:
    run, browser = a_run(site), site.browser("ann")
    at = f"/runs/{run.run_key}"
    assert 'data-task="g.c"' not in got(browser, f"{at}?flip=g", "tasks")
    only = got(browser, f"{at}?state=success", "tasks")
    assert 'data-task="a"' in only
    assert 'data-task="b"' not in only
    assert 'data-task="g.c"' in got(browser, f"{at}?q=C", "tasks")
    assert "No task passes the filter" in got(browser, f"{at}?q=nothing", "tasks")


def test_rendered_fields_hide_secrets_and_say_why_they_cannot_be_rendered(site: Site) -> None:
    given = {"login": Given(value="hunter22", is_secret=True)}
    variables.put(site.hub.broker, site.engine, Keyring.of(site.settings), given, by="ann")
    specs = [a_task("a", "login {{ params.name }} {{ var.value.login }} --try {{ ti.try_number }}", fields={"env": {"API_TOKEN": "tok-4711", "THREADS": "4"}}),
             a_task("b", "{{ nothing.at.all }}")]
    run = site.hub.start(a_version(["a", "b"], dag_id="secret", specs=specs, params={"name": "eve"}))
    browser = site.browser("ann")
    shown = got(browser, f"/runs/{run.run_key}/tasks/a?tab=rendered")
    assert "login eve *** --try 1" in shown
    assert "RQFLOW_TASK_ID" in shown
    assert "tok-4711" not in shown
    assert "hunter22" not in shown
    assert "data-copy=" in shown
    broken = got(browser, f"/runs/{run.run_key}/tasks/b?tab=rendered")
    assert "as it is written" in broken
    assert "nothing" in broken
    answer = browser.get(f"/api/v1/runs/{run.run_key}/tasks/a/rendered").json()
    assert answer["env"]["API_TOKEN"] == "***"
    assert [one["value"] for one in answer["fields"]] == ["login eve *** --try 1"]


def test_reports_are_files(site: Site) -> None:
    run, browser = a_run(site), site.browser("ann")
    site.hub.record()
    for form, kind in (("html", "text/html"), ("csv", "text/csv"), ("svg", "image/svg+xml")):
        answer = browser.get(f"/runs/{run.run_key}/report.{form}")
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["content-disposition"].startswith("attachment; filename=\"daily.2024-01-01")
    rows = list(csv.DictReader(io.StringIO(browser.get(f"/runs/{run.run_key}/report.csv").text)))
    assert {row["task_id"] for row in rows} == {"a", "b"}
    assert browser.get(f"/api/v1/runs/{run.run_key}/report?form=trace").json()["text"].startswith("dag_id,run_id")
    assert browser.get(f"/runs/{run.run_key}/report.pdf").status_code == 404
    assert browser.get(f"/runs/{run.run_key}/graph.dot").text.startswith("digraph")


def test_events_come_in_pages(site: Site) -> None:
    run, browser = a_run(site), site.browser("ann")
    site.hub.record()
    url, seen = f"/api/v1/runs/{run.run_key}/events?limit=2", []
    after = ""
    while True:
        found = browser.get(url + (f"&after={after}" if after else "")).json()
        seen += found["items"]
        after = found["next"]
        if not after:
            break
    assert [one["at"] for one in seen] == sorted((one["at"] for one in seen), reverse=True)
    assert len({json.dumps(one) for one in seen}) == len(seen) > 4
    assert browser.get(f"/runs/{run.run_key}?tab=events&before=nonsense").status_code == 422


@pytest.mark.parametrize("path", ["/runs/0000000000000000", "/runs/{key}/tasks/nobody", "/runs/{key}/tasks/a?try=7", "/runs/{key}/clear2",
                                  "/runs/{key}/tasks/nobody?tab=rendered", "/runs/%00", "/runs/{key}/tasks/%00"])
def test_what_nobody_has_is_not_found(site: Site, path: str) -> None:
    run = a_run(site)
    assert site.browser("ann").get(path.format(key=run.run_key)).status_code == 404


@pytest.mark.parametrize("query", ["try=x", "from=-1", "state=rotten", "near=perhaps", f"q={'x' * 400}"])
def test_a_bad_query_is_told_in_words(site: Site, query: str) -> None:
    run = a_run(site)
    assert site.browser("ann").get(f"/runs/{run.run_key}?{query}").status_code == 422


@pytest.mark.parametrize("query", ["tab=nonsense", "q=%00%F0%9F%98%80", "flip=%00", "open=%00&open=nobody", "from=99999"])
def test_an_odd_query_is_shown_what_there_is(site: Site, query: str) -> None:
    run = a_run(site)
    assert site.browser("ann").get(f"/runs/{run.run_key}?{query}").status_code == 200


def test_a_run_of_10_000_tasks_is_shown_in_a_second_and_a_fixed_number_of_questions(site: Site) -> None:
    tasks = {f"t{n:05}": [] for n in range(5000)} | {f"g{n // 50:03}.m{n:05}": [f"t{n:05}"] for n in range(5000)}
    grouped = [a_task(f"g{n // 50:03}.m{n:05}", group_id=f"g{n // 50:03}") for n in range(5000)]
    run = site.hub.start(a_version(tasks, dag_id="big", specs=grouped, groups={f"g{n:03}": {} for n in range(100)}))
    browser, statements = site.browser("ann"), []
    got(browser, f"/runs/{run.run_key}?tab=params")
    run_pages_of(site.app).forget(run.run_key)
    event.listen(site.app.state.parts.lasting.engine(), "before_cursor_execute", lambda *told: statements.append(told[2]))
    shown = got(browser, f"/runs/{run.run_key}?tab=params")
    assert len(shown) < 400_000
    assert len([one for one in statements if one.startswith("SELECT")]) <= 14, statements
    took = processor_seconds(lambda: got(browser, f"/runs/{run.run_key}?tab=params"), before=lambda: run_pages_of(site.app).forget(run.run_key))
    assert took < 1.5
    part = got(browser, f"/runs/{run.run_key}/tasks/g099.m04999?tab=details", "tasks")
    assert 'data-task="g099.m04999"' in part
    assert part.count("data-task=") <= 500


def test_who_may_not_change_a_run_sees_no_buttons_for_it(site: Site) -> None:
    run = a_run(site)
    viewer = got(site.browser("vera", Role.VIEWER), f"/runs/{run.run_key}/tasks/b")
    other = got(site.browser("otto", Role.OPERATOR), f"/runs/{run.run_key}/tasks/b")
    for shown in (viewer, other):
        assert "/clear" not in shown
        assert "/kill" not in shown
    assert "trigger?of=" not in viewer


def test_while_redis_is_away_the_history_is_shown_and_deeds_say_why_not(site: Site) -> None:
    run = site.hub.start(a_version({"a": []}, dag_id="daily"))
    playing.play(site.hub.broker)
    site.hub.forget(run)
    site.app.state.parts.lasting = Lasting(replace(site.settings, redis=RedisSettings(url="unix:///nowhere/redis.sock")), client_name="rqflow-web")
    browser = site.browser("ann")
    for path in ("", "/tasks/a?tab=details", "/tasks/a?tab=xcoms"):
        shown = got(browser, f"/runs/{run.run_key}{path}")
        assert "This is what the history knows: Redis does not answer" in shown, path
        assert 'title="a: success"' in shown
    assert browser.get(f"/runs/{run.run_key}/clear?task=a").status_code == 503
