"""rqflow --server: the same commands, answered by a hub elsewhere."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest
import redis

from rqflow.actions import logs, query
from rqflow.actions.people import ownership, tokens, users
from rqflow.api.client import I, O, Server
from rqflow.api.logs import LastLines, last_lines
from rqflow.api.operation import Operation
from rqflow.broker.messages import Claim
from rqflow.cli.main import cli, main
from rqflow.cli.observing import Away
from rqflow.exceptions import UsageError
from rqflow.security.roles import Role
from rqflow.store.engine import open_engine
from tests.integration.broker import playing
from tests.integration.cli import test_every_command as every
from tests.integration.web.serving import served
from tests.integration.web.site import BASE, Site
from tests.unit.builders import a_task, a_version

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


def test_the_live_table_has_the_last_lines_of_logs_in_one_question_a_look(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rqflow.cli.observing.EVERY", 0.01)
    monkeypatch.setattr("rqflow.cli.observing.REST", 0.0)
    run = site.hub.start(a_version(["a", "b", "c"], dag_id="daily"), run_id="r")
    site.browser("ann", Role.VIEWER)

    def log(claim: Claim, text: str) -> None:
        file = Path(site.settings.logs.folder) / logs.path(query.show(site.hub.broker, site.engine, run.run_key), claim.task_id, 1)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    first, second = (playing.claim(site.hub.broker, 1)[0] for _ in range(2))
    log(first, "one\n\x1b[31mtwo\x1b[0m\n\n")
    asked: list[str] = []
    with served(site.app) as url, closing(Server(url, tokens.make(site.engine, "ann", name="laptop", by="ann").text)) as server:
        def ask(wanted: Operation[I, O], given: I) -> O:
            asked.append(wanted.name)
            return server.ask(wanted, given)

        observer = Away(ask)
        known = observer.run(run.run_key)
        looks = observer.snapshots(known, observer.version(known), timeout=None)
        for last, number in (("", 1), ("begun", 2), ("done", 3)):
            asked.clear()
            shown = {task.task_id: observer.last_line(known, task) for task in next(looks).tasks}
            assert shown == {"a": "two", "b": last, "c": ""}, number
            assert asked == ["runs.get", "runs.last_lines"]
            log(second, "begun\n" if number == 1 else "done\n")
            if number == 2:
                playing.tell(site.hub.broker, playing.end(first))
                playing.tell(site.hub.broker, playing.end(second))
        asked.clear()
        assert [observer.last_line(known, task) for task in next(looks).tasks] == ["two", "done", ""]
        assert asked == ["runs.get"], "what has ended says nothing more"
        assert server.ask(last_lines, LastLines(run=run.run_key, task_id=["a", "../a", "none"], try_number=[1, 1, 9])) == {"a": "two"}
        for tasks, tries in (([], []), (["a"], []), (["a"], [0]), ([f"t{number}" for number in range(101)], [1] * 101)):
            with pytest.raises(UsageError):
                server.ask(last_lines, LastLines(run=run.run_key, task_id=tasks, try_number=tries))


def test_what_is_not_there_has_the_exit_code_that_it_has_at_the_hub(call: Call) -> None:
    code, _, err = call("run", "show", "nothing")
    assert (code, "there is no run nothing" in err) == (3, True)


def test_people_and_their_tokens_are_changed_as_at_the_hub(site: Site, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("user", "list")[0] == 4, "ann is an operator"
    users.edit(site.engine, "ann", role=Role.ADMIN, by="test")
    monkeypatch.setenv("RQFLOW_TOKEN", tokens.make(site.engine, "ann", name="admin", by="ann").text)
    site.hub.start(a_version(dag_id="daily"), run_id="r0")
    for words, code in [
        (("user", "add", "bob", "--no-password"), 0), (("user", "edit", "bob", "--role", "operator"), 0), (("user", "edit", "zoe", "--role", "viewer"), 3),
        (("user", "owner", "set", "team", "bob"), 0), (("user", "owner", "list"), 0), (("user", "owner", "delete", "team"), 0),
        (("token", "create", "ci", "--user", "bob", "--expires", "30d"), 0), (("token", "create", "ci", "--expires", "30m"), 0),
        (("user", "sessions"), 0), (("user", "logout", "bob"), 0), (("user", "logout", "nosession"), 3),
        (("dag", "chown", "daily", "bob"), 0), (("dag", "chown", "daily", "nobody"), 3), (("dag", "share", "daily", "bob"), 0),
        (("user", "disable", "bob", "--yes"), 0), (("user", "enable", "bob"), 0), (("user", "delete", "bob", "--yes"), 0),
        (("notice", "show", "nope"), 3), (("notice", "retry", "--all"), 0), (("token", "revoke", "99"), 3), (("task", "run-now", "r0", "a"), 5),
        (("queue", "empty", "nope"), 3), (("worker", "drain", "nope"), 3), (("worker", "stop", "nope"), 3),
    ]:
        found = call(*words)
        assert (found[0], "Traceback" in found[2]) == (code, False), (words, found)
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery\n"))
    assert call("user", "passwd", "ann", "--password-stdin")[0] == 0
    assert call("user", "setup-link")[1].startswith("http://127.0.0.1:")
    assert "rqflow_" in call("metrics")[1]


def test_secrets_stay_at_the_hub(site: Site, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    users.edit(site.engine, "ann", role=Role.ADMIN, by="test")
    monkeypatch.setenv("RQFLOW_TOKEN", tokens.make(site.engine, "ann", name="admin", by="ann").text)
    assert call("var", "set", "api_key", "s3cret")[0] == call("conn", "set", "db", "mysql://u:s3cret@h/d")[0] == 0
    for words, code in [(("var", "get", "api_key"), 0), (("var", "get", "api_key", "--show-secrets"), 4), (("var", "list", "-o", "json"), 0),
                        (("var", "export", "-"), 0), (("conn", "get", "db"), 0), (("conn", "get", "db", "--show-secrets"), 4), (("conn", "export", "-"), 0)]:
        found = call(*words)
        assert (found[0], "s3cret" in found[1] + found[2]) == (code, False), (words, found)
    file = tmp_path / "d.py"
    file.write_text("from rqflow import DAG, Variable\nwith DAG('d'):\n    print(Variable.get('api_key'))\n")
    code, out, err = call("submit", str(file))
    assert (code, "the Variable api_key is a secret, which no hub gives away" in err, "s3cret" in out + err) == (6, True, False)


def test_a_dag_of_another_is_refused(site: Site, call: Call, tmp_path: Path) -> None:
    users.add(site.engine, "bob", role=Role.OPERATOR, by="test")
    file = tmp_path / "d.py"
    file.write_text("from rqflow import DAG, BashOperator\nwith DAG('d', schedule=None):\n    BashOperator(task_id='a', bash_command='true')\n")
    assert call("submit", str(file))[0] == 0
    ownership.chown(site.engine, "d", "bob", by="test")
    code, _, err = call("submit", str(file))
    assert (code, "DAG d belongs to bob, and ann submits it" in err) == (4, True)


NO_DAGS: list[dict[str, object]] = [
    {}, {"versions": []}, {"versions": [""]}, {"versions": ["{}"]}, {"versions": ["[" * 9999]}, {"versions": "x"},
    {"versions": [a_version().json], "signatures": [["x"], ["y"]]}, {"versions": [a_version().json] * 2},
    {"versions": [a_version().json], "signatures": [["\u0000"]]}, {"versions": [a_version().json], "catchup": "some"},
    {"versions": [a_version().json], "tz": "Nowhere"}, {"versions": [a_version(specs={"a": a_task("a", operator="nonsense")}).json]}]


def test_what_is_no_dag_is_bad_input(site: Site) -> None:
    browser = site.browser("ann", Role.OPERATOR)
    for body in NO_DAGS:
        answer = browser.post("/api/v1/dags", json=body, headers={"Origin": BASE})
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), (body, answer.text)


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


#: Commands that work at the hub, or on the machine of the person, alone, with words that they need.
AT_THE_HUB: list[tuple[str, ...]] = [
    ("up",), ("down",), ("restart",), ("status",), ("dag", "sync"), ("worker",), ("worker", "join", "ann@hub"),
    ("worker", "add", "ann@node"), ("scheduler",), ("tunnel", "up"), ("tunnel", "status"), ("tunnel", "print", "x"), ("tunnel", "trust", "x"), ("webserver",), ("service", "install"),
    ("service", "status"), ("service", "uninstall"), ("service", "print"), ("service", "logs"), ("notice", "test", "a@b.test"), ("db", "upgrade"), ("db", "check"), ("db", "clean", "--yes"),
    ("db", "backup", "x"), ("db", "restore", "x"), ("db", "reset", "--yes"), ("config", "list"), ("config", "get", "core.dags_folder"), ("config", "check"),
    ("init",), ("info",), ("initdb",), ("upgradedb",), ("resetdb",), ("redis",),
]
#: Those that ask no hub at all.
ALONE = {("dag", "validate"), ("dag", "test"), ("task", "test"), ("dag", "sign"), ("config", "default"), ("version",), ("python",), ("worker", "sudoers"),
         ("worker", "bootstrap"), ("open",)}
#: Those that tests above this, and at the end of the other file, ask of a hub elsewhere.
ASKED_HERE = {("submit",), ("metrics",), ("user", "add"), ("user", "edit"), ("user", "passwd"), ("user", "disable"), ("user", "enable"), ("user", "delete"),
              ("user", "owner"), ("user", "sessions"), ("user", "logout"), ("user", "setup-link"), ("token", "create"), ("token", "revoke"),
              ("notice", "show"), ("notice", "retry"), ("dag", "chown"), ("dag", "delete"), ("task", "run-now"), ("queue", "empty"), ("worker", "drain"),
              ("worker", "stop")}


@pytest.mark.parametrize("words", AT_THE_HUB, ids=" ".join)
def test_what_works_at_the_hub_alone_says_so_and_leaves_the_home_here_alone(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                                             capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RQFLOW_TOKEN", "rqf_x")
    code = main(["--home", str(tmp_path / "laptop"), "--server", "http://127.0.0.1:1", *words])
    assert (code, "this does not go with --server: " in capsys.readouterr().err) == (2, True)
    assert not (tmp_path / "laptop").exists()


def test_no_command_is_left_out() -> None:
    """Each is asked of a hub elsewhere by tests here or in test_every_command.py, refuses that in words, or asks no hub."""
    context = click.Context(cli)
    there: set[tuple[str, ...]] = set()
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        group = command.commands if isinstance(command, click.Group) else {}
        there |= {(name, sub) for sub in group if not group[sub].hidden} or {(name,)}
    asked = {words[:2] for words in (*every.SHOWS, *every.STREAMS, *every.WRONG, *(words for words, _, _ in every.AWAY_DEEDS))}
    asked |= {words[:1] for words in asked} | ASKED_HERE
    refused = {words[:2] for words in AT_THE_HUB} | {words[:1] for words in AT_THE_HUB if len(words) > 2}
    assert there - asked - refused - ALONE == set()
