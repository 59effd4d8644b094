"""Finding things by pieces of their names."""

from __future__ import annotations

import pytest

from rqflow.security.roles import Role
from tests.integration.web.site import Site
from tests.unit.builders import a_version


def some(site: Site) -> str:
    """A DAG with tasks and a run; the run's key."""
    return site.hub.start(a_version(["fetch", "align"], dag_id="rnaseq", description="<b>reads</b>"), run_id="batch-7").run_key


def test_dags_tasks_runs_and_pages_are_found(site: Site) -> None:
    key = some(site)
    browser = site.browser("ann")
    for text, link in (("rna", '/dags/rnaseq"'), ("ALIGN", "/dags/rnaseq/durations?task=align"), ("batch", f"/runs/{key}"), ("pool", '"/pools"'),
                       ("reads", '/dags/rnaseq"')):
        assert link in browser.get("/search", params={"q": text}).text, text
    assert "&lt;b&gt;reads&lt;/b&gt;" in browser.get("/search?q=rna").text
    assert "What do you look for?" in browser.get("/search").text
    assert "Nothing has “nix&lt;&#39;” in its name" in browser.get("/search", params={"q": "nix<'"}).text
    assert browser.get("/search?q=%00%ED%A0%80").status_code == 422


def test_the_field_gets_the_list_alone_and_programs_get_json(site: Site) -> None:
    key = some(site)
    browser = site.browser("ann")
    part = browser.get("/search?q=batch", headers={"HX-Request": "true"}).text
    assert "<html" not in part
    assert f'href="/runs/{key}"' in part
    found = browser.get("/api/v1/search?q=batch").json()
    assert [one["run_key"] for one in found["runs"]] == [key]


def test_the_page_has_more_than_the_field_suggests_and_says_that_there_may_be_others(site: Site) -> None:
    site.hub.start(a_version([f"part_{number:03d}" for number in range(60)], dag_id="many"))
    browser = site.browser("ann")
    suggested, shown = browser.get("/search?q=part", headers={"HX-Request": "true"}).text, browser.get("/search?q=part").text
    assert (suggested.count("durations?task=part_"), shown.count("durations?task=part_")) == (8, 50)
    assert "The likeliest 50 of each kind" in shown
    assert "The likeliest" not in browser.get("/search?q=part_01").text
    assert len(browser.get("/api/v1/search?q=part&limit=20").json()["tasks"]) == 20


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_what_somebody_may_not_see_is_not_found(site: Site, role: Role) -> None:
    some(site)
    assert "/dags/rnaseq" in site.browser("otto", role).get("/search?q=rna").text
    hidden = Site(site.hub.db, site.settings.redis.url, site.engine, site.settings.home, filter_by_owner=True)
    try:
        text = hidden.browser("otto", role).get("/search?q=rna").text
        assert "/dags/rnaseq" not in text
        assert "/dags/rnaseq" not in hidden.browser("otto", role).get("/dags").text
        for path in ("", "/graph", "/durations", "/runs", "/code", "/details"):
            assert hidden.browser("otto", role).get(f"/dags/rnaseq{path}").status_code == 404, path
    finally:
        hidden.close()
