"""What a page is told while things change: one stream a tab, a few words at a time, and never too little."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from rqflow.broker.events import EventStream, Seen
from rqflow.states import TaskState
from rqflow.web import signin
from rqflow.web.news import Tab
from tests.integration.broker import playing
from tests.integration.web.serving import served
from tests.integration.web.site import Site
from tests.profile import PATIENCE
from tests.unit.builders import a_version
from tests.waiting import until


class Listener:
    """A tab that listens in a thread of its own."""

    def __init__(self, url: str, site: Site, query: str = "", *, headers: dict[str, str] | None = None) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.client = httpx2.Client(base_url=url, cookies={signin.PLAIN: site.browser("ann").cookies[signin.PLAIN]}, timeout=PATIENCE)
        self.is_open = threading.Event()
        self._thread = threading.Thread(target=self._listen, args=(query, headers or {}))
        self._thread.start()
        assert self.is_open.wait(PATIENCE)

    def _listen(self, query: str, headers: dict[str, str]) -> None:
        with self.client.stream("GET", f"/events{query}", headers=headers) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            event_id = ""
            for line in answer.iter_lines():
                self.is_open.set()
                if line.startswith("id: "):
                    event_id = line[4:]
                if line.startswith("data: "):
                    self.told.append((event_id, json.loads(line[6:])))

    def close(self) -> None:
        self._thread.join(PATIENCE)
        self.client.close()


@pytest.fixture
def url(site: Site) -> Iterator[str]:
    with served(site.app) as found:
        yield found


def runs_told(listener: Listener) -> set[str]:
    return {key for _, data in listener.told for key in data["runs"]}


def test_a_tab_is_told_of_the_runs_that_it_asked_for_and_of_no_others(site: Site) -> None:
    with served(site.app) as url:
        mine = site.hub.start(a_version(dag_id="mine"))
        other = site.hub.start(a_version(dag_id="other"))
        of_run, of_dag, of_all = Listener(url, site, f"?run={mine.run_key}"), Listener(url, site, "?dag=other"), Listener(url, site)
        until(lambda: site.app.state.parts.newsroom.is_reading, what="the events to be read")
        for claim in playing.claim(site.hub.broker, wanted=2):
            playing.tell(site.hub.broker, playing.end(claim, TaskState.SUCCESS))
        until(lambda: runs_told(of_all) == {mine.run_key, other.run_key}, what="all to be told")
        until(lambda: runs_told(of_run) == {mine.run_key} and runs_told(of_dag) == {other.run_key}, what="each to be told")
        assert {name for _, data in of_dag.told for name in data["dags"]} == {"other"}
        ids = [event_id for event_id, _ in of_all.told]
        assert ids == sorted(ids, key=lambda text: tuple(map(int, text.split("-"))))
    for one in (of_run, of_dag, of_all):
        one.close()


def test_many_changes_come_in_few_words(site: Site) -> None:
    with served(site.app) as url:
        listener = Listener(url, site)
        until(lambda: site.app.state.parts.newsroom.is_reading, what="the events to be read")
        keys = {site.hub.start(a_version(dag_id=f"d{number}")).run_key for number in range(40)}
        until(lambda: runs_told(listener) == keys, what="all runs to be told of")
        assert len(listener.told) <= 10
    listener.close()


def test_a_tab_that_comes_back_is_told_that_all_may_have_changed(site: Site) -> None:
    with served(site.app) as url:
        listener = Listener(url, site, headers={"Last-Event-ID": "1-1"})
        until(lambda: bool(listener.told), what="the first word")
        assert listener.told[0][1]["all"] is True
    listener.close()


def test_nobody_listens_without_a_login(site: Site, url: str) -> None:
    answer = httpx2.get(f"{url}/events", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/events")


def test_of_dags_that_a_person_may_not_see_nothing_is_told() -> None:
    blind = Tab(frozenset(), frozenset(), frozenset({"mine"}))
    blind.hear(Seen("1-1", {"k1": "mine", "k2": "other"}))
    blind.settle()
    told = blind.take().told()
    assert (told["runs"], told["dags"]) == (["k1"], ["mine"])


def test_what_happened_after_a_page_was_made_and_before_it_listened_is_told_at_once(site: Site, url: str) -> None:
    run = site.hub.start(a_version(dag_id="d"))
    shown = EventStream(site.hub.db).newest()
    for claim in playing.claim(site.hub.broker):
        playing.tell(site.hub.broker, playing.end(claim, TaskState.SUCCESS))
    newest = EventStream(site.hub.db).newest()
    # The first tab comes before anybody reads, the others after.
    tabs = [Listener(url, site, f"?run={run.run_key}&since={shown}")]
    until(lambda: tabs[0].told, what="the first to be told")
    tabs += [Listener(url, site, f"?run={run.run_key}&since={since}") for since in (shown, newest)]
    until(lambda: tabs[1].told, what="the second to be told")
    assert [data["all"] for tab in tabs[:2] for _, data in tab.told] == [True, True]
    assert tabs[2].told == []
    site.app.state.parts.newsroom.close()
    for tab in tabs:
        tab.close()
