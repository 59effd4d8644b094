"""Requests to a local server: answers, errors and what is said of them; and sensors that ask it, or a database."""

from __future__ import annotations

import base64
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rqflow import DAG, HttpHook, HttpOperator, HttpSensor, SqlSensor
from rqflow.dag import outside
from rqflow.dag.airflow.exceptions import AirflowException
from rqflow.dag.model import collecting
from rqflow.exceptions import TaskFailed
from rqflow.operators.http_hook import HttpFailed


class Handler(BaseHTTPRequestHandler):
    """Answers by its path: /500 with that code, /slow never, all else with what was asked."""

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode()
        if self.path == "/slow":
            self.server.released.wait(10)  # type: ignore[attr-defined]
            return
        code = int(self.path[1:4]) if self.path[1:4].isdigit() else 200
        said = f"{self.command} {self.path} {body} {self.headers.get('Authorization', '')} {self.headers.get('X-Lab', '')}".encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def log_message(self, *_: object) -> None:
        """Be silent."""


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.released = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.released.set()  # type: ignore[attr-defined]
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def url(server: ThreadingHTTPServer) -> Iterator[str]:
    """The server's URL, which is also that of the Connection `lab`."""
    port = server.server_port
    lab = {"conn_type": "http", "host": "127.0.0.1", "port": port, "login": "ann", "password": "s3cret", "extra": {"X-Lab": "seq", "timeout": 3}}
    outside.provide(connections={"lab": lab})
    yield f"http://127.0.0.1:{port}"
    outside.provide()


def sent(endpoint: str, **arguments: Any) -> Any:
    with DAG("d"):
        return HttpOperator(task_id="a", endpoint=endpoint, **arguments).execute({"ds": "2024-01-01"})


def test_a_whole_url_needs_no_connection(url: str) -> None:
    assert sent(f"{url}/x", data="hi").split() == ["POST", "/x", "hi"]
    assert sent(f"{url}/x", method="get", data={"a": "b c"}).split() == ["GET", "/x?a=b+c"]
    assert sent(f"{url}/x", method="PUT", data={"a": 1}).split() == ["PUT", "/x", "a=1"]


def test_a_connection_gives_host_login_and_headers(url: str) -> None:
    login = base64.b64encode(b"ann:s3cret").decode()
    assert sent("x", http_conn_id="lab").split() == ["POST", "/x", "Basic", login, "seq"]
    assert sent("/x", http_conn_id="lab", headers={"X-Lab": "own"}).split()[-1] == "own"
    assert HttpHook("GET", "lab").run("y").status_code == 200


def test_what_becomes_of_the_answer(url: str, caplog: pytest.LogCaptureFixture) -> None:
    assert sent(f"{url}/x", response_filter=lambda answer, ds: [answer.status_code, ds]) == [200, "2024-01-01"]
    with caplog.at_level("INFO", logger="rqflow.task"):
        sent(f"{url}/x", response_check=lambda answer: "POST" in answer.text, log_response=True)
    assert "POST /x" in caplog.text
    with pytest.raises(TaskFailed, match="response_check is not content"):
        sent(f"{url}/x", response_check=lambda answer: False)


def test_errors_are_said_for_people_and_caught_as_airflows(url: str) -> None:
    with pytest.raises(AirflowException) as raised:
        sent("/500?token=abc", http_conn_id="lab")
    error = raised.value
    assert isinstance(error, HttpFailed)
    assert (error.message, error.status_code) == (f"500:Internal Server Error is the answer to POST {url}/500", 500)
    assert error.hint.startswith("It says: POST /500")
    assert sent(f"{url}/500", extra_options={"check_response": False}).startswith("POST /500")


def test_no_answer_is_said_without_the_library_s_words(url: str) -> None:
    with pytest.raises(HttpFailed, match=r"^POST http://127.0.0.1:1/x: Connection refused$"):
        sent("http://127.0.0.1:1/x")
    with pytest.raises(HttpFailed, match=r"GET .*/slow: it took too long to answer"):
        sent(f"{url}/slow", method="GET", extra_options={"timeout": 0.2})


@pytest.mark.parametrize(
    ("endpoint", "arguments", "said"),
    [
        ("x", {}, "'/x' is no URL"),
        (None, {}, "the endpoint '' is no URL"),
        ("x", {"http_conn_id": "nowhere"}, "Connection nowhere does not exist"),
        ("htp://x", {}, "No connection adapters were found"),
    ],
)
def test_endpoints_that_are_none(endpoint: Any, arguments: Mapping[str, Any], said: str) -> None:
    with pytest.raises(TaskFailed, match=said):
        sent(endpoint, **arguments)


def looks(endpoint: str, **arguments: Any) -> Any:
    with DAG("d"):
        return HttpSensor(task_id="a", endpoint=endpoint, **arguments).poke({"ds": "2024-01-01"})


def test_a_sensor_takes_404_for_not_yet_and_other_errors_for_failures(url: str) -> None:
    assert looks(f"{url}/x")
    assert not looks(f"{url}/404")
    assert not looks(f"{url}/503", response_error_codes_allowlist=[503])
    with pytest.raises(HttpFailed, match=r"^503:"):
        looks(f"{url}/503")
    with pytest.raises(HttpFailed, match=r"^404:"):
        looks(f"{url}/404", response_error_codes_allowlist=[])
    with pytest.raises(HttpFailed, match="Connection refused"):
        looks("http://127.0.0.1:1/")


def test_a_sensor_lets_a_function_judge_the_answer(url: str) -> None:
    assert looks(f"{url}/x", request_params={"day": 1}, response_check=lambda answer, ds: "day=1" in answer.text and ds == "2024-01-01") is True
    assert looks("/x", http_conn_id="lab", response_check=lambda answer: "nobody" in answer.text) is False


# -- SQL --


@pytest.fixture
def database(tmp_path: Path) -> Iterator[str]:
    """The Connection of a database with one table of one row."""
    with sqlite3.connect(tmp_path / "lab.db") as connection:
        connection.execute("create table t (a, b)")
        connection.execute("insert into t values (0, 'ready')")
    outside.provide(connections={"db": {"conn_type": "sqlite", "host": str(tmp_path / "lab.db")}})
    yield "db"
    outside.provide()


def asks(sql: str, **arguments: Any) -> bool:
    with DAG("d"):
        return SqlSensor(task_id="a", conn_id="db", sql=sql, **arguments).poke({})


@pytest.mark.parametrize(
    ("sql", "arguments", "expected"),
    [
        ("select 1", {}, True),
        ("select a from t", {}, False),
        ("select a, b from t", {"selector": lambda row: row[1]}, True),
        ("select null", {}, False),
        ("select ''", {}, False),
        ("select 0.0", {}, False),
        ("select 1 where 0", {}, False),
        ("select b from t where a = ?", {"parameters": (0,)}, True),
        ("select 5", {"success": lambda value: value > 5}, False),
        ("select null", {"success": lambda value: value is None}, True),
    ],
)
@pytest.mark.usefixtures("database")
def test_what_a_query_says(sql: str, arguments: Mapping[str, Any], expected: bool) -> None:
    assert asks(sql, **arguments) is expected


@pytest.mark.usefixtures("database")
def test_queries_that_fail_the_task() -> None:
    with pytest.raises(TaskFailed, match="the query gave 'ready', which means a failure"):
        asks("select b from t", failure=lambda value: value == "ready")
    with pytest.raises(TaskFailed, match="no row, and fail_on_empty"):
        asks("select 1 where 0", fail_on_empty=True)


def test_arguments_of_a_query_that_are_none() -> None:
    with collecting() as found, DAG("d"):
        SqlSensor(task_id="a", conn_id="db", sql=["select 1"], success="yes")
    assert [problem.message for problem in found.notes.problems] == [
        "task a: SqlSensor needs sql: one statement as text", "task a: success must be a function, not 'yes'"]
