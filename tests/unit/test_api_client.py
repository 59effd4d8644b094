"""What a client makes of an operation: a request that the server's route reads back as the same input, and its answer as the same result."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqflow import wire
from rqflow.actions.model import Run, TaskInstance, Try, plain
from rqflow.api.client import Server, _problem, _request, restored
from rqflow.api.operation import Operation, Page
from rqflow.api.runs import ListRuns, StartRun, list_runs, start_run
from rqflow.api.table import BY_NAME, OPERATIONS
from rqflow.api.tasks import OneTask, get_task
from rqflow.exceptions import Conflict, NotPermitted, ServiceUnreachable, UsageError
from rqflow.states import RunState, TaskState

MOMENTS = st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC))
TRIES = st.builds(Try, try_number=st.integers(0, 9), state=st.sampled_from(TaskState), started_at=st.none() | MOMENTS, exit_code=st.none() | st.integers(0, 255))
TASKS = st.builds(TaskInstance, task_id=st.text(), state=st.sampled_from(TaskState), tries=st.lists(TRIES, max_size=2).map(tuple))
RUNS = st.builds(Run, dag_id=st.text(), run_id=st.text(), run_key=st.text(), state=st.sampled_from(RunState), conf=st.just({"a": [1, None]}),
                 params=st.just({}), started_at=st.none() | MOMENTS, tasks=st.lists(TASKS, max_size=2).map(tuple))


@given(st.lists(RUNS, max_size=2).map(tuple), st.none() | st.text())
def test_what_an_operation_gives_comes_back_as_it_was(items: tuple[Run, ...], following: str | None) -> None:
    page = Page(items=items, next=following)
    assert restored(Page[Run], wire.decode(wire.encode(plain(page)))) == page


def test_what_a_newer_server_knows_more_is_left_out() -> None:
    assert restored(Try, {"try_number": 1, "state": "failed", "invented": 1}) == Try(try_number=1, state=TaskState.FAILED)


def test_ids_with_any_characters_go_into_the_path_and_the_rest_into_the_query_or_the_body() -> None:
    assert _request(get_task, OneTask(run="a/b ü?", task_id="x.y")) == ("/runs/a%2Fb%20%C3%BC%3F/tasks/x.y", [], None)
    asked = ListRuns(dag_id="d", state=[RunState.FAILED, RunState.SUCCESS], since=datetime(2026, 1, 1, tzinfo=UTC))
    assert _request(list_runs, asked) == ("/runs", [("dag_id", "d"), ("state", "failed"), ("state", "success"), ("since", "2026-01-01T00:00:00.000000+00:00")],
                                          None)
    path, query, body = _request(start_run, StartRun(dag_id="d", conf={"x": 1}))
    assert (path, query, wire.decode(body or b"")) == ("/runs", [], {"dag_id": "d", "conf": {"x": 1}})


@pytest.mark.parametrize(("code", "kind"), [(2, UsageError), (4, NotPermitted), (5, Conflict), (7, ServiceUnreachable)])
def test_an_error_of_the_server_is_the_same_here(code: int, kind: type[Exception]) -> None:
    found = _problem("http://hub", 400, wire.encode({"detail": "no", "hint": "do", "exit_code": code}))
    assert type(found) is kind
    assert str(found) == "no\ndo"


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"detail": 1}', b""])
def test_an_answer_that_is_not_ours_is_said_to_be_none(content: bytes) -> None:
    assert "not as rqflow's web server does" in str(_problem("http://hub", 502, content))


def test_a_server_needs_a_url_and_a_token() -> None:
    with pytest.raises(UsageError, match="it is no URL"):
        Server("hub:8080", "rqf_x")
    with pytest.raises(NotPermitted, match="who asks"):
        Server("http://hub:8080", "")


@pytest.mark.parametrize("proxied", [("http://127.0.0.1:1", False), ("http://[::1]:1", False), ("http://localhost:1", False), ("http://hub.example", True)])
def test_no_proxy_stands_before_this_machine(proxied: tuple[str, bool]) -> None:
    url, expected = proxied
    assert Server(url, "rqf_x")._session.trust_env is expected


@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: str(one.name))
def test_each_operation_says_what_it_does_and_takes(one: Operation[Any, Any]) -> None:
    assert one.summary
    assert BY_NAME[one.name] is one
    assert all(field.metadata.get("about") for field in fields(one.asked)), one.name


def test_no_two_operations_have_a_route() -> None:
    routes = [(one.method, one.path) for one in OPERATIONS]
    assert len(set(routes)) == len(routes)
