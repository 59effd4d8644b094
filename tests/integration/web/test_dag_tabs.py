"""What the page of a DAG tells besides its grid: code, durations, details; sharing and deleting it."""

from __future__ import annotations

from dataclasses import replace

from rqflow.actions import submit
from rqflow.actions.people import users
from rqflow.dag.version import Version
from rqflow.security.roles import Role
from rqflow.states import TaskState
from rqflow.store import dags
from rqflow.store.engine import reading
from tests.integration.broker import playing
from tests.integration.web.site import Site
from tests.unit.builders import a_task, a_version

SOURCE = 'x = "</pre><script>alert(1)</script>"\nprint(x)\n'


def versions(site: Site) -> tuple[Version, Version]:
    """A DAG that changed once; a run took its first version."""
    first = a_version(["a"], dag_id="d", sources={"d.py": SOURCE, "lib/more.sh": "echo hi"})
    second = replace(first, sources={"d.py": SOURCE + "print(2)\n"})
    site.hub.start(first)
    submit.register(site.hub.broker, site.engine, [second])
    return first, second


def test_the_file_of_a_version_is_shown_in_colours_by_classes(site: Site) -> None:
    first, _ = versions(site)
    browser = site.browser("ann")
    text = browser.get("/dags/d/code?version=1").text
    assert '<span class="nb">print</span>' in text
    assert "<script>alert" not in text
    assert 'id="L2"' in text
    assert 'id="L3"' not in text
    assert 'id="L3"' in browser.get("/dags/d/code").text
    assert f'href="/dags/d/runs?version={first.sha}">1 run<' in text
    assert "echo" in browser.get("/dags/d/code?version=1&file=lib/more.sh").text
    for query in ("version=9", "file=/etc/passwd", "version=2&file=lib/more.sh", "version=2&against=7"):
        assert browser.get(f"/dags/d/code?{query}").status_code == 404, query
    assert browser.get("/dags/d/code?version=x").status_code == 422


def test_two_versions_are_compared(site: Site) -> None:
    versions(site)
    browser = site.browser("ann")
    text = browser.get("/dags/d/code?version=2&against=1").text
    assert '<span class="add">+print(2)</span>' in text
    assert '<span class="del">-echo hi</span>' in text
    assert "No difference" in browser.get("/dags/d/code?version=2&against=2").text


def test_the_api_lists_versions_and_tells_their_difference(site: Site) -> None:
    first, second = versions(site)
    browser = site.browser("ann")
    found = browser.get("/api/v1/dags/d/versions").json()
    assert [(one["number"], one["version"], one["runs"]) for one in found["items"]] == [(2, second.sha, 0), (1, first.sha, 1)]
    page = browser.get("/api/v1/dags/d/versions?limit=1").json()
    assert ([one["number"] for one in page["items"]], page["next"]) == ([2], 2)
    assert "+print(2)" in browser.get("/api/v1/dags/d/difference?first=1&second=2").json()["items"]


def test_a_dag_without_a_file_says_so(site: Site) -> None:
    site.hub.start(a_version(["a"], dag_id="command", file="x"))
    assert "made from a command" in site.browser("ann").get("/dags/command/code").text


def test_durations_have_a_bar_for_each_run_that_leads_to_the_task_in_it(site: Site) -> None:
    version = a_version(["a", "b"], dag_id="two")
    run = site.hub.start(version)
    playing.play(site.hub.broker, {"b": TaskState.FAILED})
    site.hub.record()
    site.hub.start(version, day=1)
    browser = site.browser("ann")
    text = browser.get("/dags/two/durations").text
    assert text.count(f'<a href="/runs/{run.run_key}/tasks/a"><title>') == 1
    one = browser.get("/dags/two/durations?task=a&runs=10").text
    assert "Run by run" in one
    assert f'/runs/{run.run_key}/tasks/b"' not in one
    assert browser.get("/dags/two/durations?task=nix").status_code == 404
    assert browser.get("/dags/two/durations?runs=1000").status_code == 422
    site.hub.start(a_version(["a"], dag_id="new"))
    assert "Nothing to compare yet" in browser.get("/dags/new/durations").text


def test_durations_tell_of_all_tasks_though_the_last_runs_came_to_few_of_them(site: Site) -> None:
    version = a_version({"a": [], "b": ["a"]}, dag_id="two")
    for day, ends in enumerate(({}, {"a": TaskState.FAILED})):
        site.hub.start(version, day=day)
        playing.play(site.hub.broker, ends)
        site.hub.record()
    site.hub.start(version, day=2)
    assert site.browser("ann").get("/dags/two/durations").text.count('<tr><th scope="row">') == 2


def test_details_tell_what_the_author_wrote_and_why_no_run_starts(site: Site) -> None:
    site.hub.start(a_version(["a"], dag_id="d", doc_md="# <i>not markup</i>\nhttps://example.org/x", params={"n": 3}, schedule="@daily",
                             start_date="2024-01-01T00:00:00+00:00", param_specs={"n": {"schema": {"type": "integer"}, "description": "how many"}}))
    text = site.browser("ann").get("/dags/d/details").text
    assert "# &lt;i&gt;not markup&lt;/i&gt;" in text
    assert 'href="https://example.org/x"' in text
    assert "how many" in text
    assert "Its next run is not yet due" in text
    assert text.count("<ol class=\"coming\">") == 1


def test_a_dag_is_shared_and_given_away_by_those_who_may(site: Site) -> None:
    site.hub.start(a_version(["a"], dag_id="d"))
    admin, otto = site.browser("ann"), site.browser("otto", Role.OPERATOR)
    assert otto.post("/dags/d/share", data={"username": "otto"}).status_code == 403
    assert otto.post("/dags/d/give", data={"username": "otto"}).status_code == 403
    assert admin.post("/dags/d/share", data={"username": "otto"}).status_code == 303
    assert "<b>otto</b>" in admin.get("/dags/d/details").text
    assert otto.post("/dags/d/paused", data={"on": "0"}).status_code == 303
    assert admin.post("/dags/d/share", data={"username": "otto", "on": "0"}).status_code == 303
    assert otto.post("/dags/d/paused", data={"on": "1"}).status_code == 403
    assert admin.post("/dags/d/share", data={"username": "nobody"}).status_code == 404
    assert admin.post("/dags/d/share", data={}).status_code == 422
    assert admin.post("/dags/d/give", data={"username": "otto"}).status_code == 303
    with reading(site.engine) as connection:
        assert dags.find(connection, "d").submitted_by == "otto"
    assert admin.put("/api/v1/dags/d/shares/*").json()["changed"] is True
    assert [one["username"] for one in otto.get("/api/v1/dags/d/shares").json()["items"]] == ["*"]
    assert {one.username for one in users.list_all(site.engine)} == {"ann", "otto"}


def test_a_dag_is_deleted_when_its_name_was_typed(site: Site) -> None:
    site.hub.start(a_version(["a"], dag_id="d"))
    browser = site.browser("ann")
    question = browser.get("/dags/d/delete").text
    assert "1 run, their history" in question
    assert "1 of its runs goes on now: it is cancelled." in question
    wrong = browser.post("/dags/d/delete", data={"name": "e"})
    assert wrong.status_code == 422
    assert "Its name is d." in wrong.text
    assert site.browser("otto", Role.OPERATOR).post("/dags/d/delete", data={"name": "d"}).status_code == 403
    assert browser.post("/dags/d/delete", data={"name": "d"}).headers["location"] == "/dags"
    with reading(site.engine) as connection:
        assert dags.get(connection, "d") is None


def test_the_graph_has_the_states_of_the_newest_run_and_opens_groups(site: Site) -> None:
    version = a_version({"a": [], "g.b": ["a"]}, specs=[a_task("g.b", group_id="g")], groups={"g": {"parent": None, "tooltip": ""}}, dag_id="d")
    site.hub.start(version)
    playing.play(site.hub.broker)
    run = site.hub.start(version, day=1)
    playing.claim(site.hub.broker)
    browser = site.browser("ann")
    text = browser.get("/dags/d/graph").text
    assert 'data-state="running"' in text
    assert f'href="/runs/{run.run_key}/tasks/a"' in text
    assert 'href="/dags/d/graph?open=g"' in text
    assert "Close g" in browser.get("/dags/d/graph?open=g&open=none").text
    assert browser.get("/dags/d/graph?near=a").status_code == 200
    assert browser.get("/dags/d/graph?near=nix").status_code == 404
    assert browser.get("/dags/d/graph.dot").text.startswith("digraph")


def test_unknown_dags_are_404_on_each_tab(site: Site) -> None:
    browser = site.browser("ann")
    for tab in ("", "/graph", "/durations", "/runs", "/code", "/details", "/delete"):
        assert browser.get(f"/dags/none{tab}").status_code == 404, tab
