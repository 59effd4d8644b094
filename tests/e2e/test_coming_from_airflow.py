"""docs/how-to/coming-from-airflow-1.md: each of its commands is carried out, in the order of the page, and does what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest

from tests.docs.test_tutorial import ROOT
from tests.mailserver import MailServer, mail_server
from tests.profile import ENVIRON
from tests.services import mariadb_server, redis_server
from tests.waiting import until

PAGE = ROOT / "docs/how-to/coming-from-airflow-1.md"
#: Typed by test_joining.py, between two machines.
ELSEWHERE = "Two machines"
#: Carried out by scripts/demo on a bare machine: it would change the installation that the tests run from.
INSTALLS = "scripts/install airflow"


@dataclass
class Reader:
    """Somebody who reads the page and types what it says, on a machine with a Redis, a MariaDB and a mail server at other places than usual."""

    home: Path
    environ: dict[str, str]
    #: What the page says -> what is so on this machine.
    places: dict[str, str]

    def types(self, block: str) -> str:
        """Type one block of commands; return what was printed."""
        for usual, here in self.places.items():
            block = block.replace(usual, here)
        done = subprocess.run(["bash", "-ec", block], env=self.environ, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=240, check=False)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture
def mails(tmp_path: Path) -> Iterator[MailServer]:
    with mail_server(tmp_path, starttls=False) as server:
        yield server


@pytest.fixture
def reader(tmp_path: Path, mails: MailServer) -> Iterator[Reader]:
    home = tmp_path / "home"
    (tmp_path / "maria").mkdir()
    (tmp_path / "redis").mkdir()
    home.mkdir()
    with redis_server(tmp_path / "redis", "--appendonly", "yes") as redis_url, mariadb_server(tmp_path / "maria") as database:
        socket = database.rpartition("=")[2]
        with pymysql.connect(user="root", unix_socket=socket) as connection, connection.cursor() as cursor:
            cursor.execute("DROP DATABASE rqflow")
        (home / ".my.cnf").write_text(f"[client]\nuser=root\nsocket={socket}\n")
        environ = {"HOME": str(home), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "LANG": "C.UTF-8", **ENVIRON}
        one = Reader(home, environ, {
            INSTALLS: "test -x scripts/install", "redis://127.0.0.1:6379/0": redis_url, "/run/mysqld/mysqld.sock": socket,
            "smtp_port = 25": f"smtp_port = {mails.port}"})
        yield one
        subprocess.run(["rqflow", "down"], env=environ, check=False, capture_output=True, timeout=60)


def blocks() -> Iterator[tuple[str, str, str]]:
    """Return (title, language, text) of each block of the page."""
    title = ""
    for heading, language, text in re.findall(r"^## ([^\n]+)$|^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        title = heading or title
        if language:
            yield title, language, text


@pytest.mark.timeout(800)  # some fifty commands, each a process of its own
def test_each_command_of_the_page_does_what_it_says(reader: Reader, mails: MailServer) -> None:
    said: dict[str, str] = {}
    for title, language, text in blocks():
        if language == "python":
            file = reader.home / text.splitlines()[0].removeprefix("# ~/")
            file.write_text(text)
        elif language == "sh" and title != ELSEWHERE:
            said[title] = said.get(title, "") + reader.types(text)
    assert "database.url" in said["rqflow.cfg"]
    assert said["The control script"].count("RUNNING") >= 2
    assert "nightly" in said["First DAGs"]
    assert "fetching 2026-11-20 all" in said["First DAGs"]
    assert re.search("fetching .* north", said["Trigger, with conf"])
    assert "failed, as it should" in said["Mail"]
    until(lambda: mails.mails, what="the mail")
    assert mails.subjects[0].startswith("rqflow: nightly.check failed and is tried again")
    assert "the queue default is paused" in said["My task did not run"]
    assert "nightly: it is paused" in said["My task did not run"]
    assert all(f"2026-11-0{day}" in said["Backfill, clear, mark"] for day in (3, 4, 5))
    assert "/data/hg38" in said["Variables, connections, pools"]
    assert "secret" not in said["Variables, connections, pools"]
    assert "nightly" not in said["Delete a DAG"].partition("list_dags")[2]
    assert "ssh -NT" in said["Port forwarding"]
    assert "[program:" in (reader.home / "rqflow.conf").read_text()
