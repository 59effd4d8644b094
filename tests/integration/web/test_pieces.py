"""Pieces of pages that several tabs ask for: made once, never older than what a tab was told, never somebody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import httpx2
import pytest
from playwright.sync_api import expect
from sqlalchemy import event

from rqflow import clock
from rqflow.broker.events import EventStream, Seen
from rqflow.security.roles import Role
from rqflow.states import TaskState
from rqflow.store import people_tables
from rqflow.store.engine import transaction
from rqflow.web import news, signin
from rqflow.web.news import NOTHING, Newsroom, Tab, order
from tests.integration.broker import playing
from tests.integration.web.chromium import Window, chromium
from tests.integration.web.serving import served
from tests.integration.web.site import Site
from tests.profile import PATIENCE
from tests.unit.builders import a_version
from tests.waiting import until


class Asker:
    """A tab of one person: it listens, and asks for pieces as live.js does."""

    def __init__(self, url: str, site: Site, name: str, role: Role = Role.ADMIN) -> None:
        cookie = site.browser(name, role).cookies[signin.PLAIN]
        self.site = site
        self.client = httpx2.Client(base_url=url, cookies={signin.PLAIN: cookie}, timeout=PATIENCE)
        self._stream = self.client.stream("GET", "/events")
        self._stream.__enter__()

    def piece(self, path: str, upto: str = "", target: str = "") -> httpx2.Response:
        headers = {"HX-Request": "true"} | ({"Rqflow-Upto": upto} if upto else {}) | ({"HX-Target": target} if target else {})
        return self.client.get(path, headers=headers)

    def close(self) -> None:
        self._stream.__exit__(None, None, None)
        self.client.close()


class Hall:
    """A served site and the tabs in it."""

    def __init__(self, site: Site, url: str) -> None:
        self.site, self.url = site, url
        self.askers: list[Asker] = []

    def tab(self, name: str, role: Role = Role.ADMIN) -> Asker:
        made = Asker(self.url, self.site, name, role)
        self.askers.append(made)
        newsroom = self.site.app.state.parts.newsroom
        until(lambda: newsroom.is_reading and newsroom.upto and newsroom.tabs == len(self.askers), what="the tab to listen")
        return made

    def newest(self) -> str:
        """The newest event, once the server knows of it."""
        found = EventStream(self.site.hub.db).newest()
        until(lambda: order(self.site.app.state.parts.newsroom.upto) >= order(found), what="the event to be read")
        return found


@pytest.fixture
def hall(site: Site) -> Iterator[Hall]:
    site.hub.start(a_version({"a": [], "b": []}, dag_id="d"))
    with served(site.app) as url:
        made = Hall(site, url)
        yield made
        for asker in made.askers:
            asker.close()


@contextmanager
def statements(site: Site) -> Iterator[list[str]]:
    """What the application asks of the database in the block."""
    found: list[str] = []

    def note(*given: object) -> None:
        found.append(str(given[2]))

    engine = site.app.state.parts.lasting.engine()
    event.listen(engine, "before_cursor_execute", note)
    yield found
    event.remove(engine, "before_cursor_execute", note)


def test_a_piece_is_made_once_for_all_who_see_the_same(hall: Hall) -> None:
    ann, bob = hall.tab("ann"), hall.tab("bob")
    upto = hall.newest()
    first = ann.piece("/dags/d", upto)
    with statements(hall.site) as asked:
        assert bob.piece("/dags/d", upto).text == first.text
    assert all("session" in one for one in asked)  # who bob is, and nothing else
    assert first.status_code == 200
    assert "<html" not in first.text


def test_who_was_told_of_something_newer_gets_it(hall: Hall) -> None:
    ann = hall.tab("ann")
    old = ann.piece("/dags/d", hall.newest())
    assert "st-success" not in old.text
    claim = playing.claim(hall.site.hub.broker, wanted=1)[0]
    playing.tell(hall.site.hub.broker, playing.end(claim, TaskState.SUCCESS))
    assert "st-success" in ann.piece("/dags/d", hall.newest()).text


def test_who_asks_without_an_event_gets_what_there_is_now(hall: Hall) -> None:
    ann = hall.tab("ann")
    upto = hall.newest()
    ann.piece("/dags", upto)
    with transaction(hall.site.engine) as connection:
        connection.exec_driver_sql("UPDATE dag SET description = 'changed elsewhere'")
    assert "changed elsewhere" in ann.piece("/dags").text


def test_what_somebody_changes_here_is_seen_by_all_at_once(hall: Hall) -> None:
    ann, bob = hall.tab("ann"), hall.tab("bob")
    upto = hall.newest()
    assert "Active: pause d" in bob.piece("/dags", upto).text
    assert ann.client.post("/dags/d/paused", data={"on": "0"}, headers={"Origin": hall.url}).status_code == 303
    assert "Paused: let d go on" in bob.piece("/dags", upto).text


def test_what_one_may_do_is_shown_to_nobody_else(hall: Hall) -> None:
    admin, viewer = hall.tab("ann", Role.ADMIN), hall.tab("vera", Role.VIEWER)
    owner, other = hall.tab("olga", Role.OPERATOR), hall.tab("otto", Role.OPERATOR)
    with transaction(hall.site.engine) as connection:
        connection.exec_driver_sql("UPDATE dag SET submitted_by = 'olga'")
    upto = hall.newest()
    may_pause = {name: 'action="/dags/d/paused"' in tab.piece("/dags", upto).text
                 for name, tab in (("admin", admin), ("owner", owner), ("viewer", viewer), ("other", other))}
    assert may_pause == {"admin": True, "owner": True, "viewer": False, "other": False}


def test_with_filter_by_owner_nobody_gets_what_others_see(site: Site) -> None:
    strict = Site(site.hub.db, site.settings.redis.url, site.engine, site.hub.settings.home, filter_by_owner=True)
    strict.hub.start(a_version(dag_id="vera_only"))
    with served(strict.app) as url:
        hall = Hall(strict, url)
        vera, will = hall.tab("vera", Role.VIEWER), hall.tab("will", Role.VIEWER)
        with transaction(site.engine) as connection:
            connection.exec_driver_sql("UPDATE dag SET submitted_by = 'vera'")
        upto = hall.newest()
        assert "vera_only" in vera.piece("/", upto).text
        assert "vera_only" not in will.piece("/", upto).text
        for tab in hall.askers:
            tab.close()
    strict.close()


def test_who_is_disabled_gets_no_piece(hall: Hall) -> None:
    ann, bob = hall.tab("ann"), hall.tab("bob")
    upto = hall.newest()
    ann.piece("/dags/d", upto)
    with transaction(hall.site.engine) as connection:
        connection.execute(people_tables.session.delete().where(people_tables.session.c.username == "bob"))
    until(lambda: bob.piece("/dags/d", upto).status_code != 200, what="the session to count as ended")
    assert ann.piece("/dags/d", upto).status_code == 200


def test_the_pieces_of_a_page_are_not_taken_for_each_other(hall: Hall) -> None:
    ann = hall.tab("ann")
    run = hall.site.hub.start(a_version({"a": [], "b": []}, dag_id="d"), day=1).run_key
    upto = hall.newest()
    found = {target: ann.piece(f"/runs/{run}", upto, f"div#{target}").text for target in ("tasks", "run-head", "graph-states")}
    assert all(f'id="{target}"' in text for target, text in found.items())
    assert len(set(found.values())) == 3


def test_a_page_asks_with_what_it_was_told(site: Site) -> None:
    run = site.hub.start(a_version({"a": []}, dag_id="d"))
    claim, = playing.claim(site.hub.broker)
    with served(site.app) as base, chromium() as browser:
        window = Window(browser, base, site.browser("ann"))
        asked: list[str] = []
        window.page.on("request", lambda request: asked.append(request.headers.get("rqflow-upto", "")) if "hx-request" in request.headers else None)
        window.page.goto("/dags/d")
        until(lambda: site.app.state.parts.newsroom.is_reading, what="the page to listen")
        playing.tell(site.hub.broker, playing.end(claim, TaskState.SUCCESS))
        expect(window.page.locator(f'a.st-success[href="/runs/{run.run_key}/tasks/a"]')).to_have_count(1)
        window.close()
    assert asked
    assert all(order(one) > NOTHING for one in asked)


def test_tabs_are_told_seldomer_when_that_takes_much_of_a_processor(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    monkeypatch.setattr(news.clock, "cpu_seconds", lambda: len(told) * news.SHARE)  # a second's share each time
    newsroom = Newsroom(site.app.state.parts.lasting)

    async def listen() -> None:
        tab = Tab(frozenset(), frozenset())
        newsroom.enter(tab)
        while len(told) < 3:
            newsroom._spread(Seen("1-0", {"k": "d"}))
            await asyncio.sleep(0.02)
            if tab.take():
                told.append(clock.monotonic())
        newsroom.leave(tab)

    asyncio.run(listen())
    newsroom.close()
    assert min(after - before for before, after in pairwise(told)) > 0.9


def test_an_id_of_no_event_is_none() -> None:
    assert {order(text) for text in ("", "nonsense", "1", "1-", "-1", "\u0661-1", "1-x")} == {NOTHING}
    assert order("17-2") > order("9-30")
