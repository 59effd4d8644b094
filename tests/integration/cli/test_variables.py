"""var, conn, pool import and export: what people store, and that no secret of it is to be seen where nobody asked for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis

from rqflow.security.keyring import new_key
from tests.integration.cli.conftest import Rqflow

SECRET = "hunter-twenty-two"
URI = f"mysql://me:{SECRET}@db:3306/lab?charset=utf8mb4&api_key=key-of-{SECRET}"


@pytest.fixture(autouse=True)
def with_redis(db: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQFLOW__REDIS__URL", redis_url)


def test_variables_are_set_listed_shown_and_deleted(rqflow: Rqflow) -> None:
    assert rqflow("var", "set", "site", "north", "--description", "where").err == "Variable site stored, new\n"
    assert rqflow("var", "set", "site", "south").err == "Variable site stored\n"
    assert rqflow("var", "set", "pin", SECRET, "--secret").code == 0
    assert rqflow("var", "set", "db_password", SECRET).code == 0
    found = {one["key"]: one for one in json.loads(rqflow("var", "list", "-o", "json").out)}
    assert {key: (one["value"], one["is_secret"], one["description"]) for key, one in found.items()} == {
        "site": ("south", False, "where"), "pin": ("***", True, ""), "db_password": ("***", True, ""),
    }
    assert rqflow("var", "get", "site").out == "south\n"
    assert rqflow("var", "get", "pin").out == "***\n"
    assert json.loads(rqflow("var", "get", "pin", "--show-secrets", "-o", "json").out)["value"] == SECRET
    assert rqflow("var", "delete", "site", "pin").err == "deleted: site, pin\n"
    assert rqflow("var", "list", "-o", "name").out == "db_password\n"


def test_a_value_may_come_from_stdin_and_be_json(rqflow: Rqflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "in").write_text('{"a": [1, 2]}\n')
    with (tmp_path / "in").open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert rqflow("var", "set", "config", "-", "--json").code == 0
    assert rqflow("var", "get", "config").out == '{"a": [1, 2]}\n'


def test_connections_are_set_listed_shown_and_deleted(rqflow: Rqflow) -> None:
    assert rqflow("conn", "set", "lab", URI).err == "Connection lab stored, new\n"
    assert rqflow("conn", "set", "file", "--type", "sqlite", "--host", "/data/X.db").code == 0
    [file, lab] = json.loads(rqflow("conn", "list", "-o", "json").out)
    assert (file["conn_type"], file["host"], file["password"]) == ("sqlite", "/data/X.db", "")
    assert (lab["host"], lab["port"], lab["schema"], lab["login"], lab["password"], lab["extra"]) == ("db", 3306, "lab", "me", "***", "***")
    shown = rqflow("conn", "get", "lab", "-o", "json").out
    assert SECRET not in shown
    assert json.loads(json.loads(shown)["extra"]) == {"charset": "utf8mb4", "api_key": "***"}
    assert json.loads(rqflow("conn", "get", "lab", "-o", "json", "--show-secrets").out)["uri"] == URI
    assert rqflow("conn", "delete", "lab").code == 0
    assert rqflow("conn", "list", "-o", "name").out == "file\n"


def test_conn_test_logs_in(rqflow: Rqflow, mariadb_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rqflow("conn", "set", "good", mariadb_url)
    rqflow("conn", "set", "bad", f"mysql://me:{SECRET}@127.0.0.1:1/x")
    rqflow("conn", "set", "web", "http://example.org")
    assert json.loads(rqflow("conn", "test", "good", "-o", "json").out) == {"conn_id": "good", "works": True, "message": "the server answers"}
    result = rqflow("conn", "test", "bad")
    assert (result.code, SECRET in result.out + result.err) == (1, False)
    assert rqflow("conn", "test", "web").code == 2
    monkeypatch.setenv("AIRFLOW_CONN_BAD", f"sqlite:///{tmp_path}/x.db")
    assert rqflow("conn", "test", "bad").code == 0, "the environment comes first"


def test_what_was_exported_is_imported(rqflow: Rqflow, tmp_path: Path) -> None:
    rqflow("var", "set", "a", '{"value": 1}')
    rqflow("var", "set", "b", "ü", "--secret", "--description", "d")
    rqflow("conn", "set", "lab", URI)
    rqflow("pool", "set", "gpu", "2", "--description", "cards")
    texts = {}
    for noun in ("var", "conn", "pool"):
        file = tmp_path / f"{noun}.json"
        assert rqflow(noun, "export", file).code == 0
        assert file.stat().st_mode & 0o777 == 0o600
        texts[noun] = file.read_text()
    rqflow("var", "delete", "a", "b")
    rqflow("conn", "delete", "lab")
    rqflow("pool", "delete", "gpu")
    for noun, text in texts.items():
        assert rqflow(noun, "import", tmp_path / f"{noun}.json").code == 0
        assert rqflow(noun, "export", "-").out == text


def test_files_of_airflow_are_imported(rqflow: Rqflow, tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text('{"a": "x", "n": 3, "o": {"k": [1]}, "d": {"value": "v", "description": "why"}}')
    (tmp_path / "c.json").write_text('{"u": "postgres://u@h/db", "f": {"conn_type": "mysql", "host": "h", "port": 3306, "extra": "{}", "login": null}}')
    (tmp_path / "p.json").write_text('{"gpu": {"slots": 4, "description": "cards", "include_deferred": false}}')
    assert [rqflow(*words).code for words in (("var", "import", tmp_path / "v.json"), ("conn", "import", tmp_path / "c.json"),
                                              ("pool", "import", tmp_path / "p.json"))] == [0, 0, 0]
    assert json.loads(rqflow("var", "export", "-").out) == {"a": "x", "n": "3", "o": '{"k": [1]}', "d": {"value": "v", "description": "why"}}
    assert [one["conn_type"] for one in json.loads(rqflow("conn", "list", "-o", "json").out)] == ["mysql", "postgres"]
    assert json.loads(rqflow("pool", "get", "gpu", "-o", "json").out)["slots"] == 4


def test_a_file_that_is_wrong_in_one_place_changes_nothing(rqflow: Rqflow, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"a": "mysql://h/d", "b": "nonsense"}')
    (tmp_path / "v.json").write_text('{"a": "1", " b": "2"}')
    assert rqflow("conn", "import", tmp_path / "c.json").code == 2
    assert rqflow("var", "import", tmp_path / "v.json").code == 2
    assert rqflow("conn", "list", "-o", "name").out + rqflow("var", "list", "-o", "name").out == ""


def test_a_wrong_key_is_said_and_loses_nothing(rqflow: Rqflow, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rqflow("var", "set", "a", "kept")
    rqflow("conn", "set", "lab", URI)
    (tmp_path / "v.json").write_text('{"b": "1"}')
    monkeypatch.setenv("RQFLOW__SECURITY__FERNET_KEY", new_key())
    calls = [("var", "get", "a"), ("var", "set", "a", "lost"), ("var", "set", "b", "1"), ("var", "import", tmp_path / "v.json"), ("var", "export", "-"),
             ("conn", "get", "lab"), ("conn", "set", "lab", "mysql://h/d"), ("conn", "export", "-"), ("conn", "test", "lab")]
    for words in calls:
        result = rqflow(*words)
        assert (result.code, "sealed with the key" in result.err, "security.fernet_key" in result.err) == (6, True, True), (words, result)
        assert "Traceback" not in result.err
    listed = rqflow("var", "list", "-o", "json")
    assert (listed.code, json.loads(listed.out)[0]["value"]) == (0, None)
    assert "sealed with the key" in listed.err
    assert rqflow("conn", "list", "-o", "name").out == "lab\n"
    monkeypatch.delenv("RQFLOW__SECURITY__FERNET_KEY")
    (home / "fernet.key").rename(tmp_path / "away")
    assert rqflow("var", "set", "b", "1").code == 6
    assert not (home / "fernet.key").exists(), "no new key is made beside what another one sealed"
    (tmp_path / "away").rename(home / "fernet.key")
    assert rqflow("var", "get", "a").out == "kept\n"
    assert rqflow("var", "list", "-o", "name").out == "a\n"


DAG = """
from datetime import datetime
from airflow import DAG
from airflow.hooks.base import BaseHook
from airflow.models import Variable
from airflow.operators.bash import BashOperator
with DAG("d", schedule_interval=None, start_date=datetime(2026, 1, 1), description=Variable.get("site") + BaseHook.get_connection("web").host):
    BashOperator(task_id="b", bash_command="echo {{ var.value.db_password | shquote }} {{ ds }}")
"""


def test_files_that_are_loaded_see_what_is_stored(rqflow: Rqflow, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "d.py"
    file.write_text(DAG)
    result = rqflow("dag", "validate", file)
    assert (result.code, "Variable site does not exist; `rqflow var set site VALUE`" in result.out + result.err) == (6, True)
    assert list(home.iterdir()) == [], "no database is made to look for it"
    rqflow("var", "set", "site", "north")
    rqflow("var", "set", "db_password", SECRET)
    rqflow("conn", "set", "web", "http://example.org")
    shown = json.loads(rqflow("dag", "show", file, "-o", "json").out)
    assert shown["dags"][0]["description"] == "northexample.org"
    monkeypatch.setenv("AIRFLOW_VAR_SITE", "south")
    assert json.loads(rqflow("dag", "show", file, "-o", "json").out)["dags"][0]["description"] == "southexample.org"
    rendered = rqflow("task", "render", file, "b", "2026-01-02").out
    assert ("echo *** 2026-01-02" in rendered, SECRET in rendered) == (True, False)
    tried = rqflow("task", "test", file, "b", "2026-01-02")
    assert (tried.code, "2026-01-02" in tried.out, SECRET in tried.out) == (0, True, False)
    monkeypatch.delenv("AIRFLOW_VAR_SITE")
    monkeypatch.setenv("RQFLOW__SECURITY__FERNET_KEY", new_key())
    refused = rqflow("dag", "validate", file)
    assert (refused.code, "sealed with the key" in refused.out + refused.err, "Traceback" in refused.err) == (6, True, False)


def test_submit_says_which_connections_are_not_known(rqflow: Rqflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "d.py"
    file.write_text("from datetime import datetime\nfrom rqflow import DAG, MySqlOperator, SqliteOperator\n"
                    "with DAG('d', schedule=None):\n    MySqlOperator(task_id='q', sql='select 1', mysql_conn_id='lab')\n"
                    "    SqliteOperator(task_id='t', sql='select 1', sqlite_conn_id='{{ params.x }}')\n")
    said = "task q of DAG d: there is no Connection lab"
    warned = rqflow("submit", file)
    assert (warned.code, f"warning: {file}:4: {said}, and its worker's environment must have it" in warned.err) == (0, True)
    assert rqflow("submit", file, "--strict").code == 6
    with monkeypatch.context() as patch:
        patch.delenv("RQFLOW__REDIS__URL")
        refused = rqflow("submit", file)
        assert (refused.code, said in refused.err, "rqflow conn set" in refused.err) == (6, True, True), "no worker lives that could know it"
    with monkeypatch.context() as patch:
        patch.setenv("RQFLOW_CONN_LAB", "mysql://h/d")
        assert said not in rqflow("submit", file, "--strict").err
    rqflow("conn", "set", "lab", URI)
    assert rqflow("submit", file, "--strict").code == 0


def test_no_secret_stands_in_clear_in_redis_or_sql(rqflow: Rqflow, home: Path, db: redis.Redis) -> None:
    rqflow("var", "set", "x", SECRET)
    rqflow("conn", "set", "lab", URI)
    kept = b"".join(b"".join(db.hgetall(key).values()) for key in db.keys("*") if db.type(key) == b"hash")
    kept += b"".join(path.read_bytes() for path in home.glob("state/*/rqflow.db*"))
    assert b"gAAAA" in kept
    assert SECRET.encode() not in kept


def test_names_of_airflow_1_7_take_its_options(rqflow: Rqflow, tmp_path: Path) -> None:
    assert "is now `rqflow var set`" in rqflow("variables", "-s", "k", '{"a": 1}').err
    assert rqflow("variables", "-g", "k").out == '{"a": 1}\n'
    assert rqflow("variables", "-g", "k", "-j").code == 0
    assert rqflow("variables", "-g", "absent").code == 3
    assert rqflow("variables", "-g", "absent", "-d", "x").out == "x\n"
    assert rqflow("variables").out == "k\n"
    assert rqflow("variables", "-e", tmp_path / "v.json").code == 0
    assert rqflow("variables", "-x", "k").code == 0
    assert rqflow("variables", "-i", tmp_path / "v.json").code == 0
    assert rqflow("variables", "-g", "k").out == '{"a": 1}\n'
    assert rqflow("variables", "-s", "n", "x", "-j").code == 2
    assert "is now `rqflow pool set`" in rqflow("pool", "-s", "gpu", "2", "cards").err
    assert rqflow("pool", "-g", "gpu").out == "gpu: 2 slots, 0 used (cards)\n"
    assert rqflow("pool", "-x", "gpu").code == 0
    assert rqflow("pool", "-g", "gpu").code == 3
    added = rqflow("connections", "-a", "--conn_id", "lab", "--conn_uri", URI)
    assert "is now `rqflow conn set`" in added.err
    assert rqflow("connections", "-a", "--conn_id", "f", "--conn_type", "mysql", "--conn_host", "h", "--conn_extra", "{}").code == 0
    listed = rqflow("connections", "-l").out
    assert ("lab" in listed, SECRET in listed) == (True, False)
    assert rqflow("connections", "-d", "--conn_id", "lab").code == 0
    assert rqflow("connections", "-d").code == 2
