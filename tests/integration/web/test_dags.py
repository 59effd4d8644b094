"""The list of DAGs and the first page."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from sqlalchemy import event

from rqflow import clock
from rqflow.actions import submit
from rqflow.dag.version import Version
from rqflow.security.roles import Role
from rqflow.states import TaskState
from rqflow.store import dag_files, dags
from rqflow.store.dag_files import DagFileRecord
from rqflow.store.engine import reading, transaction
from tests.integration.broker import playing
from tests.integration.web.site import Site
from tests.unit.builders import a_version

#: What a request asks of the database beyond what its page does: who asks, and when that session was seen last.
SESSION = 2


@pytest.fixture
def statements(site: Site) -> Iterator[list[str]]:
    """All that is asked of the database of the application from now on."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA")):
            found.append(statement)

    engine = site.app.state.parts.lasting.engine()
    event.listen(engine, "before_cursor_execute", note)
    yield found
    event.remove(engine, "before_cursor_execute", note)


def with_catchup(dag_id: str) -> Version:
    return a_version(dag_id=dag_id, schedule="@daily", start_date="2024-01-01T00:00:00+00:00", catchup=True)


def paused(site: Site, dag_id: str) -> bool:
    with reading(site.engine) as connection:
        return dags.find(connection, dag_id).is_paused


def test_a_dag_is_a_row_with_its_last_runs_its_schedule_and_links_that_narrow_the_list(site: Site) -> None:
    site.hub.start(a_version(["a"], dag_id="good", tags=("<b>", "x & y"), description="<script>alert(1)</script>"))
    playing.play(site.hub.broker)
    run = site.hub.start(a_version(["a"], dag_id="bad", owner="maria", schedule="*/10 * * * *", start_date="2024-01-01T00:00:00+00:00"))
    playing.play(site.hub.broker, {"a": TaskState.FAILED})
    browser = site.browser("ann")
    text = browser.get("/dags").text
    assert text.index('href="/dags/bad"') < text.index('href="/dags/good"'), "failing first"
    assert f'<a class="sq sq-sm st-failed" href="/runs/{run.run_key}"' in text
    assert "every 10 minutes" in text
    assert "<script>alert" not in text
    assert "<b>" not in text.replace("<b>DAG", "")
    assert 'href="/dags?tag=x+%26+y&amp;show=all' in text
    for query, expected in (("?tag=x+%26+y", ["good"]), ("?owner=maria", ["bad"]), ("?show=failing", ["bad"]), ("?q=GOO", ["good"]), ("?q=nix", []),
                            ("?show=paused", [])):
        assert re.findall(r'<tr id="dag-(\w+)"', browser.get(f"/dags{query}").text) == expected, query
    assert "No DAG fits" in browser.get("/dags?q=nix").text


def test_the_live_part_of_a_page_is_got_alone_and_says_up_to_which_event_it_is_true(site: Site) -> None:
    site.hub.start(a_version(["a"], dag_id="one"))
    browser = site.browser("ann")
    for path, element in (("/dags", "dags"), ("/", "home")):
        part = browser.get(path, headers={"HX-Request": "true"}).text
        assert part.lstrip().startswith("<div id=")
        assert f'id="{element}"' in part
        assert re.search(r'data-upto="\d+-\d+"', part)
        assert "<html" not in part


def test_what_cannot_be_asked_is_said_and_pages_of_nothing_are_pages(site: Site) -> None:
    browser = site.browser("ann")
    for query in ("?show=some", "?sort=size", "?offset=x"):
        assert browser.get(f"/dags{query}").status_code == 422, query
    assert browser.get("/dags?offset=5000&q=%00%ED%A0%80").status_code == 200
    for path in ("/dags", "/"):
        assert "rqflow submit hello.py" in browser.get(path).text


def test_the_switch_pauses_and_lets_go_on(site: Site) -> None:
    site.hub.start(a_version(dag_id="one", schedule="@daily", start_date="2024-01-01T00:00:00+00:00"))
    browser = site.browser("ann")
    answer = browser.post("/dags/one/paused", data={"on": "0", "back": "/dags?q=o"})
    assert (answer.status_code, answer.headers["location"], paused(site, "one")) == (303, "/dags?q=o", True)
    assert 'aria-checked="false"' in browser.get("/dags").text
    assert browser.post("/dags/one/paused", data={"on": "1", "back": "//evil.example"}).headers["location"] == "/"
    assert not paused(site, "one")
    answer = browser.post("/dags/one/paused", data={"on": "0", "back": "/dags?q=データ"}, headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (204, "/dags?q=%E3%83%87%E3%83%BC%E3%82%BF")
    assert browser.post("/dags/one/paused", data={"on": "1"}).headers["location"] == "/dags/one"
    answer = browser.post("/dags/one/paused", data={"on": "1"}, headers={"Rqflow-In-Place": "1"})
    assert (answer.status_code, answer.headers["rqflow-said"], answer.headers["rqflow-kind"]) == (204, "one%20was%20active%20already.", "ok")
    assert browser.post("/dags/one/paused", data={"on": "maybe"}).status_code == 422
    assert browser.post("/dags/none/paused", data={"on": "1"}).status_code == 404


def test_a_dag_with_many_past_runs_asks_which_of_them_are_meant(site: Site) -> None:
    for dag_id in ("one", "two"):
        submit.register(site.hub.broker, site.engine, [with_catchup(dag_id)], paused_at_creation=True)
    browser = site.browser("ann")
    question = browser.post("/dags/one/paused", data={"on": "1", "back": "/dags"})
    assert question.status_code == 409
    assert 'value="none"' in question.text
    assert 'value="all"' in question.text
    assert paused(site, "one")
    assert browser.post("/dags/one/paused", data={"on": "1", "catchup": "none", "back": "/dags"}).status_code == 303
    assert not paused(site, "one")
    assert browser.post("/dags/two/paused", data={"on": "1", "catchup": "number", "number": "7"}).status_code == 303
    assert not paused(site, "two")


def test_who_may_not_change_a_dag_has_no_switch_for_it(site: Site) -> None:
    site.hub.start(a_version(dag_id="one"))
    for name, role in (("vera", Role.VIEWER), ("otto", Role.OPERATOR)):
        browser = site.browser(name, role)
        assert 'role="switch"' not in browser.get("/dags").text
        assert browser.post("/dags/one/paused", data={"on": "0"}).status_code == 403


def test_errors_of_files_are_shown_with_their_lines_to_those_who_see_all(site: Site) -> None:
    with transaction(site.engine) as connection:
        dag_files.put(connection, DagFileRecord(path="b.py", is_present=True, dag_ids=(), errors=("b.py:3: name 'x<y' is not defined",), inputs={},
                                                loaded_by="h", loaded_at=clock.utcnow()))
    for path in ("/dags", "/"):
        assert "b.py:3: name &#39;x&lt;y&#39; is not defined" in site.browser("ann").get(path).text


def test_home_tells_what_runs_and_what_failed(site: Site) -> None:
    bad = site.hub.start(a_version(["a"], dag_id="bad"))
    playing.play(site.hub.broker, {"a": TaskState.FAILED})
    going = site.hub.start(a_version(["b"], dag_id="going"))
    playing.claim(site.hub.broker)
    site.hub.record()
    text = site.browser("ann").get("/").text
    assert f'<a href="/runs/{going.run_key}/tasks/b">' in text
    assert f'<a href="/runs/{bad.run_key}">' in text


def test_the_questions_that_the_list_asks_do_not_grow_with_what_it_shows(site: Site, statements: list[str]) -> None:
    browser = site.browser("ann")
    counts = []
    for number in range(1, 4):
        for offset in range(3 * (number - 1), 3 * number):
            site.hub.start(a_version(["a"], dag_id=f"d{offset}"))
            playing.play(site.hub.broker)
        site.hub.record()
        statements.clear()
        assert browser.get("/dags").status_code == 200
        counts.append(len(statements))
    assert counts == [counts[0]] * 3
    assert counts[0] <= 6 + SESSION
