"""The log of a try as the web server gives it: pages, blocks, what is found, downloads, and what comes."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from rqflow.actions import logs, query
from rqflow.recorder import logtimes
from rqflow.states import TaskState
from rqflow.store.runs import RunRecord
from rqflow.web import signin
from tests.integration.broker import playing
from tests.integration.web.serving import served
from tests.integration.web.site import Site
from tests.profile import LIVE, NOISE, PATIENCE
from tests.unit.builders import a_version
from tests.waiting import until

ODD = b"<script>alert(1)</script> & \xff\xfe \0 \x1b[31mred\x1b[0m \x1b]0;title\x07\n  1%\r 99%\n"


class Written:
    """A run with one task, `a/1` for its file: the log of its try is written by hand."""

    def __init__(self, site: Site, *, running: bool = False) -> None:
        self.site = site
        self.run: RunRecord = site.hub.start(a_version({"a": []}))
        (self.claim,) = playing.claim(site.hub.broker)
        if not running:
            self.end()
        shown = query.show(site.hub.broker, site.engine, self.run.run_key)
        self.file = Path(site.settings.logs.folder) / logs.path(shown, "a", 1)
        self.file.parent.mkdir(parents=True)
        self.url = f"/runs/{self.run.run_key}/logs/a/1"

    def end(self) -> None:
        facts = {"exit_code": 1, "host": "node7", "max_rss_bytes": 2_254_857_830}
        playing.tell(self.site.hub.broker, playing.end(self.claim, TaskState.FAILED, facts=facts, duration=192.0))
        self.site.hub.record()

    def write(self, data: bytes, *, is_whole: bool = False) -> None:
        with self.file.open("ab") as stream:
            stream.write(data)
        if is_whole:
            self.file.chmod(0o440)


def text_of(page: str) -> list[str]:
    """The text of the lines of a page, as a browser without scripts shows it."""
    parts = page.split('<span class="log-text"')[1:]
    return [part.partition(">")[2].partition("</span>")[0] for part in parts]


def test_the_page_of_a_log_shows_its_end_as_text_and_how_the_try_ended(site: Site) -> None:
    log = Written(site)
    log.write(b"".join(b"line %d\n" % number for number in range(1, 2001)) + ODD, is_whole=True)
    answer = site.browser("ann").get(log.url)
    assert answer.status_code == 200
    lines = text_of(answer.text)
    assert len(lines) == 1000
    assert lines[-2:] == ["&lt;script&gt;alert(1)&lt;/script&gt; &amp; \ufffd\ufffd \u2400 red ", " 99%"]
    assert "<script>alert" not in answer.text
    assert "exit 1 after" in answer.text
    assert "on node7, max RSS 2.1 GB" in answer.text
    assert 'id="L2002"' in answer.text
    assert f'href="{log.url}?before=' in answer.text


def test_earlier_blocks_are_reached_by_links_alone(site: Site) -> None:
    log = Written(site)
    log.write(b"".join(b"line %d\n" % number for number in range(1, 2501)), is_whole=True)
    browser, seen, url = site.browser("ann"), [], log.url
    while url:
        page = browser.get(url).text
        seen = text_of(page) + seen
        before = page.partition('log-earlier"><a href="')[2].partition('"')[0]
        url = before.replace("&amp;", "&")
    assert seen == [f"line {number}" for number in range(1, 2501)]


@pytest.mark.parametrize(("query", "numbers"), [("line=1", (1, 1000)), ("line=1500", (1300, 2299)), ("after=0", (1, 1000)), ("", (2001, 3000))])
def test_a_block_is_given_as_html_text_or_json(query: str, numbers: tuple[int, int], site: Site) -> None:
    log = Written(site)
    log.write(b"".join(b"%04d\n" % number for number in range(1, 3001)), is_whole=True)
    browser = site.browser("ann")
    told = browser.get(f"{log.url}?format=json&{query}").json()
    assert (told["lines"][0]["number"], told["lines"][-1]["number"]) == numbers
    assert [int(line["text"]) for line in told["lines"]] == list(range(numbers[0], numbers[1] + 1))
    assert browser.get(f"{log.url}?format=text&{query}").text.split() == [line["text"] for line in told["lines"]]
    block = browser.get(f"{log.url}?format=block&{query}").text
    assert text_of(block) == [line["text"] for line in told["lines"]]
    assert "<html" not in block


def test_a_line_of_megabytes_is_cut_and_linked_to(site: Site) -> None:
    log = Written(site)
    log.write(b"before\n" + b"x" * (5 << 20) + b"\nafter\n", is_whole=True)
    browser = site.browser("ann")
    page = browser.get(f"{log.url}?before={(5 << 20) + 8}").text
    assert len(page) < 100_000
    link = page.partition('class="log-cut" href="')[2].partition('"')[0].replace("&amp;", "&")
    answer = browser.get(link)
    assert answer.content == b"x" * (5 << 20)
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["content-disposition"].startswith("attachment")


def test_a_page_of_the_worst_text_is_below_two_megabytes(site: Site) -> None:
    log = Written(site)
    log.write((b"\x1b[1m" + b"&" * 158 + b"\n") * 5000, is_whole=True)
    assert len(site.browser("ann").get(log.url).content) < 2_000_000


def test_the_whole_log_is_downloaded_packed(site: Site) -> None:
    log = Written(site)
    data = ODD * 100_000
    log.write(data, is_whole=True)
    answer = site.browser("ann").get(f"{log.url}/raw")
    assert gzip.decompress(answer.content) == data
    assert f'filename="{log.run.dag_id}.a.' in answer.headers["content-disposition"]
    assert '.1.log.gz"' in answer.headers["content-disposition"]


def test_lines_are_found_with_their_numbers_and_a_search_goes_on(site: Site) -> None:
    log = Written(site)
    log.write(b"".join(b"%d%s\n" % (number, b" Needle" * (number % 2)) for number in range(1, 5001)) + b"ERROR at last\n", is_whole=True)
    browser = site.browser("ann")
    lines: list[int] = []
    told: dict[str, Any] = {"upto": 0, "line": 1, "is_all": False}
    while not told["is_all"]:
        told = browser.get(f"{log.url}/search", params={"q": "needle", "from": told["upto"], "line": told["line"]}).json()
        lines += [line for _, line in told["hits"]]
    assert lines == list(range(1, 5001, 2))
    assert [line for _, line in browser.get(f"{log.url}/search?errors=true").json()["hits"]] == [5001]
    assert browser.get(f"{log.url}/search").status_code == 422
    assert browser.get(f"{log.url}/number", params={"at": log.file.stat().st_size - 14}).json() == {"line": 5001}


def test_what_is_not_there_is_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Written(site)
    browser = site.browser("ann")
    page = browser.get(log.url)
    assert page.status_code == 200
    assert "The log is on its way here." in page.text, "its try ended just now"
    monkeypatch.setattr(logs, "JUST_NOW", 0.0)
    assert "no log of this try" in browser.get(log.url).text
    base = f"/runs/{log.run.run_key}/logs"
    assert [browser.get(url).status_code for url in (f"{base}/a/2", f"{base}/a/0", f"{base}/b/1", "/runs/0123456789abcdef/logs/a/1")] == [404] * 4
    assert browser.get(f"{log.url}/raw").status_code == 404
    assert browser.get(f"{log.url}?after=-1").status_code == 422
    assert site.browser().get(f"{log.url}/stream").status_code in {303, 401}


class Tab:
    """Follows a log in a thread."""

    def __init__(self, base: str, browser: TestClient, url: str, *, last_id: str = "") -> None:
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.client = httpx2.Client(base_url=base, cookies={signin.PLAIN: browser.cookies[signin.PLAIN]}, timeout=PATIENCE)
        self._url, self._headers = url, {"Last-Event-ID": last_id} if last_id else {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        event = event_id = ""
        with self.client.stream("GET", self._url, headers=self._headers) as answer:
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                event, event_id = value if name == "event" else event, value if name == "id" else event_id
                if name == "data":
                    self.events.append((event, event_id, json.loads(value)))
                if self._stop.is_set():
                    return

    @property
    def lines(self) -> list[str]:
        """The lines that came and have ended."""
        return [line for event, _, data in list(self.events) if event == "grown" for line in text_of(data["lines"])]

    @property
    def has_ended(self) -> bool:
        return bool(self.events) and self.events[-1][0] == "end"

    def close(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        self.client.close()


@pytest.fixture
def base(site: Site) -> Iterator[str]:
    with served(site.app) as found:
        yield found


def test_what_comes_is_told_once_and_after_a_break_from_where_it_was(site: Site, base: str) -> None:
    """Reliability 55: appended bytes only; 51: within 3 s of being in the archive."""
    log = Written(site, running=True)
    browser = site.browser("ann")
    first = Tab(base, browser, f"{log.url}/stream")
    log.write(b"one\ntw")
    until(lambda: first.lines == ["one"] and text_of(first.events[-1][2]["open"]) == ["tw"], patience=LIVE + NOISE, what="the first line")
    at = first.events[-1][1]
    assert at == "4"
    log.write(b"o\nthree\n")
    until(lambda: first.lines == ["one", "two", "three"], patience=LIVE + NOISE, what="what came")
    second = Tab(base, browser, f"{log.url}/stream?from=0", last_id=at)
    until(lambda: second.lines == ["two", "three"], patience=LIVE + NOISE, what="what came since")
    log.end()
    log.write(b"rqflow: exit code 1\n", is_whole=True)
    until(lambda: first.has_ended and second.has_ended, what="the streams to end")
    assert first.lines == ["one", "two", "three", "rqflow: exit code 1"]
    assert first.events[-1][2]["ending"].startswith("exit 1 after")
    assert sum(event == "end" for event, _, _ in first.events) == 1
    for tab in (first, second):
        tab.close()


def test_the_time_of_a_line_that_comes_is_that_of_the_archive(site: Site, base: str) -> None:
    log = Written(site, running=True)
    logtimes.note(str(log.file), 0, 1_700_000_000_000)
    log.write(b"one\n")
    tab = Tab(base, site.browser("ann"), f"{log.url}/stream")
    until(lambda: tab.lines == ["one"], what="the line")
    assert 'data-at="1700000000000"' in tab.events[0][2]["lines"]
    log.end()
    log.file.chmod(0o440)
    until(lambda: tab.has_ended, what="the end")
    tab.close()
