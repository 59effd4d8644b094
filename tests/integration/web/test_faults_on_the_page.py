"""What reliability.md promises, as somebody in front of the page sees it: what cannot be reached, why something waits, who serves a queue, who may not."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from html import unescape
from urllib.parse import quote

import pytest

from rqflow.actions import why
from rqflow.broker import keys, unserved
from rqflow.broker.watch import Held, Watch
from rqflow.cli.main import main
from rqflow.dag.version import TaskSpec
from rqflow.scheduler.epoch import EpochKeeper
from rqflow.states import TaskState
from rqflow.web import wording
from tests.integration.actions.hub import Hub
from tests.integration.actions.test_why import CASES, Made, pool
from tests.integration.broker import playing
from tests.integration.web.site import Site
from tests.integration.web.test_roles import ROUTES, Trial
from tests.unit.builders import a_task, a_version

Command = Callable[..., str]


@pytest.fixture
def command(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Calls the command line on the hub of the site."""
    monkeypatch.setenv("RQFLOW__REDIS__URL", site.settings.redis.url)
    monkeypatch.setenv("RQFLOW__DATABASE__URL", site.settings.database.url)
    monkeypatch.setenv("COLUMNS", "1000")

    def call(*words: str) -> str:
        assert main(["--home", str(site.settings.home), *words]) == 0
        return capsys.readouterr().out

    return call


def text_of(site: Site, path: str) -> str:
    """What a page says, without its tags."""
    answer = site.browser("ann").get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    return plain(answer.text)


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", "", html)))


@pytest.mark.parametrize(("spec", "until"), [(a_task("a"), "for as long as it takes"), (a_task("a", grace=900.0), r"until \d\d:\d\d:\d\d UTC")])
def test_r09_what_cannot_be_reached_is_assumed_running_and_until_when(spec: TaskSpec, until: str, site: Site, command: Command) -> None:
    """Reliability 9: neither running nor failed, on the page as at the command line and in the API."""
    run = site.hub.start(a_version(specs=[spec], dag_id="far"), run_id="r")
    claim, = playing.claim(site.hub.broker)
    lease = time.time() - 1
    site.hub.db.zadd(keys.LEASES, {f"{run.run_key}:0:{claim.execution_id}": lease})
    assert Watch(site.hub.broker).mark_unreachable([Held(run.run_key, 0, claim.execution_id, lease)]) == 1
    site.hub.record()
    found = re.search(rf"unreachable since 20[\d :-]* UTC, still assumed running {until}", command("run", "show", "r"))
    assert found
    task = site.browser("ann").get(f"/api/v1/runs/{run.run_key}/tasks/a").json()
    assert (task["reason"], bool(task["unreachable_since"])) == (found[0], True)
    for path in (f"/runs/{run.run_key}", f"/runs/{run.run_key}/tasks/a"):
        assert found[0] in text_of(site, path), path
        squares = re.findall(r'data-task="a"[^>]*>.*?</a>', site.browser("ann").get(path).text, re.DOTALL)
        assert squares, path
        assert all("st-unreachable" in square and "st-running" not in square and "st-failed" not in square for square in squares), squares
    assert 'st-unreachable' in site.browser("ann").get("/dags/far").text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_r46_the_page_gives_the_reason_that_the_command_line_gives(case: Callable[[Hub], Made], site: Site, command: Command) -> None:
    EpochKeeper(site.hub.broker, site.engine).believe()
    version, run, task_id = case(site.hub)
    said = why.task(site.hub.broker, version, run.run_key, version.by_id[task_id].index)
    assert CASES[case][0] in said.reason
    asked = site.browser("ann").get(f"/api/v1/runs/{run.run_key}/tasks/{task_id}/why").json()
    assert (asked["reason"], asked["lifted_by"]) == (said.reason, said.lifted_by)
    shown = text_of(site, f"/runs/{run.run_key}/tasks/{quote(task_id)}?tab=details")
    # The same, where the page names its own buttons in place of commands.
    assert plain(wording.said(said.reason, begins=False)) in shown
    assert plain(wording.said(said.lifted_by, begins=False)) in shown
    if case is pool:  # a command takes as long as all the rest, and says what the API says
        assert said.reason in command("why", run.run_key, task_id)
    if said.state is TaskState.REMOVED:
        site.hub.forget(run)
        assert said.reason in text_of(site, f"/runs/{run.run_key}/tasks/{quote(task_id)}"), "also when Redis does not have it any more"


def test_r48_a_queue_that_nobody_serves_is_told_wherever_somebody_looks(site: Site, command: Command) -> None:
    run = site.hub.start(a_version(dag_id="waits", each={"queue": "gpu"}), run_id="r")
    unserved.look(site.hub.db)
    site.hub.record()
    assert "No worker serves the queue gpu: 1 task waits for one since 20" in text_of(site, "/workers")
    assert "1 queue without a worker" in text_of(site, "/")
    waiting, = json.loads(command("info", "-o", "json"))["queues_unserved"]
    assert waiting in text_of(site, f"/runs/{run.run_key}")
    assert "no live worker serves the queue gpu" in text_of(site, f"/runs/{run.run_key}/tasks/a?tab=details")


def test_r78_no_route_that_changes_anything_listens_to_a_page_of_another_site(site: Site) -> None:
    """Reliability 78: whoever is logged in; the cookie of an admin comes with it, as a browser would send it."""
    trial, asked = Trial(site), 0
    browser = trial.browser("admin")
    for method, path in ROUTES:
        if method in {"GET", "OPTIONS"}:
            continue
        url = re.sub(r"\{(\w+)(?::path)?\}", lambda found: trial.known.get(found[1], "x"), path)
        for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            answer = browser.request(method, url, headers=headers)
            assert answer.status_code == 403, (method, path, answer.status_code)
            asked += 1
    assert asked > 200
    assert trial.browser("admin").get("/api/v1/runs").json()["items"][0]["state"] == "running"
