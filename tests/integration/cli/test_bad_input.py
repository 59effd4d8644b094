"""Bad input of time and control, all in one place: what is said (what is wrong, where, what to do), with which exit code, and that nothing is half-written.

Callbacks that raise or hang are in tests/e2e/test_callbacks.py; other kinds of bad files and arguments in test_exit_codes.py.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from cryptography.fernet import Fernet

from rqflow.cli.main import main
from tests.epoch import open_epoch
from tests.integration.cli.conftest import Result
from tests.mailserver import MailServer, mail_server
from tests.services import redis_server

HEAD = """from datetime import datetime, timedelta
from airflow.models import Variable
from airflow.operators.mysql_operator import MySqlOperator
from rqflow import DAG, BashOperator, EmailOperator, Param
"""
LINE = HEAD.count("\n") + 1
#: Arguments of a DAG -> part of what is said at its line. Its file is refused.
DAGS = {
    'schedule="0 0 31 2 *"': "the schedule '0 0 31 2 *' never comes: there is no such day",
    'schedule="0 100 * * *"': "the schedule '0 100 * * *' has '100' as its hour; allowed are 0-23",
    'schedule="0 9 * *"': "has 4 fields; a cron expression has 5",
    'schedule="@dayly"': "did you mean @daily?",
    "schedule=timedelta(0)": "must be longer than 0 s",
    "schedule_interval=timedelta(-1)": "must be longer than 0 s",
    "schedule=0": "the schedule 0 is a number; write a length of time, like timedelta(minutes=10)",
    "schedule_interval=-1": "the schedule -1 is a number",
    'schedule="@daily", start_date="soon"': "start_date='soon' must be a datetime, or text like 2024-01-31",
    'schedule="@daily", start_date=20260101': "start_date=20260101 must be a datetime",
    "start_date=datetime(2026, 1, 1), end_date=datetime(2025, 1, 1)": "end_date 2025-01-01 00:00:00+00:00 lies before start_date 2026-01-01",
    'schedule="@daily", params={"n": Param(type="integer")}': "param n has no default, which a DAG with a schedule needs",
    'schedule="@daily", params={"n": Param("x", type="integer")}': "param n: its default 'x' does not fit type: 'integer'",
    "max_active_runs=0": "max_active_runs=0 must be at least 1",
    "dagrun_timeout=-1": "dagrun_timeout=-1 must not be negative",
}
IN_A_DAG = 'with DAG("d", schedule=None, start_date=datetime(2026, 1, 1)): '
#: A file of one line -> part of what is said of it.
LINES = {
    'import zoneinfo; DAG("d", start_date=datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berln")))':
        "there is no time zone Europe/Berln; did you mean Europe/Berlin?",
    'import pendulum; DAG("d", start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Berln"))': "there is no time zone Europe/Berln; did you mean Europe/Berlin?",
    IN_A_DAG + 'BashOperator(task_id="a", bash_command="true", start_date=datetime(2026, 3, 1), end_date=datetime(2026, 2, 1))':
        "task a: end_date 2026-02-01 00:00:00+00:00 lies before start_date 2026-03-01 00:00:00+00:00",
    IN_A_DAG + 'BashOperator(task_id="a", bash_command="true", end_date=datetime(2025, 1, 1))':
        "task a is in no run: what starts at 2026-01-01 00:00:00+00:00 has ended at 2025-01-01 00:00:00+00:00",
    IN_A_DAG + 'BashOperator(task_id="a", bash_command="true", pool="nope")':
        "task a of DAG d: there is no pool nope\n`rqflow pool list` shows the pools, `rqflow pool set NAME SLOTS` makes one.",
    IN_A_DAG + 'BashOperator(task_id="a", bash_command="true", pool="narrow", pool_slots=3)': "task a of DAG d takes 3 slots of pool narrow, which has 2",
    IN_A_DAG + 'MySqlOperator(task_id="a", sql="select 1", mysql_conn_id="nope")':
        "task a of DAG d: there is no Connection nope\n`rqflow conn set ID URI` stores one",
    'DAG("d", description=Variable.get("nope"))': "Variable nope does not exist; `rqflow var set nope VALUE`",
    'DAG("d", description=Variable.get("text", deserialize_json=True))':
        "JSONDecodeError: the Variable text is no JSON; `rqflow var set text VALUE --json` checks what it stores",
}
#: Odd, and yet DAGs, one version after the other: what submit says.
ODD = {
    'odd = DAG("odd", schedule="@daily")': "next run at ",
    'odd = DAG("odd", schedule="@daily", start_date=datetime(2999, 1, 1))': "next run at 2999-01-02 00:00:00 UTC",
    'odd = DAG("odd", schedule="@daily", start_date=datetime(2025, 1, 1), end_date=datetime(2025, 2, 1))':
        "no run comes by itself, for its end_date 2025-02-01T00:00:00+00:00 is over",
    'odd = DAG("odd", schedule="*/7 * * * *")': "its schedule or its start is another one than before, and counts from now on; next run at ",
    'odd, even = DAG("odd"), DAG("even", schedule="@daily", start_date=datetime(2010, 1, 1))': "even: more than 1,000 past dates are left out (no catch-up)",
    'odd = DAG("odd", schedule=None)': "nothing starts by itself: add --run",
}
GOOD = """with DAG("minutes", schedule="* * * * *", start_date=datetime(2010, 1, 1)): BashOperator(task_id="a", bash_command="true")
typed = DAG("typed", schedule=None, params={"n": Param(3, type="integer", minimum=1), "s": Param("a", enum=["a", "b"])})
"""
#: What is asked for, of the DAGs above -> exit code, part of what is said.
ASKED: dict[tuple[str, ...], tuple[int, str]] = {
    ("backfill", "start", "nope", "--from", "2026-01-01", "--to", "2026-01-02"): (3, "there is no DAG nope\n`rqflow dag list` shows those"),
    ("backfill", "start", "minutes", "--from", "2026-01-02", "--to", "2026-01-01"): (2, "lies before --from 2026-01-02T00:00:00\nExchange them"),
    ("backfill", "start", "minutes", "--from", "2010-01-01", "--to", "2020-01-01"): (2, "has about 5,258,880 dates, more than 1,000 (scheduler.backfill_ask_above)\nAdd --yes"),
    ("backfill", "start", "typed", "--from", "2026-01-01", "--to", "2026-01-02"): (2, "typed has no tasks: there is nothing to run"),
    ("backfill", "minutes", "-s", "2010-01-01", "-e", "2020-01-01"): (2, "Add --yes if that is meant; --dry-run lists the first of them."),
    ("backfill", "start", "minutes", "--from", "2026-01-32", "--to", "now"): (2, "'2026-01-32' is no time: write it like 2026-11-23"),
    ("run", "start", "typed", "-p", "n=0"): (2, "params do not fit: n: 0 does not fit minimum: 1\n`rqflow dag show"),
    ("run", "start", "typed", "-p", "n=many"): (2, "n: 'many' does not fit type: 'integer'"),
    ("run", "start", "typed", "--conf", '{"s": "c"}'): (2, "s: 'c' does not fit enum: ['a', 'b']"),
    ("run", "start", "typed", "--conf", "n=1"): (2, "--conf is no JSON: Expecting value: line 1 column 1 (char 0)\nWrite it like --conf"),
    ("run", "start", "typed", "--conf", "@/absent.json"): (2, "--conf @/absent.json: No such file or directory"),
    ("trigger_dag", "typed", "-c", '{"n": 0}'): (2, "n: 0 does not fit minimum: 1"),
    ("run", "clear", "minutes", "--since", "2026-02-01", "--until", "2026-01-01", "--yes"): (2, "The end lies before the start."),
    ("var", "set", "text", "{a", "--json"): (2, "the value of text is no JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
}

#: The end of a question.
ASKS = re.compile(rb"\[(none|y/N)\]: ?$")


class Site:
    """One home for all of these tests, and the only process that works in it."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self.capsys = home, capsys

    def __call__(self, *words: object) -> Result:
        code = main(["--home", str(self.home), *map(str, words)])
        said = self.capsys.readouterr()
        assert "Traceback" not in said.err
        return Result(code, said.out, said.err)

    def file(self, text: str) -> Path:
        path = self.home.parent / "bad.py"
        path.write_text(HEAD + text)
        return path

    def stored(self) -> list[str]:
        """All that stands in the database."""
        file, = self.home.glob("state/*/rqflow.db")
        with contextlib.closing(sqlite3.connect(file)) as connection:
            return list(connection.iterdump())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """An empty home, and the URL of its Redis."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("home", "redis"):
        (folder / name).mkdir()
    with redis_server(folder / "redis") as url:
        with redis.Redis.from_url(url) as connection:
            open_epoch(connection)
        yield folder / "home", url


@pytest.fixture
def site(place: tuple[Path, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Site:
    home, url = place
    monkeypatch.setenv("RQFLOW__REDIS__URL", url)
    site = Site(home, capsys)
    if not list(home.iterdir()):
        assert site("pool", "set", "narrow", "2").code == 0
        assert site("var", "set", "text", "plain text").code == 0
        assert site("submit", site.file(GOOD)).code == 0
    return site


def test_each_dag_of_a_bad_file_is_told_of_at_its_line_and_none_is_registered(site: Site) -> None:
    before = site.stored()
    said = site("submit", site.file("".join(f'd{number} = DAG("d{number}", {given})\n' for number, given in enumerate(DAGS))))
    assert said.code == 6
    for number, (given, told) in enumerate(DAGS.items()):
        assert any(f"bad.py:{LINE + number}: " in line and told in line for line in said.err.splitlines()), (given, said.err)
    assert site.stored() == before


@pytest.mark.parametrize("line", LINES)
def test_a_bad_line_is_told_with_its_place_and_nothing_is_registered(line: str, site: Site) -> None:
    before = site.stored()
    said = site("submit", "--strict", site.file(f"{line}\n"))
    assert said.code == 6, said
    assert f"bad.py:{LINE}: {LINES[line]}" in said.err
    assert site.stored() == before


def test_odd_dates_are_told_of(site: Site) -> None:
    for text, told in ODD.items():
        said = site("submit", site.file(f"{text}\n"))
        assert (said.code, told in said.err) == (0, True), said


@pytest.mark.parametrize("words", ASKED, ids=" ".join)
def test_a_bad_wish_starts_nothing(words: tuple[str, ...], site: Site) -> None:
    before = site.stored()
    said = site(*words)
    code, told = ASKED[words]
    assert (said.code, told in said.err) == (code, True), said
    assert site.stored() == before


def test_a_variable_that_is_no_json_fails_the_template_that_wants_it_by_name(site: Site) -> None:
    said = site("task", "render", site.file(IN_A_DAG + 'BashOperator(task_id="b", bash_command="{{ var.json.text.x }}")\n'), "b")
    assert said.code == 1
    assert "task b: bash_command, line 1: JSONDecodeError: the Variable text is no JSON; `rqflow var set text VALUE --json`" in said.err


def test_a_wrong_fernet_key_is_said_and_loses_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = site.file('DAG("d", description=Variable.get("text"))\n')
    for key, told in ((Fernet.generate_key().decode(), "was sealed with the key"), ("nonsense", "this is no Fernet key")):
        with monkeypatch.context() as wrong:
            wrong.setenv("RQFLOW__SECURITY__FERNET_KEY", key)
            for words in (("var", "get", "text"), ("var", "set", "text", "lost"), ("submit", reads)):
                said = site(*words)
                assert (said.code, told in said.err, "security.fernet_key" in said.err) == (6, True, True), (words, said)
    assert site("var", "get", "text").out == "plain text\n"


@pytest.fixture
def mails(tmp_path: Path) -> Iterator[MailServer]:
    with mail_server(tmp_path) as server:
        yield server


def test_a_mail_server_that_refuses_is_quoted(site: Site, mails: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    mails.refused = {"gone@x.test": "550 no such person"}
    for name, value in mails.environ().items():
        monkeypatch.setenv(name, value)
    path = site.file(IN_A_DAG + 'EmailOperator(task_id="e", to="gone@x.test", subject="s", html_content="x")\n')
    said = site("task", "test", path, "e")
    assert said.code == 1
    assert "the mail was not sent: the mail server localhost:" in said.err
    assert "refuses gone@x.test: 550 no such person" in said.err
    assert mails.mails == []


def on_a_terminal(site: Site, answer: str, *words: object) -> tuple[int, str]:
    """Run a command on a terminal, and answer its question; return its exit code and what it printed."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "rqflow.cli.main", "--home", str(site.home), *map(str, words)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "dumb"}, start_new_session=True)
    os.close(theirs)
    said = b""
    with open(ours, "r+b", buffering=0) as terminal:
        while ASKS.search(said) is None:
            said += terminal.read(4096)
        terminal.write(answer.encode() + b"\n")
        with contextlib.suppress(OSError):  # what a terminal says when its last process has closed it
            while more := terminal.read(4096):
                said += more
    return process.wait(), said.decode()


def test_who_sits_at_a_terminal_is_asked(site: Site) -> None:
    path = site.file('h = DAG("many", schedule="@hourly", start_date=datetime.now() - timedelta(days=2), catchup=True)\n')
    code, said = on_a_terminal(site, "2", "submit", "--no-follow", path)
    assert (code, "many would start 4" in said, "2 past dates are run now" in said) == (0, True, True), said
    before = site.stored()
    code, said = on_a_terminal(site, "n", "backfill", "start", "minutes", "--from", "2010-01-01", "--to", "2020-01-01")
    assert (code, "5,258,880 dates" in said) == (130, True), said
    assert site.stored() == before
