"""Sensors and triggers of other DAGs: what they ask the hub, and what they make of its answers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from rqflow import DAG, ExternalTaskMarker, ExternalTaskSensor, TriggerDagRunOperator, clock
from rqflow.dag import asking
from rqflow.dag.airflow.exceptions import AirflowRescheduleException, AirflowSkipException
from rqflow.dag.model import collecting
from rqflow.dag.serialization import version_of
from rqflow.exceptions import BrokerError, Conflict, TaskFailed
from rqflow.operators.trigger_dag import DagRunOrder
from tests.unit.operators.jobs import a_job, launch

DATE = datetime(2026, 11, 26, tzinfo=UTC)


class Hub:
    """Answers questions one after the other, and keeps them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: list[Any] = []

    def ask(self, kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append((kind, dict(payload)))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    made = Hub()
    asking.provide(made.ask)
    monkeypatch.setattr(clock, "sleep", lambda _: None)
    yield made
    asking.provide(None)


# -- the sensor --


def sensor(**arguments: Any) -> ExternalTaskSensor:
    with DAG("d"):
        return ExternalTaskSensor(task_id="a", **{"external_dag_id": "other", "external_task_id": "x", **arguments})


def answer(*states: Any, missing: tuple[str, ...] = (), has_dag: bool = True) -> dict[str, Any]:
    """What the hub says of one run."""
    return {"has_dag": has_dag, "missing": list(missing), "runs": [{"logical_date": DATE.isoformat(), "states": list(states)}]}


def look(hub: Hub, said: Any, **arguments: Any) -> bool:
    hub.answers.append(said)
    return sensor(**arguments).poke({"logical_date": DATE})


@pytest.mark.parametrize(
    ("states", "arguments", "expected"),
    [
        (["success"], {}, True),
        (["running"], {}, False),
        ([None], {}, False),
        ([], {}, False),
        (["failed"], {}, False),
        (["skipped"], {"allowed_states": ["success", "skipped"]}, True),
        (["success", "running"], {"external_task_id": None, "external_task_ids": ["x", "y"]}, False),
        (["success", "success"], {"external_task_id": None, "external_task_ids": ["x", "y"]}, True),
        (["lost"], {"allowed_states": ["failed"]}, True),
        (["success"], {"external_task_id": None}, True),
        (["success", None], {"external_task_id": None, "external_task_group_id": "g"}, False),
    ],
)
def test_states_that_are_waited_for(hub: Hub, states: list[Any], arguments: Mapping[str, Any], expected: bool) -> None:
    assert look(hub, answer(*states), **arguments) is expected


@pytest.mark.parametrize(
    ("states", "arguments", "raised", "said"),
    [
        (["failed"], {"failed_states": ["failed"]}, TaskFailed, "x of DAG other is failed"),
        (["cancelled"], {"failed_states": ["failed"]}, TaskFailed, "x of DAG other is cancelled"),
        (["failed"], {"failed_states": ["failed"], "soft_fail": True}, AirflowSkipException, "is failed; the task is skipped then"),
        (["skipped"], {"skipped_states": ["skipped"]}, AirflowSkipException, "x of DAG other is skipped"),
    ],
)
def test_states_that_end_the_waiting(hub: Hub, states: list[Any], arguments: Mapping[str, Any], raised: type[Exception], said: str) -> None:
    with pytest.raises(raised, match=said):
        look(hub, answer(*states), **arguments)


@pytest.mark.parametrize(
    ("arguments", "dates"),
    [
        ({}, [DATE]),
        ({"execution_delta": timedelta(days=1)}, [DATE - timedelta(days=1)]),
        ({"execution_date_fn": lambda date: date + timedelta(hours=1)}, [DATE + timedelta(hours=1)]),
        ({"execution_date_fn": lambda date, context: [date, context["logical_date"]]}, [DATE, DATE]),
    ],
)
def test_the_dates_that_are_meant(hub: Hub, arguments: Mapping[str, Any], dates: list[datetime]) -> None:
    look(hub, answer("success"), **arguments)
    assert hub.asked == [("external_state", {
        "dag_id": "other", "logical_dates": [date.isoformat() for date in dates], "task_ids": ["x"], "group_id": None})]


def test_what_does_not_exist_is_told_or_refused(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="rqflow.task"):
        assert not look(hub, answer(has_dag=False))
        assert not look(hub, answer(missing=("task x",)))
    assert "there is no DAG other yet" in caplog.text
    assert "DAG other has no task x yet" in caplog.text
    with pytest.raises(TaskFailed, match="there is no DAG other"):
        look(hub, answer(has_dag=False), check_existence=True)
    with pytest.raises(TaskFailed, match="DAG other has no task x"):
        look(hub, answer(missing=("task x",)), check_existence=True)


def test_a_hub_that_is_away_is_not_yet(hub: Hub) -> None:
    assert not look(hub, BrokerError("Redis does not answer"))


def test_where_there_is_no_hub_it_says_so() -> None:
    with pytest.raises(TaskFailed, match="there is no hub that could be asked"):
        sensor().poke({"logical_date": DATE})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"execution_delta": timedelta(1), "execution_date_fn": len}, "execution_delta and execution_date_fn exclude one another"),
        ({"external_task_ids": ["y"]}, "external_task_id and external_task_ids are given; give one of them"),
        ({"allowed_states": ["succes"]}, "allowed_states has 'succes', which is no TaskState; did you mean success?"),
        ({"external_task_id": None, "allowed_states": ["skipped"]}, "allowed_states has 'skipped', which is no RunState"),
        ({"failed_states": ["success"]}, "success cannot be both an allowed state and one of failed_states"),
        ({"execution_date_fn": "yesterday"}, "execution_date_fn must be a function"),
    ],
)
def test_bad_arguments_of_the_sensor(arguments: Mapping[str, Any], said: str) -> None:
    with collecting() as found:
        sensor(**arguments)
    assert said in found.notes.problems[0].message


def test_children_of_both_may_ask_the_hub() -> None:
    with DAG("d") as dag:
        ExternalTaskSensor(task_id="a", external_dag_id="other")
        TriggerDagRunOperator(task_id="b", trigger_dag_id="other")
    version = version_of(dag, file="d.py", generation="native", sources={})
    assert all((launch(a_job(version, name)).spec or {})["asks"] for name in "ab")


def test_a_marker_is_an_empty_task_that_keeps_what_it_marks() -> None:
    with DAG("d") as dag:
        ExternalTaskMarker(task_id="a", external_dag_id="other", external_task_id="x", execution_date=DATE)
    (task,) = version_of(dag, file="d.py", generation="native", sources={}).tasks
    assert (task.operator, task.operator_name, task.needs_source) == ("empty", "ExternalTaskMarker", False)
    assert task.fields == {"external_dag_id": "other", "external_task_id": "x", "logical_date": DATE.isoformat(), "recursion_depth": 10}


# -- the trigger --


class Ti(SimpleNamespace):
    def xcom_push(self, *, key: str, value: Any) -> None:
        self.pushed[key] = value

    def xcom_pull(self, *, task_ids: str, key: str) -> Any:
        return self.pushed.get(key) if task_ids == self.task_id else None


def a_ti(looks: int = 0, **pushed: Any) -> Ti:
    return Ti(task_id="a", dag_id="d", run_id="r", looks=looks, pushed=pushed)


def triggered(hub: Hub, *answers: Any, ti: Ti | None = None, **arguments: Any) -> Ti:
    hub.answers += answers
    ti = ti or a_ti()
    with DAG("d"):
        TriggerDagRunOperator(task_id="a", **{"trigger_dag_id": "other", **arguments}).execute({"ti": ti})
    return ti


STARTED = {"run_id": "r1", "run_key": "k", "logical_date": DATE.isoformat()}


def test_what_is_asked_for(hub: Hub) -> None:
    ti = triggered(hub, STARTED, conf={"a": 1}, execution_date=DATE, trigger_run_id="mine")
    ((kind, wish),) = hub.asked
    assert kind == "start_run"
    assert wish.pop("since") > 0
    assert wish == {"dag_id": "other", "run_id": "mine", "conf": {"a": 1}, "logical_date": DATE.isoformat(), "if_exists": "tell",
                    "refuses_paused": False, "by": "task a of d r"}
    assert ti.pushed == {"trigger_run_id": "r1", "trigger_logical_date_iso": DATE.isoformat(), "trigger_execution_date_iso": DATE.isoformat()}


def test_a_hub_that_is_away_is_asked_for_the_same_again(hub: Hub) -> None:
    triggered(hub, BrokerError("Redis does not answer"), BrokerError("nobody answers"), STARTED)
    first, *others = hub.asked
    assert others == [first, first]


def test_a_run_that_exists(hub: Hub) -> None:
    with pytest.raises(TaskFailed, match="other has a run r1 already"):
        triggered(hub, STARTED | {"existed": True})
    with pytest.raises(AirflowSkipException):
        triggered(hub, STARTED | {"existed": True}, skip_when_already_exists=True)
    triggered(hub, STARTED | {"was_reset": True}, reset_dag_run=True)
    assert hub.asked[-1][1]["if_exists"] == "reset"


def test_what_the_hub_refuses_is_told(hub: Hub) -> None:
    with pytest.raises(TaskFailed, match="the hub starts no run of other: DAG other is paused") as raised:
        triggered(hub, Conflict("DAG other is paused", hint="unpause it"), fail_when_dag_is_paused=True)
    assert raised.value.hint == "unpause it"


@pytest.mark.parametrize(
    ("states", "arguments", "said"),
    [
        (["running", "success"], {}, ""),
        (["running", "failed"], {}, "run r1 of other is failed"),
        (["cancelled"], {}, "run r1 of other is cancelled"),
        (["failed"], {"allowed_states": ["success", "failed"], "failed_states": []}, ""),
        (["success"], {"allowed_states": ["failed"], "failed_states": []}, "is success, which allowed_states do not name"),
    ],
)
def test_waiting_for_the_end(hub: Hub, states: list[str], arguments: Mapping[str, Any], said: str) -> None:
    answers = [STARTED, *({"run_id": "r1", "state": state} for state in states)]
    if said:
        with pytest.raises(TaskFailed, match=said):
            triggered(hub, *answers, wait_for_completion=True, **arguments)
    else:
        triggered(hub, *answers, wait_for_completion=True, **arguments)
    assert not hub.answers


def test_deferrable_starts_one_run_and_looks_again(hub: Hub) -> None:
    ti, running = a_ti(), {"run_id": "r1", "state": "running"}
    with pytest.raises(AirflowRescheduleException):
        triggered(hub, STARTED, running, ti=ti, wait_for_completion=True, deferrable=True)
    triggered(hub, {"run_id": "r1", "state": "success"}, ti=a_ti(looks=1, **ti.pushed), wait_for_completion=True, deferrable=True)
    assert [kind for kind, _ in hub.asked] == ["start_run", "run_state", "run_state"]


def test_the_callable_of_airflow_1(hub: Hub) -> None:
    def fill(context: Mapping[str, Any], order: DagRunOrder) -> DagRunOrder:
        order.payload = {"task": context["ti"].task_id}
        return order

    triggered(hub, STARTED, python_callable=fill)
    assert hub.asked[0][1]["conf"] == {"task": "a"}
    assert hub.asked[0][1]["run_id"].startswith("trig__")
    triggered(hub, python_callable=lambda context, order: None)
    assert len(hub.asked) == 1
    with pytest.raises(TaskFailed, match="must return the order that it was given"):
        triggered(hub, python_callable=lambda context, order: 5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"conf": "{"}, "conf must be a dictionary that JSON can hold"),
        ({"conf": {"a": object()}}, "conf must be a dictionary that JSON can hold"),
        ({"conf": [1]}, "conf must be a dictionary, not"),
        ({"logical_date": "soon"}, "logical_date is 'soon'; it must be a datetime"),
    ],
)
def test_what_no_run_can_be_started_with(hub: Hub, arguments: Mapping[str, Any], said: str) -> None:
    with pytest.raises(TaskFailed, match=said):
        triggered(hub, **arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"poke_interval": -5}, "poke_interval=-5 must not be negative"),
        ({"allowed_states": ["skipped"]}, "allowed_states has 'skipped', which is no RunState"),
        ({"python_callable": "order"}, "python_callable must be a function"),
    ],
)
def test_bad_arguments_of_the_trigger(arguments: Mapping[str, Any], said: str) -> None:
    with collecting() as found, DAG("d"):
        TriggerDagRunOperator(task_id="a", trigger_dag_id="other", **arguments)
    assert said in found.notes.problems[0].message
