"""rqflow --server: the same commands, answered by a hub elsewhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from rqflow.actions.people import tokens, users
from rqflow.cli.main import main
from rqflow.security.roles import Role
from rqflow.store.engine import open_engine
from tests.integration.web.serving import served
from tests.integration.web.site import Site
from tests.unit.builders import a_version

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def site(db: redis.Redis, redis_url: str, sqlite_template: Path, tmp_path: Path, home: Path) -> Iterator[Site]:
    """A hub elsewhere."""
    shutil.copy(sqlite_template, tmp_path / "site.db")
    engine = open_engine(f"sqlite:///{tmp_path / 'site.db'}")
    made = Site(db, redis_url, engine, home)
    yield made
    made.close()
    engine.dispose()


@pytest.fixture
def call(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Call]:
    """Calls a command with --server, as ann, who is an operator; returns exit code, stdout, stderr."""
    users.add(site.engine, "ann", role=Role.OPERATOR, by="test")
    made = tokens.make(site.engine, "ann", name="laptop", by="ann")
    monkeypatch.setenv("RQFLOW_TOKEN", made.text)
    with served(site.app) as url:
        def one(*words: str) -> tuple[int, str, str]:
            code = main(["--home", str(tmp_path / "laptop"), "--server", url, *words])
            said = capsys.readouterr()
            return code, said.out, said.err

        yield one


def test_runs_are_listed_and_shown_as_at_the_hub(site: Site, call: Call) -> None:
    for number in range(3):
        site.hub.start(a_version(dag_id="daily"), day=number, run_id=f"r{number}")
    code, out, _ = call("run", "list", "-o", "json")
    assert (code, [one["run_id"] for one in json.loads(out)]) == (0, ["r2", "r1", "r0"])
    assert len(json.loads(call("run", "list", "-L", "2", "-o", "json")[1])) == 2
    code, out, _ = call("run", "show", "daily@latest", "-o", "json")
    assert (code, json.loads(out)["run_id"], len(json.loads(out)["tasks"])) == (0, "r2", 1)


def test_what_is_not_there_has_the_exit_code_that_it_has_at_the_hub(call: Call) -> None:
    code, _, err = call("run", "show", "nothing")
    assert (code, "there is no run nothing" in err) == (3, True)


def test_a_token_that_is_none_is_refused(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQFLOW_TOKEN", "rqf_wrong")
    assert call("run", "list")[0] == 4
    monkeypatch.delenv("RQFLOW_TOKEN")
    code, _, err = call("run", "list")
    assert (code, "RQFLOW_TOKEN" in err) == (4, True)


def test_a_server_that_is_away_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RQFLOW_TOKEN", "rqf_x")
    assert main(["--server", "http://127.0.0.1:1", "run", "list"]) == 7
    assert "http://127.0.0.1:1 does not answer" in capsys.readouterr().err
