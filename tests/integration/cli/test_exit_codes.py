"""Commands times kinds of error: the exit code, a message that says what to do, no traceback, nothing half-written."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from rqflow.deploy import flock
from rqflow.store import schema
from rqflow.store.engine import open_engine, transaction
from tests.integration.cli.conftest import Rqflow
from tests.services import redis_server
from tests.waiting import until

HEAD = "from datetime import datetime, timedelta\nfrom rqflow import DAG, BashOperator\n"
GOOD = HEAD + 'with DAG("good", schedule=None):\n    BashOperator(task_id="a", bash_command="true")\n'


def dag_with(line: str) -> str:
    """A DAG file whose DAG has one sound task and `line`."""
    return f'{HEAD}with DAG("d", schedule=None) as dag:\n    a = BashOperator(task_id="a", bash_command="true")\n    {line}\n'


#: kind of error -> text of the file, exit code of submit and validate, part of the message.
FILES: dict[str, tuple[str, int, str]] = {
    "syntax error": ("with DAG(:\n", 6, "d.py:1: "),
    "unknown name": (HEAD + "datatime.now()\n", 6, "d.py:3: NameError: name 'datatime' is not defined"),
    "exception": (HEAD + "1 / 0\n", 6, "d.py:3: ZeroDivisionError"),
    "sys.exit": ("import sys\nsys.exit(3)\n", 6, "d.py:2: "),
    "endless": (HEAD + "while True:\n    pass\n", 6, "d.py:"),
    "no DAG": ("x = 1\n", 6, "no DAG"),
    "empty file": ("", 6, "no DAG"),
    "duplicate task id": (dag_with('BashOperator(task_id="a", bash_command="true")'), 6, "d.py:5: "),
    "cycle": (dag_with('b = BashOperator(task_id="b", bash_command="true"); a >> b >> a'), 6, "a -> b -> a"),
    "trigger rule": (dag_with('BashOperator(task_id="b", bash_command="true", trigger_rule="all_sucess")'), 6, "all_sucess"),
    "retries": (dag_with('BashOperator(task_id="b", bash_command="true", retries="x")'), 6, "retries"),
    "retry_delay": (dag_with('BashOperator(task_id="b", bash_command="true", retry_delay=timedelta(seconds=-1))'), 6, "retry_delay"),
    "template": (dag_with('BashOperator(task_id="b", bash_command="echo {{ ds")'), 6, "d.py:5: "),
    "template variable": (dag_with('BashOperator(task_id="b", bash_command="echo {{ dss }}")'), 6, "dss"),
    "template file": (dag_with('BashOperator(task_id="b", bash_command="absent.sh")'), 6, "absent.sh"),
    "id with a blank": (dag_with('BashOperator(task_id="b b", bash_command="true")'), 6, "b b"),
    "id with an emoji": (dag_with('BashOperator(task_id="b😀", bash_command="true")'), 6, "d.py:5: "),
    "id of 300": (dag_with('BashOperator(task_id="b" * 300, bash_command="true")'), 6, "300"),
    "schedule": (HEAD + 'with DAG("d", schedule="every day"):\n    BashOperator(task_id="a", bash_command="true")\n', 6, "every day"),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("command", [("submit",), ("submit", "--run"), ("dag", "validate"), ("dag", "show")], ids=" ".join)
def test_a_bad_file_is_refused_before_anything_is_written(
    command: tuple[str, ...], kind: str, rqflow: Rqflow, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    text, code, message = FILES[kind]
    if kind == "endless":
        monkeypatch.setenv("RQFLOW__CORE__LOAD_TIMEOUT", "1s")
    (tmp_path / "d.py").write_text(text)
    result = rqflow(*command, tmp_path / "d.py")
    assert (result.code, "Traceback" in result.err) == (code, False)
    assert message in result.out + result.err
    assert list(home.iterdir()) == []


#: what is asked for -> exit code, part of the message. FILE, DIR are replaced by paths.
ARGUMENTS: dict[tuple[str, ...], tuple[int, str]] = {
    ("submit", "/absent.py"): (2, "/absent.py: there is no such file"),
    ("dag", "validate", "/absent.py"): (2, "/absent.py: there is no such file"),
    ("dag", "show", "/absent.py"): (2, "/absent.py: there is no such file"),
    ("dag", "test", "/absent.py"): (2, "/absent.py: there is no such file"),
    ("task", "render", "/absent.py", "a"): (2, "/absent.py: there is no such file"),
    ("submit", "DIR"): (6, "there is no DAG file in this folder"),
    ("submit",): (2, "Missing argument"),
    ("submit", "FILE", "--run", "--conf", "{x"): (2, "--conf is no JSON"),
    ("submit", "FILE", "--run", "--conf", "[]"): (2, "must be a JSON object"),
    ("submit", "FILE", "--run", "-p", "x"): (2, "write it as name=value"),
    ("submit", "FILE", "--run", "--at", "soon"): (2, "is no time"),
    ("submit", "FILE", "--run", "--run-id", " x"): (2, "run id"),
    ("submit", "FILE", "--timeout", "x"): (2, "is no duration"),
    ("submit", "FILE", "-p", "n=7"): (2, "say how a run is started\nAdd --run."),
    ("submit", "FILE", "--run-id", "r"): (2, "Add --run."),
    ("task", "render", "FILE", "b"): (3, "good has no task b"),
    ("task", "test", "FILE", "b"): (3, "good has no task b"),
    ("dag", "show", "nope"): (3, "there is no DAG nope"),
    ("dag", "test", "nope"): (3, "there is no DAG nope"),
    ("run", "show", "nope"): (3, "there is no run nope"),
    ("run", "show", "nope@latest"): (3, "there is no DAG nope"),
    ("run", "logs", "nope"): (3, "there is no run nope"),
    ("run", "wait", "nope"): (3, "there is no run nope"),
    ("run", "cancel", "nope"): (3, "there is no run nope"),
    ("run", "delete", "nope", "--yes"): (3, "there is no run nope"),
    ("run", "delete"): (2, "Missing argument"),
    ("run", "exec"): (2, "a command is missing"),
    ("run", "exec", "--env", "X", "--", "ls"): (2, "write it as NAME=value"),
    ("run", "clear", "nope", "--yes"): (3, "there is no DAG nope"),
    ("run", "clear", "x", "--only-failed", "--only-running"): (2, "exclude each other"),
    ("run", "clear", "x", "--regex", "("): (2, "no regular expression"),
    ("run", "clear", "x", "--regex", "a", "--task", "b"): (2, "exclude each other"),
    ("run", "mark", "nope", "success", "--yes"): (3, "there is no run nope"),
    ("run", "mark", "nope", "lost"): (2, "Invalid value"),
    ("run", "note", "nope", "text"): (3, "there is no run nope"),
    ("run", "retry", "nope", "--yes"): (3, "there is no run nope"),
    ("run", "retry", "x", "--failed", "--all"): (2, "exclude each other"),
    ("task", "clear", "nope", "a", "--yes"): (3, "there is no run nope"),
    ("task", "mark", "nope", "a", "success", "--only-failed", "--only-running"): (2, "exclude each other"),
    ("task", "mark", "nope", "*", "success", "--regex", "("): (2, "no regular expression"),
    ("task", "mark", "nope", "a", "success", "--since", "2026-02-01", "--until", "2026-01-01"): (2, "The end lies before the start."),
    ("task", "mark", "nope", "a", "success", "--yes"): (3, "there is no run nope"),
    ("task", "list", "FILE", "--state", "failed"): (2, "asks for the tasks of a run"),
    ("dag", "delete", "nope", "--yes"): (3, "there is no DAG nope"),
    ("dag", "delete", "nope", "--fields", "nope"): (2, "there is no field nope\nThere are: dag_id"),
    ("task", "show", "nope", "a"): (3, "there is no run nope"),
    ("task", "logs", "nope", "a"): (3, "there is no run nope"),
    ("task", "list", "nope"): (3, "there is no DAG, file or run nope"),
    ("task", "list", "nope@latest"): (3, "there is no DAG nope"),
    ("task", "render", "nope", "x"): (3, "there is no DAG, file or run nope"),
    ("queue", "pause", "nope"): (3, "there is no queue nope"),
    ("queue", "resume", "nope"): (3, "there is no queue nope"),
    ("queue", "empty", "nope", "--yes"): (3, "there is no queue nope"),
    ("queue", "requeue-failed", "nope", "--yes"): (3, "there is no queue nope"),
    ("queue", "list", "--fields", "nope"): (2, "there is no field nope\nThere are: name"),
    ("worker", "show", "nope"): (3, "there is no live worker nope"),
    ("worker", "pause", "nope"): (3, "there is no live worker nope"),
    ("worker", "resume", "nope"): (3, "there is no live worker nope"),
    ("worker", "drain", "nope"): (3, "there is no live worker nope"),
    ("worker", "stop", "nope", "--now"): (3, "there is no live worker nope"),
    ("worker", "stop", "nope", "--timeout", "1s"): (2, "Add --wait."),
    ("pool", "get", "nope"): (3, "there is no pool nope"),
    ("pool", "delete", "nope"): (3, "there is no pool nope"),
    ("pool", "set", "p", "x"): (2, "is not a valid integer"),
    ("pool", "set", "p", "--", "-1"): (2, "0 or more slots"),
    ("pool", "delete", "default_pool"): (2, "cannot be deleted"),
    ("pool", "import", "/absent.json"): (2, "there is no such file"),
    ("pool", "import", "FILE"): (2, "is no JSON"),
    ("var", "get", "nope"): (3, "there is no Variable nope"),
    ("var", "delete", "nope"): (3, "there is no Variable nope"),
    ("var", "set", "x"): (2, "VALUE is missing"),
    ("var", "set", "x", "{a", "--json"): (2, "is no JSON"),
    ("var", "set", " x", "1"): (2, "no blank at either end"),
    ("var", "set", "x" * 251, "1"): (2, "1 to 250 characters"),
    ("var", "import", "/absent.json"): (2, "there is no such file"),
    ("var", "import", "FILE"): (2, "is no JSON"),
    ("conn", "get", "nope"): (3, "there is no Connection nope"),
    ("conn", "delete", "nope"): (3, "there is no Connection nope"),
    ("conn", "test", "nope"): (3, "there is no Connection nope"),
    ("conn", "set", "x"): (2, "a URI is missing"),
    ("conn", "set", "x", "nonsense"): (2, "has no type"),
    ("conn", "set", "x", "mysql://h:port/d"): (2, "neither a URI nor a JSON object"),
    ("conn", "set", "x", "--type", "mysql", "--extra", "{a"): (2, "must be a JSON object"),
    ("conn", "import", "FILE"): (2, "is no JSON"),
    ("db", "reset"): (2, "--yes"),
    ("tunnel", "up"): (6, "there is no tunnel in"),
    ("tunnel", "trust", "nope"): (6, "there is no tunnel in"),
    ("tunnel", "print", "nope"): (6, "there is no tunnel in"),
    ("tunnel", "status", "--fields", "nope"): (2, "there is no field nope\nThere are: name, direction"),
    ("config", "get", "x.y"): (3, "there is no setting x.y"),
    ("--tz", "Mars", "run", "list"): (2, "no time zone"),
    ("run", "list", "--fields", "nope"): (2, "there is no field nope\nThere are: dag_id, run_id"),
    ("run", "list", "--fields", "tasks"): (2, "there is no field tasks"),
    ("dag", "list", "--fields", "nope"): (2, "there is no field nope\nThere are: dag_id"),
    ("worker", "list", "--fields", "nope"): (2, "there is no field nope\nThere are: name"),
    ("config", "list", "--changed", "--fields", "nope"): (2, "there is no field nope\nThere are: name"),
    ("submit", "FILE", "--run", "--follow", "--fields", "nope"): (2, "there is no field nope\nThere are: dag_id, run_id"),
    ("submit", "FILE", "--run", "--no-follow", "--fields", "state"): (2, "There are: dag_id, run_id, logical_date"),
    ("dag", "test", "FILE", "--fields", "nope"): (2, "there is no field nope\nThere are: task_id"),
    ("run", "list", "-o", "xml"): (2, "Invalid value"),
    ("run", "list", "-L", "-1"): (2, "Invalid value"),
    ("run", "list", "--since", "99999999999d"): (2, "is no time"),
    ("run", "list", "--since", "900000d"): (2, "is no time"),
    ("nope",): (2, "No such command"),
    ("run", "nope"): (2, "No such command"),
    ("python", "/absent.py"): (2, "/absent.py: there is no such file"),
}


@pytest.mark.parametrize("words", ARGUMENTS, ids=" ".join)
def test_a_bad_argument_has_its_exit_code(words: tuple[str, ...], rqflow: Rqflow, home: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "good.py").write_text(GOOD)
    places = {"FILE": str(tmp_path / "good.py"), "DIR": str(tmp_path / "folder")}
    code, message = ARGUMENTS[words]
    result = rqflow(*(places.get(word, word) for word in words))
    assert (result.code, message in result.out + result.err, "Traceback" in result.err) == (code, True, False), result
    assert "--fields" not in words or list(home.iterdir()) == [], "refused before anything is started"
    assert "==>" not in result.err


#: commands that need services.
SERVED: list[tuple[str, ...]] = [
    ("submit", "FILE"), ("submit", "FILE", "--run", "--no-follow"), ("run", "list"), ("run", "show", "x"), ("run", "wait", "x"),
    ("run", "cancel", "x"),
    ("task", "show", "x", "a"), ("task", "logs", "x", "a"), ("pool", "list"), ("pool", "set", "p", "3"), ("var", "set", "x", "1"), ("conn", "set", "x", "mysql://h/d"), ("scheduler", "--once"), ("worker", "--burst"),
]


@contextmanager
def broken(kind: str, home: Path, tmp_path: Path) -> Iterator[tuple[dict[str, str], int, str]]:
    """A world in which one thing is wrong: (environment, exit code, part of the message)."""
    folder = tmp_path / "redis"
    folder.mkdir()
    if kind == "redis down":
        yield {"RQFLOW__REDIS__URL": f"unix://{tmp_path}/absent.sock"}, 7, "Redis does not answer"
    elif kind == "redis refuses":
        yield {"RQFLOW__REDIS__URL": "redis://127.0.0.1:1/0"}, 7, "Redis does not answer"
    elif kind == "wrong password":
        with redis_server(folder) as url, redis.Redis.from_url(url) as connection:
            connection.config_set("requirepass", "right")
            yield {"RQFLOW__REDIS__URL": url.replace("unix://", "unix://:wrong@")}, 7, "Redis refuses the password"
    elif kind == "no password":
        with redis_server(folder) as url, redis.Redis.from_url(url) as connection:
            connection.config_set("requirepass", "right")
            yield {"RQFLOW__REDIS__URL": url}, 7, "asks for a password, and redis.url has none"
    elif kind == "redis evicts":
        with redis_server(folder, "--maxmemory-policy", "allkeys-lru") as url:
            yield {"RQFLOW__REDIS__URL": url}, 7, "maxmemory-policy"
    elif kind == "no redis url":
        yield {"RQFLOW__REDIS__URL": "http://x"}, 6, "redis.url"
    elif kind == "database down":
        yield {"RQFLOW__DATABASE__URL": "mysql://u:p@127.0.0.1:1/rqflow"}, 7, "127.0.0.1"
    elif kind == "no database url":
        yield {"RQFLOW__DATABASE__URL": "oracle://x/y"}, 6, "rqflow cannot use oracle"
    elif kind == "database without tables":
        yield {"RQFLOW__DATABASE__URL": f"sqlite:///{tmp_path}/other.db"}, 5, "rqflow db upgrade"
    elif kind == "newer database":
        url = f"sqlite:///{tmp_path}/newer.db"
        engine = open_engine(url)
        schema.upgrade(engine)
        with transaction(engine) as connection:
            connection.exec_driver_sql(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
        engine.dispose()
        yield {"RQFLOW__DATABASE__URL": url}, 5, "newer"
    elif kind == "home is no folder":
        home.rmdir()
        home.touch()
        yield {}, 6, "cannot be written"
    elif kind == "bad setting":
        yield {"RQFLOW__WORKER__SLOTZ": "3"}, 6, "Did you mean worker.slots?"


KINDS = ["redis down", "redis refuses", "wrong password", "no password", "redis evicts", "no redis url", "database down", "no database url",
         "database without tables", "newer database", "home is no folder", "bad setting"]
#: Every kind for the main commands, the quick kinds for all.
CASES = [(words, kind) for words in SERVED for kind in KINDS if words in SERVED[1:3] or kind in {"redis down", "bad setting"}]


@pytest.mark.parametrize(("words", "kind"), CASES, ids=[f"{' '.join(words)}: {kind}" for words, kind in CASES])
def test_a_service_that_fails_has_its_exit_code(words: tuple[str, ...], kind: str, rqflow: Rqflow, home: Path, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good.py").write_text(GOOD)
    with broken(kind, home, tmp_path) as (environ, code, message):
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        result = rqflow(*(str(tmp_path / "good.py") if word == "FILE" else word for word in words))
    assert (result.code, message in result.err, "Traceback" in result.err) == (code, True, False), result


@pytest.mark.parametrize("words", [("run", "list"), ("init",), ("db", "upgrade"), ("dag", "list"), ("scheduler", "--once")], ids=" ".join)
def test_a_home_that_cannot_be_made_is_named_with_the_remedy(words: tuple[str, ...], rqflow: Rqflow) -> None:
    result = rqflow("--home", "/proc/rqflow", *words)
    assert result.code == 6
    assert "/proc/rqflow cannot be written" in result.err
    assert "--home DIR" in result.err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KB, mounted for this test; skipped where nobody may mount."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("free", [0, 20, 100])
def test_a_full_disk_is_said(free: int, small_disk: Path, rqflow: Rqflow, tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(GOOD)
    (small_disk / "fill").write_bytes(b"x" * ((256 - free) << 10))
    result = rqflow("--home", small_disk / "home", "submit", tmp_path / "good.py", "--run", "--no-follow")
    assert result.code in {6, 7}
    assert "Traceback" not in result.err
    assert "o space left" in result.err or "disk is full" in result.err
    for keeper in (small_disk / "home").glob("state/*/redis.keeper"):
        until(lambda: not flock.is_held(keeper), what="the private Redis to end")  # noqa: B023
