"""Sensors: when they look, how long they wait, and what comes of it; by a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rqflow import (
    DAG,
    BaseSensorOperator,
    BashSensor,
    DateTimeSensor,
    DayOfWeekSensor,
    FileSensor,
    PokeReturnValue,
    PythonSensor,
    TimeDeltaSensor,
    TimeSensor,
    clock,
)
from rqflow.dag import outside
from rqflow.dag.airflow.decorators import task
from rqflow.dag.airflow.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from rqflow.dag.model import collecting
from rqflow.dag.serialization import version_of
from rqflow.exceptions import TaskFailed
from rqflow.operators.sensors.times import TimeSensorAsync
from rqflow.states import TaskState
from tests.unit.operators.jobs import a_job, launch, outcome, result

#: A Thursday.
NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


class Clock:
    """A clock that goes on only while somebody sleeps."""

    def __init__(self) -> None:
        self.passed, self.sleeps = 0.0, list[float]()

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.passed)

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.passed += seconds


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for name, value in {"utcnow": made.now, "monotonic": lambda: made.passed, "sleep": made.sleep}.items():
        monkeypatch.setattr(clock, name, value)
    return made


def answers(*given: Any) -> Callable[[], Any]:
    """A callable that gives one answer after the other, and raises those that are errors."""
    left: Iterator[Any] = iter(given)

    def answer() -> Any:
        found = next(left)
        if isinstance(found, BaseException):
            raise found
        return found

    return answer


def a_sensor(*given: Any, **arguments: Any) -> PythonSensor:
    with DAG("d"):
        return PythonSensor(task_id="a", python_callable=answers(*given), **arguments)


def context(*, began: datetime = NOW, looks: int = 0, **more: Any) -> dict[str, Any]:
    return {"ti": SimpleNamespace(start_date=began, looks=looks, run_id="r"), "dag": SimpleNamespace(timezone="UTC"), **more}


def test_it_looks_until_the_answer_is_yes(ticking: Clock) -> None:
    assert a_sensor(False, 0, None, True).execute(context()) is None
    assert ticking.sleeps == [60.0, 60.0, 60.0]


def test_what_it_found_becomes_its_xcom(ticking: Clock) -> None:
    assert a_sensor(PokeReturnValue(False, "no"), PokeReturnValue(True, "yes"), poke_interval=timedelta(seconds=5)).execute(context()) == "yes"
    assert ticking.sleeps == [5.0]


def test_the_last_look_is_at_the_timeout_and_not_after_it(ticking: Clock) -> None:
    with pytest.raises(AirflowSensorTimeout, match="timed out: it has waited 150s; its timeout is 150s"):
        a_sensor(*[False] * 9, timeout=150).execute(context())
    assert ticking.sleeps == [60.0, 60.0, 30.0]


def test_a_timeout_of_nothing_looks_once(ticking: Clock) -> None:
    with pytest.raises(AirflowSensorTimeout):
        a_sensor(False, timeout=0).execute(context())
    assert ticking.sleeps == []


def test_in_reschedule_mode_it_says_when_it_looks_again(ticking: Clock) -> None:
    with pytest.raises(AirflowRescheduleException) as raised:
        a_sensor(False, mode="reschedule").execute(context())
    assert raised.value.reschedule_date == NOW + timedelta(seconds=60)
    assert ticking.sleeps == []


def test_the_timeout_counts_from_the_first_look_of_the_try(ticking: Clock) -> None:
    long_ago = NOW - timedelta(seconds=100)
    with pytest.raises(AirflowRescheduleException) as raised:
        a_sensor(False, mode="reschedule", timeout=130).execute(context(began=long_ago, looks=2))
    assert raised.value.reschedule_date == NOW + timedelta(seconds=30)
    with pytest.raises(AirflowSensorTimeout):
        a_sensor(False, mode="reschedule", timeout=100).execute(context(began=long_ago, looks=2))


def test_deferrable_gives_the_slot_back(ticking: Clock) -> None:
    assert a_sensor(deferrable=True).reschedule
    with DAG("d"):
        assert TimeSensorAsync(task_id="a", target_time=time(13)).reschedule
        assert not TimeSensor(task_id="b", target_time=time(13)).reschedule


def test_a_backoff_doubles_up_to_max_wait(ticking: Clock) -> None:
    a_sensor(*[False] * 5, True, poke_interval=10, exponential_backoff=True, max_wait=100).execute(context())
    assert [10 * 2**at <= wait <= 20 * 2**at for at, wait in enumerate(ticking.sleeps[:3])] == [True] * 3
    assert ticking.sleeps[-1] == 100


def test_a_backoff_goes_on_where_the_last_execution_of_the_try_was(ticking: Clock) -> None:
    with pytest.raises(AirflowRescheduleException) as raised:
        a_sensor(False, poke_interval=10, exponential_backoff=True, mode="reschedule").execute(context(looks=4))
    assert timedelta(seconds=160) <= raised.value.reschedule_date - NOW <= timedelta(seconds=320)


@pytest.mark.parametrize(
    ("given", "arguments", "raised"),
    [
        ([False], {"timeout": 0, "soft_fail": True}, AirflowSkipException),
        ([AirflowFailException("no")], {"soft_fail": True}, AirflowSkipException),
        ([AirflowFailException("no")], {}, AirflowFailException),
        ([ValueError("no")], {"soft_fail": True}, ValueError),
        ([ValueError("no")], {"never_fail": True}, AirflowSkipException),
        ([False], {"timeout": 0, "never_fail": True}, AirflowSkipException),
        ([ValueError("no"), AirflowSkipException()], {"silent_fail": True}, AirflowSkipException),
    ],
)
def test_what_an_error_means(ticking: Clock, given: list[Any], arguments: Mapping[str, Any], raised: type[BaseException]) -> None:
    with pytest.raises(raised):
        a_sensor(*given, **arguments).execute(context())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"poke_interval": -1}, "task a: poke_interval=-1 must not be negative"),
        ({"poke_interval": "often"}, "task a: poke_interval='often' is no duration"),
        ({"timeout": [5]}, "task a: timeout=[5] must be a timedelta, a number of seconds, or text like 90s, 5m, 2h"),
        ({"mode": "pock"}, "task a: mode='pock' must be one of poke, reschedule"),
        ({"soft_fail": True, "never_fail": True}, "task a: soft_fail and never_fail exclude one another"),
    ],
)
def test_bad_arguments_are_told_at_their_line(arguments: Mapping[str, Any], said: str) -> None:
    with collecting() as found:
        a_sensor(**arguments)
    assert [problem.message[:len(said)] for problem in found.notes.problems] == [said]


def test_default_args_reach_a_sensor(ticking: Clock) -> None:
    with DAG("d", default_args={"mode": "reschedule", "poke_interval": 7, "timeout": 30}):
        sensor = PythonSensor(task_id="a", python_callable=bool)
    assert (sensor.mode, sensor.poke_interval, sensor.timeout) == ("reschedule", 7.0, 30.0)


def test_a_sensor_of_an_authors_own(ticking: Clock) -> None:
    class Own(BaseSensorOperator):
        template_fields = ("what",)

        def __init__(self, what: str, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.what = what

        def poke(self, context: Mapping[str, Any]) -> bool:
            return bool(context["ready"])

    with DAG("d") as dag:
        own = Own(task_id="a", what="{{ ds }}", poke_interval=3, mode="reschedule")
    with pytest.raises(AirflowRescheduleException):
        own.execute(context(ready=False))
    assert own.execute(context(ready=True)) is None
    version = version_of(dag, file="d.py", generation="native", sources={})
    spec = version.tasks[0]
    assert (spec.operator, spec.operator_name, spec.needs_source, spec.template_fields) == ("sensor", "Own", True, ("what",))
    job = a_job(version)
    assert launch(job).argv == ("/py", "/runner.py", "/try/spec.json")
    again = outcome(result(None, "reschedule", retry_in=3.0, reason="not yet"), job)
    assert (again.state, again.retry_in) == (TaskState.UP_FOR_RESCHEDULE, 3.0)


# -- times --


def moments(operator: Any, zone: str = "UTC", **arguments: Any) -> tuple[bool, datetime | None]:
    """Whether the sensor is done now, and when it looks next."""
    with DAG("d"):
        sensor = operator(task_id="a", **arguments)
    known = context(data_interval_end=NOW, logical_date=NOW - timedelta(days=1))
    known["dag"] = SimpleNamespace(timezone=zone)
    return sensor.poke(known), sensor.look_at(known)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("operator", "arguments", "zone", "expected"),
    [
        (TimeSensor, {"target_time": time(12, 30)}, "UTC", (False, at("2026-11-26T12:30"))),
        (TimeSensor, {"target_time": time(12, 0)}, "UTC", (True, at("2026-11-26T12:00"))),
        (TimeSensor, {"target_time": time(14, 0)}, "Asia/Tokyo", (True, at("2026-11-26T05:00"))),
        (TimeSensor, {"target_time": time(23, 0)}, "Asia/Tokyo", (False, at("2026-11-26T14:00"))),
        (TimeDeltaSensor, {"delta": timedelta(hours=1)}, "UTC", (False, at("2026-11-26T13:00"))),
        (TimeDeltaSensor, {"delta": timedelta(0)}, "UTC", (True, at("2026-11-26T12:00"))),
        (DateTimeSensor, {"target_time": "2026-11-26T13:00+01:00"}, "UTC", (True, at("2026-11-26T12:00"))),
        (DateTimeSensor, {"target_time": datetime(2026, 11, 27)}, "UTC", (False, at("2026-11-27T00:00"))),
        (DayOfWeekSensor, {"week_day": "Thursday"}, "UTC", (True, at("2026-11-26T00:00"))),
        (DayOfWeekSensor, {"week_day": ["saturday", "sunday"]}, "UTC", (False, at("2026-11-28T00:00"))),
        (DayOfWeekSensor, {"week_day": "Friday"}, "Pacific/Kiritimati", (True, at("2026-11-26T10:00"))),
        (DayOfWeekSensor, {"week_day": "Wednesday", "use_task_logical_date": True}, "UTC", (True, None)),
        (DayOfWeekSensor, {"week_day": "Thursday", "use_task_execution_day": True}, "UTC", (False, None)),
    ],
)
def test_moments(ticking: Clock, operator: Any, arguments: Mapping[str, Any], zone: str, expected: tuple[bool, datetime | None]) -> None:
    assert moments(operator, zone, **arguments) == expected


def test_a_time_is_waited_for_straight_on(ticking: Clock) -> None:
    with DAG("d"):
        sensor = TimeSensor(task_id="a", target_time=time(18), poke_interval=1, mode="reschedule")
    with pytest.raises(AirflowRescheduleException) as raised:
        sensor.execute(context())
    assert raised.value.reschedule_date == at("2026-11-26T18:00")


def test_a_time_sensor_that_began_yesterday_is_not_put_off_by_midnight(ticking: Clock) -> None:
    with DAG("d"):
        sensor = TimeSensor(task_id="a", target_time=time(23, 59))
    ticking.passed = 12 * 3600
    assert sensor.poke(context())


@pytest.mark.parametrize(
    ("operator", "arguments", "said"),
    [
        (TimeSensor, {"target_time": "noon"}, "target_time must be a datetime.time, not 'noon'"),
        (TimeDeltaSensor, {"delta": 5}, "delta must be a timedelta, not 5"),
        (DateTimeSensor, {"target_time": "soon"}, "target_time='soon' must be a datetime, or text like 2024-01-31"),
        (DayOfWeekSensor, {"week_day": "Caturday"}, "week_day='Caturday' must be one of Monday, Tuesday"),
        (DayOfWeekSensor, {"week_day": []}, "week_day names no day"),
    ],
)
def test_times_that_are_none(operator: Any, arguments: Mapping[str, Any], said: str) -> None:
    with collecting() as found, DAG("d"):
        operator(task_id="a", **arguments)
    assert said in found.notes.problems[0].message


def test_a_template_that_renders_to_no_moment_fails_the_task() -> None:
    with DAG("d"):
        sensor = DateTimeSensor(task_id="a", target_time="{{ params.x }}")
    sensor.target_time = "soon"
    with pytest.raises(TaskFailed, match="target_time is 'soon'; it must be a datetime"):
        sensor.poke({})


# -- files and commands --


def finds(path: str, **arguments: Any) -> bool:
    with DAG("d"):
        return FileSensor(task_id="a", filepath=path, **arguments).poke({})


def test_files_and_folders_are_found(tmp_path: Path) -> None:
    assert not finds(f"{tmp_path}/a.txt")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    assert not finds(f"{tmp_path}/deep")
    (tmp_path / "deep" / "er" / "a.txt").touch()
    assert finds(f"{tmp_path}/deep")
    assert finds(f"{tmp_path}/deep/er/*.txt")
    assert not finds(f"{tmp_path}/**/a.txt")
    assert finds(f"{tmp_path}/**/a.txt", recursive=True)


def test_a_relative_path_begins_where_the_connection_says(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    outside.provide(connections={"lab": {"conn_type": "fs", "extra": {"path": str(tmp_path)}}})
    try:
        assert finds("a.txt", fs_conn_id="lab")
    finally:
        outside.provide()
    with pytest.raises(TaskFailed, match="Connection lab does not exist"):
        finds("a.txt", fs_conn_id="lab")
    assert finds(str(tmp_path / "a.txt")[1:])


def pokes(command: str, **arguments: Any) -> bool:
    with DAG("d"):
        return BashSensor(task_id="a", bash_command=command, **arguments).poke({})


def test_exit_codes_of_commands() -> None:
    assert pokes("true")
    assert not pokes("exit 3")
    assert not pokes("exit 3", retry_exit_code=3)
    with pytest.raises(TaskFailed, match="exit code 4; only 3"):
        pokes("exit 4", retry_exit_code=3)
    assert pokes('[ "$A" = b ] && [ -z "$HOME" ]', env={"A": "b"})
    assert pokes('[ "$A" = b ]', setup="A=b")


def test_a_decorated_function_is_a_sensor(ticking: Clock) -> None:
    with DAG("d") as dag:
        before = BashSensor(task_id="before", bash_command="true")

        @task.sensor(poke_interval=5, mode="reschedule")
        def ready(when: str, looks: int = 0) -> PokeReturnValue:
            return PokeReturnValue(when == "now", [when, looks])

        before >> ready("now", looks=2)
    sensor = dag.get_task("ready")
    assert isinstance(sensor, PythonSensor)
    assert (sensor.poke_interval, sensor.mode, list(sensor.upstream_ids)) == (5.0, "reschedule", ["before"])
    assert sensor.execute(context()) == ["now", 2]
