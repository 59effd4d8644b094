"""Stored Variables and Connections in tasks: what they see, how soon, and that nothing secret of it is left anywhere."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rqflow.broker.mirror import Mirror
from rqflow.broker.requests import RequestDesk
from rqflow.dag.loader import load
from rqflow.dag.outside import Connection
from rqflow.dag.run import RunInfo
from rqflow.deploy.answers import handlers
from rqflow.operators import hooks
from rqflow.recorder import mirroring
from rqflow.security.keyring import Keyring, new_key
from rqflow.settings import Security
from rqflow.store import variables
from rqflow.store.engine import open_engine, reading
from rqflow.worker.confided import Confided, file_of
from tests.integration.worker.conftest import Site
from tests.unit.builders import a_task, a_version
from tests.waiting import until

SECRET = "hunter-two-two"
KEY = new_key()
WITH_KEY = {"RQFLOW__SECURITY__FERNET_KEY": KEY}


def entry(value: str, *, is_secret: bool = False) -> dict[str, Any]:
    name, sealed = Keyring([KEY]).seal(value)
    return {"key": name, "value": sealed, "is_secret": is_secret}


def stored(site: Site, variables: dict[str, Any] | None = None, **connections: str) -> None:
    """Let Redis have these, sealed with KEY; Connections as URIs."""
    found = {}
    for conn_id, uri in connections.items():
        one = {name: value for name, value in vars(Connection.read(conn_id, uri)).items() if name != "conn_id" and value is not None}
        for field in ("password", "extra"):
            if field in one:
                one["key"], one[field] = Keyring([KEY]).seal(one[field])
        found[conn_id] = {"key": None, **one}
    Mirror(site.db).write(lambda: ("x", {"VAR": variables or {}, "CONN": found}))


def dag(site: Site, text: str, **files: str) -> RunInfo:
    """Make a run of the DAG file `text`."""
    folder = site.folder / "dags"
    folder.mkdir()
    for name, content in {"d_py": "from rqflow import *\n" + text, **files}.items():
        (folder / name.replace("_py", ".py").replace("_sql", ".sql")).write_text(content)
    [version] = load(folder / "d.py", site.settings).versions
    return site.run(version)


def everything(site: Site) -> bytes:
    """All that Redis holds."""
    return b"".join(site.db.dump(key) or b"" for key in site.db.keys("*")) + repr(site.db.xrange("rqflow:events")).encode()


PYTHON = f"""
def read():
    import os, subprocess
    print("read", Variable.get("plain"), Variable.get("code", deserialize_json=True)["pin"], BaseHook.get_connection("lab").password)
    print("absent", Variable.get("absent", default_var=None), BaseHook.get_connection("lab").host)
    print("environ", [name for name in os.environ if "HANDOVER" in name], subprocess.getoutput("env | grep -c HANDOVER"))
    raise ValueError("no luck with {SECRET}")
with DAG("d", schedule=None):
    PythonOperator(task_id="p", python_callable=read)
    BashOperator(task_id="b", bash_command="echo {{{{ var.value.plain | shquote }}}} {{{{ conn.lab.password | shquote }}}} {{{{ conn.lab.login }}}}")
    BashOperator(task_id="n", bash_command="echo nothing {SECRET}")
"""


def test_templates_and_callables_read_them_and_no_secret_is_left_in_logs_reasons_or_redis(site: Site) -> None:
    """Reliability 77; in a task that was told no secret, the same word is a word."""
    stored(site, {"plain": entry("visible"), "code": entry(json.dumps({"pin": "98765"}), is_secret=True)}, lab=f"mysql://me:{SECRET}@db.lab/x")
    run = dag(site, PYTHON)
    site.work(environ=WITH_KEY)
    assert site.states(run) == {"p": "failed", "b": "success", "n": "success"}
    stars = "*" * len(SECRET)
    log = site.log(run, "p")
    assert f"read visible ***** {stars}\nabsent None db.lab\nenviron [] 0\n" in log
    assert site.log(run, "b").splitlines()[0] == f"visible {stars} me"
    assert site.log(run, "n").splitlines()[0] == f"nothing {SECRET}"
    assert site.task(run, "p").reason == "ValueError: no luck with ***"
    version = site.broker.version(run.version)
    assert version
    left = everything(site).replace(json.dumps(version.json).encode(), b"")
    assert b"98765" not in left
    noted = [path.read_text() for path in (site.folder / "work" / "logs").glob("*.secrets")]
    assert len(noted) == 2
    assert SECRET not in "".join(noted)


def test_the_environment_of_the_worker_comes_first(site: Site) -> None:
    stored(site, {"plain": entry("stored")}, lab="mysql://db/x")
    run = dag(site, 'with DAG("d", schedule=None):\n    BashOperator(task_id="b", bash_command="echo {{ var.value.plain }} {{ conn.lab.password }}")\n'
                    '    PythonOperator(task_id="p", python_callable=lambda: print(Variable.get("plain"), BaseHook.get_connection("lab").password))\n')
    site.work(environ={"AIRFLOW_VAR_PLAIN": "given", "RQFLOW_CONN_LAB": f"mysql://u:{SECRET}@h/x"})
    for task_id in ("b", "p"):
        assert site.log(run, task_id).splitlines()[0] == f"given {'*' * len(SECRET)}"


def test_a_worker_without_the_key_fails_only_what_needs_it_and_names_the_setting(site: Site) -> None:
    stored(site, {"plain": entry("stored")})
    run = dag(site, 'with DAG("d", schedule=None):\n    BashOperator(task_id="b", bash_command="echo {{ var.value.plain }}")\n'
                    '    PythonOperator(task_id="p", python_callable=lambda: Variable.get("plain"))\n'
                    '    PythonOperator(task_id="n", python_callable=lambda: Variable.get("absent", 1))\n')
    site.work()
    assert site.states(run) == {"b": "failed", "p": "failed", "n": "success"}
    for task_id in ("b", "p"):
        assert "the Variable plain was sealed with the key" in site.task(run, task_id).reason
        assert "this process has no key" in site.task(run, task_id).reason
        assert "security.fernet_key" in site.log(run, task_id)


def test_a_change_is_seen_by_the_next_task(site: Site) -> None:
    version = a_version(specs=[a_task("t", "echo {{ var.value.plain }}")])
    site.start(environ=WITH_KEY)
    for value in ("one", "two", "three"):
        stored(site, {"plain": entry(value)})
        run = site.run(version, run_id=value)
        site.until(run, "success")
        assert until(lambda run=run: site.log(run), what="the log").splitlines()[0] == value  # type: ignore[misc]


def test_r77_a_secret_that_comes_in_two_pieces_is_blotted_out(site: Site) -> None:
    """Reliability 77: half of it is held back until it is known what it is half of."""
    stored(site, lab=f"mysql://me:{SECRET}@db/x")
    run = dag(site, f"""with DAG("d", schedule=None):
    BashOperator(task_id="t", bash_command="P={{{{ conn.lab.password | shquote }}}}; printf %s \\"${{P:0:6}}\\"; sleep 0.7; echo \\"${{P:6}}\\"; echo {SECRET[:6]}")
""")
    site.work(environ=WITH_KEY)
    assert site.log(run, "t").splitlines()[:2] == ["*" * len(SECRET), SECRET[:6]]


def test_r77_secrets_in_the_environment_of_a_task_are_blotted_out_by_their_names(site: Site) -> None:
    """Reliability 77: also those of the worker's own environment; a word of three letters is left alone."""
    env = {"DB_PASSWORD": SECRET, "API_TOKEN": "abc", "PLACE": "lab-seven", "TOKEN_FILE": "/etc/token"}
    run = site.run(a_version(specs=[a_task("t", 'echo $DB_PASSWORD $API_TOKEN $PLACE $TOKEN_FILE $WORKER_SECRET', fields={"env": env, "append_env": True})]))
    site.work(environ={"WORKER_SECRET": "of-the-worker"})
    assert site.log(run).splitlines()[0] == f"{'*' * len(SECRET)} abc lab-seven /etc/token {'*' * len('of-the-worker')}"


def test_the_next_worker_knows_what_the_one_before_it_told(tmp_path: Path) -> None:
    log = str(tmp_path / "1.log")
    told = {"kind": "VAR", "name": "code", "entry": entry(SECRET, is_secret=True)}
    Path(file_of(log)).write_text(json.dumps(told) + '\n{"half')
    assert SECRET not in Path(file_of(log)).read_text()
    assert Confided(Keyring([KEY])).text(log, f"x {SECRET}") == "x ***"
    assert Confided(Keyring([new_key()])).text(log, f"x {SECRET}") == f"x {SECRET}"


@pytest.fixture
def hub(site: Site, tmp_path: Path, sqlite_template: Path) -> Iterator[Any]:
    """The hub's answers, with a database of its own."""
    shutil.copy(sqlite_template, tmp_path / "hub.db")
    engine = open_engine(f"sqlite:///{tmp_path / 'hub.db'}")
    desk = RequestDesk(site.db, handlers(site.broker, engine, Keyring.of(replace(site.settings, security=Security(fernet_key=KEY)))))
    stop = threading.Event()

    def answer() -> None:
        while not stop.is_set():
            desk.step(block_ms=50)

    thread = threading.Thread(target=answer)
    thread.start()
    yield engine
    stop.set()
    thread.join()
    engine.dispose()


def test_a_task_stores_variables_through_the_hub(site: Site, hub: Any) -> None:
    mirroring.send(site.broker, hub)
    run = dag(site, f"""
def write():
    Variable.set("made", {{"a": 1}}, serialize_json=True)
    Variable.set("db_password", "{SECRET}")
    assert Variable.get("made", deserialize_json=True) == {{"a": 1}}
    assert Variable.setdefault("kept", "x") == "x"
    assert (Variable.delete("kept"), Variable.delete("kept"), Variable.get("kept", None)) == (1, 0, None)
    print("stored {SECRET}")
with DAG("d", schedule=None):
    PythonOperator(task_id="w", python_callable=write) >> BashOperator(task_id="r", bash_command="echo {{{{ var.json.made.a }}}} {{{{ var.value.db_password }}}}")
""")
    site.work(environ={**WITH_KEY, "RQFLOW__REDIS__URL": site.url})
    assert site.states(run) == {"w": "success", "r": "success"}, site.log(run, "w")
    assert site.log(run, "r").splitlines()[0] == f"1 {'*' * len(SECRET)}"
    assert f"stored {'*' * len(SECRET)}" in site.log(run, "w")
    with reading(hub) as connection:
        assert [one.key for one in variables.list_all(connection)] == ["db_password", "made"]
        assert all(SECRET not in one.value for one in variables.list_all(connection))


SQL = """
import os
def fill(conn):
    hook = BaseHook.get_hook(conn)
    hook.insert_rows("genes", [("b", 2), ("c", 3)], target_fields=["name", "size"], commit_every=1)
    with open("rows.tsv", "w") as stream:
        stream.write("d\\t4\\t2026-01-31\\t0.25\\n")
    hook.bulk_load("genes", os.path.abspath("rows.tsv"))
    first, pairs = hook.get_first("SELECT COUNT(*) FROM genes"), hook.get_records("SELECT name FROM genes WHERE size > %s", parameters=(2,))
    return [first[0], sorted(row[0] for row in pairs), hook.get_uri().split(":")[0]]
with DAG("d", schedule=None, params={"table": "genes"}):
    make = SQLExecuteQueryOperator(task_id="make", conn_id="lab", sql="make.sql", parameters=None)
    one = OPERATOR(task_id="one", sql="INSERT INTO {{ params.table }} (name, size) VALUES (%(name)s, %(size)s)", parameters={"name": "it's; {{ ds }}", "size": 1},
                   CONN="lab")
    more = PythonOperator(task_id="more", python_callable=fill, op_args=["lab"])
    rows = SQLExecuteQueryOperator(task_id="rows", conn_id="lab", sql=["SELECT 1", "SELECT name, size, made, share FROM genes WHERE size = 1"])
    bad = OPERATOR(task_id="bad", sql="SELECT no_such_column FROM genes", CONN="lab")
    make >> one >> more >> rows >> bad
"""
MAKE = """-- A template with several statements; this is a comment.
DROP TABLE IF EXISTS {{ params.table }};
CREATE TABLE {{ params.table }} (name VARCHAR(40) PRIMARY KEY, size INT, made DATE DEFAULT '2026-01-31', share DECIMAL(5,2) DEFAULT 0.25);
"""


@pytest.mark.parametrize("kind", ["mysql", "postgres"])
def test_sql_tasks_and_hooks_on_real_databases(kind: str, site: Site, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue({"mysql": "mariadb_url", "postgres": "postgres_url"}[kind])
    stored(site, lab=url + ("&local_infile=true" if kind == "mysql" else ""))
    operator, conn = {"mysql": ("MySqlOperator", "mysql_conn_id"), "postgres": ("PostgresOperator", "postgres_conn_id")}[kind]
    run = dag(site, SQL.replace("OPERATOR", operator).replace("CONN=", f"{conn}="), make_sql=MAKE)
    if kind == "mysql":
        hook = hooks.MySqlHook(connection=Connection.read("lab", url))
        hook.run("SET GLOBAL local_infile = 1")
    site.work(environ=WITH_KEY)
    assert site.states(run) == {"make": "success", "one": "success", "more": "success", "rows": "success", "bad": "failed"}, "".join(
        site.log(run, name) for name in ("make", "one", "more", "rows"))
    found = site.broker.xcoms(run.key)
    assert json.loads(found["more"]["return_value"]) == [4, ["c", "d"], {"mysql": "mysql", "postgres": "postgresql"}[kind]]
    assert json.loads(found["rows"]["return_value"]) == [[[1]], [["it's; 2024-01-01", 1, "2026-01-31", 0.25]]]
    assert "no_such_column" in site.task(run, "bad").reason


@pytest.mark.parametrize(("kind", "statement", "running"), [
    ("mysql", "SELECT SLEEP(600)", "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(600)%%'"),
    ("postgres", "SELECT pg_sleep(600)", "SELECT COUNT(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"),
    ("sqlite", "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT COUNT(*) FROM n", ""),
])
def test_a_cancelled_statement_is_ended_on_the_server_too(kind: str, statement: str, running: str, site: Site, request: pytest.FixtureRequest) -> None:
    url = f"sqlite:///{site.folder}/x.db" if kind == "sqlite" else request.getfixturevalue({"mysql": "mariadb_url", "postgres": "postgres_url"}[kind])
    stored(site, lab=url)
    run = dag(site, f'with DAG("d", schedule=None):\n    SQLExecuteQueryOperator(task_id="t", conn_id="lab", sql="{statement}")\n')
    site.start(environ=WITH_KEY)
    watcher = None if kind == "sqlite" else hooks.hook_of(Connection.read("lab", url))

    def count() -> int:
        return int(watcher.get_first(running)[0]) if watcher else 0

    logs = site.folder / "work" / "logs"
    until(lambda: any("running: " in path.read_text() for path in logs.glob("*.log")), what="the statement to be sent")
    until(lambda: watcher is None or count() == 1, what="the server to have it")
    site.broker.cancel_task(run.key, "t", "test")
    site.until(run, "cancelled", "t")
    until(lambda: count() == 0, what="the server to end it")
