"""rqflow user, token, audit, and dag chown and share, as people type them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from rqflow.cli.app import who
from tests.integration.cli.conftest import Result, Rqflow

SOURCE = """
from rqflow import DAG, BashOperator
with DAG("d", schedule=None, default_args={"owner": "lab"}):
    BashOperator(task_id="a", bash_command="true")
"""


@pytest.fixture(autouse=True)
def nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))


@pytest.fixture
def given(rqflow: Rqflow, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls the command line with a text on stdin."""

    def call(text: str, *words: object) -> Result:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        return rqflow(*words)

    return call


def plain(result: Result) -> Any:
    assert result.code == 0, result.err
    return json.loads(result.out)


def test_a_person_from_their_first_day_to_their_last(rqflow: Rqflow, given: Any) -> None:
    assert plain(rqflow("user", "list", "-o", "json")) == []
    assert given("correct horse\n", "user", "add", "ada", "--role", "admin", "--email", "ada@lab.example", "--password-stdin").code == 0
    added = plain(rqflow("user", "add", "bob", "--no-password", "--full-name", "Bob B.", "-o", "json"))
    assert (added[0]["username"], added[0]["role"], added[0]["full_name"]) == ("bob", "viewer", "Bob B.")
    assert plain(rqflow("user", "edit", "bob", "--role", "operator", "-o", "json"))[0]["role"] == "operator"
    assert plain(given("battery staple\r\n", "user", "passwd", "bob", "--password-stdin", "-o", "json")) == [{"username": "bob", "sessions_ended": 0}]
    made = plain(rqflow("token", "create", "ci", "--user", "bob", "--scope", "viewer", "--expires", "30d", "-o", "json"))
    assert made["token"].startswith("rqf_")
    assert plain(rqflow("token", "list", "-o", "json"))[0]["state"] == "active"
    asked = rqflow("user", "disable", "bob")
    assert (asked.code, "Add --yes." in asked.err) == (2, True)
    left = plain(rqflow("user", "disable", "bob", "--yes", "-o", "json"))
    assert (left[0]["tokens"], left[0]["scheduled"]) == (1, [])
    assert plain(rqflow("token", "list", "-o", "json")) == []
    assert plain(rqflow("token", "list", "--all", "--user", "bob", "-o", "json"))[0]["state"] == "revoked"
    assert plain(rqflow("user", "enable", "bob", "-o", "json"))[0]["is_active"] is True
    assert plain(rqflow("user", "delete", "bob", "--yes", "--hand-over", "ada", "-o", "json"))[0]["heir"] == "ada"
    assert rqflow("user", "list", "-o", "name").out == "ada\n"
    deeds = plain(rqflow("audit", "list", "--who", who(), "-o", "json"))
    assert [one["event"] for one in deeds] == ["user_deleted", "user_enabled", "user_disabled", "token_made", "password_changed", "user_edited", "user_added",
                                               "user_added"]
    assert "horse" not in json.dumps(deeds)
    assert len(plain(rqflow("audit", "list", "--event", "user_added", "-L", "1", "-o", "json"))) == 1
    assert plain(rqflow("audit", "list", "--since", "now", "-o", "json")) == []
    assert "role=admin" in rqflow("audit", "list").out
    assert "=None" not in rqflow("audit", "list").out


def test_a_set_up_link_is_printed_alone_and_leads_to_the_page(rqflow: Rqflow, monkeypatch: pytest.MonkeyPatch) -> None:
    first = rqflow("user", "setup-link")
    assert first.code == 0
    assert first.out.startswith("http://127.0.0.1:8080/setup/")
    assert "as admin; good once, until" in first.err
    monkeypatch.setenv("RQFLOW__NOTICES__BASE_URL", "https://rqflow.lab.example/")
    told = plain(rqflow("user", "setup-link", "eve", "--role", "operator", "-o", "json"))
    assert told["url"].startswith("https://rqflow.lab.example/setup/")
    assert (told["username"], told["role"]) == ("eve", "operator")
    monkeypatch.delenv("RQFLOW__NOTICES__BASE_URL")
    monkeypatch.setenv("RQFLOW__WEBSERVER__HOST", "::")
    assert rqflow("user", "setup-link").out.startswith("http://127.0.0.1:8080/")


def test_tokens_are_shown_once_and_revoked(rqflow: Rqflow) -> None:
    rqflow("user", "add", who(), "--no-password")
    text = rqflow("token", "create", "ci", "--expires", "never")
    assert text.out.startswith("rqf_")
    assert len(text.out.split()) == 1
    assert "until it is revoked" in text.err
    (row,) = plain(rqflow("token", "list", "-o", "json"))
    assert row["expires_at"] is None
    assert text.out.strip() not in json.dumps(row)
    assert plain(rqflow("token", "revoke", row["id"], "-o", "json"))[0]["state"] == "revoked"
    again = rqflow("token", "revoke", row["id"])
    assert (again.code, "revoked already" in again.err) == (5, True)


def test_dags_are_given_and_shared(rqflow: Rqflow, tmp_path: Path) -> None:
    file = tmp_path / "d.py"
    file.write_text(SOURCE)
    assert rqflow("submit", file).code == 0
    assert plain(rqflow("dag", "list", "-o", "json"))[0]["submitted_by"] == who()
    rqflow("user", "add", "bob", "--no-password", "--role", "operator")
    assert plain(rqflow("dag", "chown", "d", "bob", "-o", "json")) == [{"dag_id": "d", "submitted_by": "bob"}]
    assert rqflow("submit", file).code == 0, "who owns the home and its SQLite may"
    assert plain(rqflow("dag", "list", "-o", "json"))[0]["submitted_by"] == "bob"
    assert plain(rqflow("dag", "share", "d", "--everyone", "-o", "json"))[0]["username"] == "*"
    assert len(plain(rqflow("dag", "share", "d", who(), "-o", "json"))) == 2
    assert [one["username"] for one in plain(rqflow("dag", "unshare", "d", "--everyone", "-o", "json"))] == [who()]
    assert [one["username"] for one in plain(rqflow("dag", "share", "d", "-o", "json"))] == [who()]
    assert plain(rqflow("user", "owner", "set", "lab", "bob", "-o", "json"))[0]["username"] == "bob"
    assert plain(rqflow("user", "owner", "list", "-o", "json"))[0]["owner"] == "lab"
    assert plain(rqflow("user", "owner", "delete", "lab", "-o", "json")) == [{"owner": "lab", "removed": 1}]
    events = [one["event"] for one in plain(rqflow("audit", "list", "--dag", "d", "-o", "json"))]
    assert {"dag_given", "dag_shared", "dag_unshared"} <= set(events)


WRONG: dict[tuple[str, ...], tuple[int, str]] = {
    ("user", "add", "x"): (2, "Add --password-stdin, or --no-password"),
    ("user", "add", "a b", "--no-password"): (2, "the user name"),
    ("user", "add", "ada", "--no-password"): (5, "there is a user ada already"),
    ("user", "add", "x", "--role", "root", "--no-password"): (2, "Invalid value for '--role'"),
    ("user", "add", "x", "--email", "nowhere", "--no-password"): (2, "no mail address"),
    ("user", "add", "x", "--password-stdin"): (2, "at least 8 characters"),
    ("user", "edit", "nope", "--role", "admin"): (3, "there is no user nope"),
    ("user", "passwd", "nope", "--password-stdin"): (3, "there is no user nope"),
    ("user", "passwd", "ada"): (2, "Add --password-stdin."),
    ("user", "disable", "nope", "--yes"): (3, "there is no user nope"),
    ("user", "disable", "ada", "--yes", "--hand-over", "ada"): (2, "cannot take over"),
    ("user", "enable", "ada"): (5, "is not disabled"),
    ("user", "delete", "nope", "--yes"): (3, "there is no user nope"),
    ("user", "delete", "ada"): (2, "Add --yes."),
    ("user", "setup-link", "ada", "--role", "viewer"): (2, "ada is admin already"),
    ("user", "setup-link", "/"): (2, "the user name"),
    ("user", "sessions", "nope"): (3, "there is no user nope"),
    ("user", "logout", "nope"): (3, "there is no session nope"),
    ("user", "owner", "set", "lab", "no-such-account"): (3, "there is no user no-such-account"),
    ("user", "owner", "delete", "lab"): (3, "the owner lab is not mapped"),
    ("token", "create", "ci", "--user", "nope"): (3, "there is no user nope"),
    ("token", "create", " ", "--user", "ada"): (2, "what it is for"),
    ("token", "create", "ci", "--user", "ada", "--expires", "soon"): (2, "is no duration"),
    ("token", "list", "--user", "nope"): (3, "there is no user nope"),
    ("token", "list", "--fields", "digest"): (2, "there is no field digest"),
    ("token", "revoke", "99"): (3, "there is no token 99"),
    ("token", "revoke", "x"): (2, "is not a valid integer"),
    ("dag", "chown", "nope", "ada"): (3, "there is no DAG nope"),
    ("dag", "share", "nope", "ada"): (3, "there is no DAG nope"),
    ("dag", "share", "nope", "ada", "--everyone"): (2, "name a person, or say --everyone"),
    ("dag", "unshare", "nope"): (2, "name a person, or say --everyone"),
    ("audit", "list", "--since", "then"): (2, "is no time"),
}


def test_what_is_wrong_is_said_and_has_its_exit_code(rqflow: Rqflow) -> None:
    rqflow("user", "add", "ada", "--role", "admin", "--no-password")
    for words, (code, message) in WRONG.items():
        found = rqflow(*words)
        assert (found.code, message in found.err, found.out) == (code, True, ""), (words, found)


def test_sessions_are_listed_and_ended(rqflow: Rqflow) -> None:
    rqflow("user", "add", "ada", "--role", "admin", "--no-password")
    assert plain(rqflow("user", "sessions", "ada", "-o", "json")) == []
    assert plain(rqflow("user", "logout", "ada", "-o", "json")) == [{"username": "ada", "sessions_ended": 0}]


def test_doctor_says_who_is_an_administrator_and_whether_strangers_come_in(rqflow: Rqflow, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rqflow("user", "list")

    def line(check: str) -> dict[str, str]:
        return next(one for one in json.loads(rqflow("doctor", "-o", "json").out) if one["check"] == check)

    assert who() in line("administrators")["detail"]
    assert line("administrators")["verdict"] == "ok"
    assert line("page access")["verdict"] == "ok"
    monkeypatch.setenv("RQFLOW__WEBSERVER__HOST", "0.0.0.0")
    assert (line("page access")["verdict"], "setup-link" in line("page access")["remedy"]) == ("problem", True)
    rqflow("user", "add", "ada", "--role", "admin", "--no-password")
    assert line("page access")["verdict"] == "ok"
    (base,) = home.glob("state/*/rqflow.db")
    base.chmod(0o644)
    base.parent.chmod(0o755)
    try:
        assert (line("administrators")["verdict"], "every account" in line("administrators")["detail"]) == ("warning", True)
    finally:
        base.parent.chmod(0o700)
        base.chmod(0o600)
