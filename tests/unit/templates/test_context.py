"""The variables of templates, as Airflow's reference names them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rqflow.dag import context
from rqflow.dag.context import Frame
from rqflow.dag.outside import Connection
from rqflow.dag.run import BACKFILL, MANUAL, SCHEDULED, PreviousRun
from rqflow.dag.template import Renderer
from rqflow.dag.xcom_view import XComs, to_text
from rqflow.exceptions import TemplateError
from tests.unit.builders import a_run, a_task, a_version

DATE = datetime(2016, 5, 29, 6, 30, tzinfo=UTC)
#: Every name of Airflow's template references, of 1.10 and of 2.10.
REFERENCE = [
    "data_interval_start", "data_interval_end", "logical_date", "ds", "ds_nodash", "exception", "ts", "ts_nodash_with_tz", "ts_nodash",
    "prev_data_interval_start_success", "prev_data_interval_end_success", "prev_start_date_success", "prev_end_date_success", "inlets",
    "inlet_events", "outlets", "outlet_events", "dag", "task", "macros", "task_instance", "ti", "params", "var", "conn",
    "task_instance_key_str", "conf", "run_id", "dag_run", "test_mode", "map_index_template", "expanded_ti_count", "triggering_dataset_events",
    "execution_date", "next_execution_date", "next_ds", "next_ds_nodash", "prev_execution_date", "prev_ds", "prev_ds_nodash", "yesterday_ds",
    "yesterday_ds_nodash", "tomorrow_ds", "tomorrow_ds_nodash", "prev_execution_date_success", "end_date", "latest_date",
]  # fmt: skip


def render(template: str, *, run: dict[str, Any] | None = None, version: dict[str, Any] | None = None, **facts: Any) -> str:
    """Render `template` for a scheduled run of DATE; `run`, `version` and `facts` are fields of the run, the DAG and the try."""
    made = a_version(specs=[facts.pop("task", a_task("align"))], **{"schedule": "@daily", "generation": "2", **(version or {})})
    interval = {"data_interval_start": DATE, "data_interval_end": DATE + timedelta(days=1)}
    defaults = {"logical_date": DATE, **interval, "run_type": SCHEDULED, "run_id": "scheduled__2016-05-29T06:30:00+00:00"}
    variables = context.build(made, made.tasks[0], a_run(made, **{**defaults, **(run or {})}), **facts)
    return str(Renderer(made).value(template, variables, field="env"))


@pytest.mark.parametrize("name", REFERENCE)
def test_every_variable_of_the_reference_is_there(name: str) -> None:
    assert name in context.names()
    render(f"{{{{ {name} }}}}")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ ds }}", "2016-05-29"),
        ("{{ ds_nodash }}", "20160529"),
        ("{{ ts }}", "2016-05-29T06:30:00+00:00"),
        ("{{ ts_nodash }}", "20160529T063000"),
        ("{{ ts_nodash_with_tz }}", "20160529T063000+0000"),
        ("{{ yesterday_ds }} {{ yesterday_ds_nodash }}", "2016-05-28 20160528"),
        ("{{ tomorrow_ds }} {{ tomorrow_ds_nodash }}", "2016-05-30 20160530"),
        ("{{ logical_date | ds }} {{ logical_date | ds_nodash }}", "2016-05-29 20160529"),
        ("{{ logical_date | ts }} {{ logical_date | ts_nodash }}", "2016-05-29T06:30:00+00:00 20160529T063000"),
        ("{{ logical_date | ts_nodash_with_tz }} {{ None | ds }}", "20160529T063000+0000 None"),
        ("{{ execution_date.year }}-{{ execution_date.hour }}", "2016-6"),
        ("{{ execution_date == logical_date == dag_run.logical_date == ti.execution_date }}", "True"),
        ("{{ data_interval_end - data_interval_start == macros.timedelta(days=1) }}", "True"),
        ("{{ task_instance_key_str }}", "d__align__20160529"),
        ("{{ run_id }} {{ dag_run.run_id == ti.run_id }}", "scheduled__2016-05-29T06:30:00+00:00 True"),
        ("{{ dag_run.run_type }} {{ dag_run.external_trigger }} {{ dag_run.id is integer }}", "scheduled False True"),
        ("{{ dag.dag_id }} {{ dag.task_ids }} {{ dag.get_task('align').task_id }} {{ dag.tasks | length }}", "d ['align'] align 1"),
        ("{{ task.task_id }} {{ task.bash_command }} {{ task.retry_delay }} {{ task.task_type }}", "align true 0:05:00 BashOperator"),
        ("{{ ti.task_id }} {{ ti.dag_id }} {{ ti.try_number }} {{ ti.max_tries }} {{ ti.get_dagrun().dag_id }}", "align d 1 0 d"),
        ("{{ test_mode }} {{ conf.get('core', 'executor') }} {{ conf.getint('x', 'y', fallback=3) }}", "False LocalExecutor 3"),
        ("{{ conf.getboolean('core', 'load_examples') }} {{ conf.has_option('no', 'such') }}", "False False"),
        ("{{ macros.ds_add(ds, 5) }} {{ macros.ds_add('2015-01-06', -5) }} {{ macros.ds_add(ds, 0) }}", "2016-06-03 2015-01-01 2016-05-29"),
        ("{{ macros.ds_format('1/5/2015', '%m/%d/%Y', '%Y-%m-%d') }}", "2015-01-05"),
        ("{{ (execution_date + macros.timedelta(hours=2)).strftime('%H') }}", "08"),
        ("{{ macros.datetime(2020, 1, 2).isoformat() }} {{ macros.datetime.strptime(ds, '%Y-%m-%d').day }}", "2020-01-02T00:00:00 29"),
        ("{{ (logical_date + macros.dateutil.relativedelta.relativedelta(months=1)) | ds }}", "2016-06-29"),
        ("{{ macros.uuid.uuid5(macros.uuid.NAMESPACE_DNS, 'x') }}", str(uuid.uuid5(uuid.NAMESPACE_DNS, "x"))),
        ("{{ 0 <= macros.random() < 1 }} {{ macros.time.strftime('%Y', macros.time.gmtime(0)) }}", "True 1970"),
        ("{{ macros.json.loads('[1]')[0] }} {{ macros.json.dumps({'a': 1}) }}", '1 {"a": 1}'),
        ("{{ macros.datetime_diff_for_humans(data_interval_start, data_interval_end) }}", "1 day before"),
        ("{{ macros.datetime_diff_for_humans(data_interval_end, data_interval_start) }}", "1 day after"),
        ("{{ ti.log_url }}", "http://localhost:8080/log?execution_date=2016-05-29T06%3A30%3A00%2B00%3A00&task_id=align&dag_id=d"),
        ("{{ dag_run.conf }} {{ inlets }} {{ outlets }} {{ expanded_ti_count }}", "{} [] [] None"),
    ],
)
def test_values_are_those_of_airflow(template: str, expected: str) -> None:
    assert render(template) == expected


@pytest.mark.parametrize(
    ("schedule", "run_type", "expected"),
    [
        ("30 6 * * *", SCHEDULED, "2016-05-28 2016-05-30 20160528 20160530"),
        ("30 6 * * *", BACKFILL, "2016-05-28 2016-05-30 20160528 20160530"),
        ("30 6 * * 0", SCHEDULED, "2016-05-22 2016-06-05 20160522 20160605"),
        ("timedelta:172800", SCHEDULED, "2016-05-27 2016-05-31 20160527 20160531"),
        ("30 6 * * *", MANUAL, "2016-05-29 2016-05-29 20160529 20160529"),
        (None, MANUAL, "2016-05-29 2016-05-29 20160529 20160529"),
        (None, SCHEDULED, "None None None None"),
        ("@once", SCHEDULED, "None None None None"),
    ],
)
def test_neighbours_follow_the_schedule_save_in_manual_runs(schedule: str | None, run_type: str, expected: str) -> None:
    template = "{{ prev_ds }} {{ next_ds }} {{ prev_ds_nodash }} {{ next_ds_nodash }}"
    assert render(template, version={"schedule": schedule}, run={"run_type": run_type}) == expected


def test_previous_success_is_told() -> None:
    day = timedelta(days=1)
    previous = PreviousRun(logical_date=DATE - day, data_interval_start=DATE - day, data_interval_end=DATE, started_at=DATE, ended_at=DATE + day)
    template = "{{ prev_data_interval_start_success | ds }} {{ prev_data_interval_end_success | ds }} {{ prev_start_date_success | ds }} "
    template += "{{ prev_end_date_success | ds }} {{ prev_execution_date_success | ds }}"
    assert render(template, run={"previous": previous}) == "2016-05-28 2016-05-29 2016-05-29 2016-05-30 2016-05-28"
    assert render(template) == "None None None None None"


@pytest.mark.parametrize(
    ("generation", "conf", "given", "expected"),
    [
        ("2", {}, {}, "dag task"),
        ("2", {"a": "conf"}, {}, "conf task"),
        ("2", {}, {"a": "given", "b": "given"}, "given given"),
        ("1", {"a": "conf"}, {}, "dag task"),
        ("1", {"a": "conf"}, {"a": "given"}, "given task"),
    ],
)
def test_params_lie_over_one_another(generation: str, conf: dict[str, Any], given: dict[str, Any], expected: str) -> None:
    dag_params = {"a": "dag", "b": "dag"}
    run = {"conf": conf, "params": {**dag_params, **given}}
    task = a_task("align", params={"b": "task"})
    assert render("{{ params.a }} {{ params['b'] }}", version={"params": dag_params, "generation": generation}, run=run, task=task) == expected


def test_xcoms_are_pulled_by_task_by_tasks_and_from_any() -> None:
    xcoms = XComs.of({"a": {"return_value": to_text({"k": [1]})}, "b": {"return_value": '"x"', "n": "2"}})
    template = "{{ ti.xcom_pull('a').k[0] }} {{ ti.xcom_pull(task_ids=['a', 'b', 'c']) }} {{ ti.xcom_pull(task_ids='b', key='n') + 1 }} "
    template += "{{ task_instance.xcom_pull(key='n') }} {{ ti.xcom_pull('c') }} {{ ti.xcom_pull('c', default='d') }}"
    assert render(template, xcoms=xcoms) == "1 [{'k': [1]}, 'x', None] 3 2 None d"
    assert render("{{ ti.xcom_pull('b', key=None) }} {{ ti.xcom_pull(key=None) }} {{ ti.xcom_pull('c', key=None) }}", xcoms=xcoms) == "2 2 None"


def test_what_a_task_pushes_is_known_to_it_whatever_it_pulled_before() -> None:
    xcoms = XComs(lambda task_ids: {} if task_ids else {"a": {"k": '"of its first try"'}, "b": {"n": "2"}})
    xcoms.push("a", "k", 1)
    assert (xcoms.pull_any("k"), xcoms.pull_any("n")) == (1, 2)
    xcoms.push("c", "k", 3)
    assert (xcoms.pull("c", "k"), xcoms.pull_any("k")) == (3, 3)


def test_xcoms_are_only_fetched_when_asked_for_and_once() -> None:
    asked: list[Any] = []

    def fetch(task_ids: Any) -> dict[str, dict[str, str]]:
        asked.append(task_ids)
        return {"a": {"return_value": "1"}}

    xcoms = XComs(fetch)
    render("{{ ds }} {{ run_id }} {{ ti.task_id }}", xcoms=xcoms)
    assert asked == []
    render("{{ ti.xcom_pull('a') }} {{ ti.xcom_pull('a', key='x') }}", xcoms=xcoms)
    assert asked == [["a"]]


def test_a_template_can_push_an_xcom() -> None:
    xcoms = XComs()
    assert render("{{ ti.xcom_push(key='k', value=ds) }}", xcoms=xcoms) == "None"
    assert xcoms.pushed == {"k": '"2016-05-29"'}
    assert render("{{ ti.xcom_push('k', [1]) or ti.xcom_pull('align', key='k') }}", xcoms=xcoms) == "[1]"
    with pytest.raises(TemplateError, match="at most 48 KB"):
        render("{{ ti.xcom_push('k', 'x' * 50000) }}", xcoms=xcoms)


def test_variables_and_connections_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_HOST", "h1")
    monkeypatch.setenv("RQFLOW_VAR_CFG", '{"a": {"b": 2}}')
    monkeypatch.setenv("AIRFLOW_CONN_DB", "postgresql://me:p%40ss@db.lab:5433/genes?sslmode=require")
    template = "{{ var.value.host }} {{ var.json.cfg.a.b }} {{ var.json.get('no', {'x': 1}).x }} {{ var.value.cfg }} "
    template += "{{ conn.db.login }} {{ conn.db.password }} {{ conn.db.host }} {{ conn.db.port }} {{ conn.db.schema }} {{ conn.db.conn_type }} "
    template += "{{ conn.db.extra_dejson.sslmode }} {{ conn.get('db').get_uri() }} {{ conn.get('no', {'host': 'h'}).host }}"
    expected = 'h1 2 1 {"a": {"b": 2}} me p@ss db.lab 5433 genes postgres require postgres://me:p%40ss@db.lab:5433/genes?sslmode=require h'
    assert render(template) == expected
    stored = {"variables": {"x": "1", "y": {"z": 2}}, "connections": {"c": {"host": "h"}}}
    assert render("{{ var.value.x }}{{ var.json.y.z }}{{ conn.c.host }}", **stored) == "12h"


@pytest.mark.parametrize("extra", [{"a": "b c"}, {"a": {"b": 1}}, {"n": 1}, None])
def test_connection_survives_its_uri(extra: Any) -> None:
    connection = Connection("c", "mysql", host="h", login="me@lab", password="p/w", schema="s", port=3306, extra=extra)
    again = Connection.read("c", connection.get_uri())
    assert vars(again) == vars(connection)


def test_dates_print_as_the_generation_of_the_file_expects() -> None:
    assert render("{{ execution_date }}", version={"generation": "1"}) == "2016-05-29T06:30:00+00:00"
    assert render("{{ execution_date.add(days=1) }}", version={"generation": "1"}) == "2016-05-30T06:30:00+00:00"
    assert render("{{ execution_date }}", version={"generation": "2"}) == "2016-05-29 06:30:00+00:00"


def test_context_behaves_as_a_dictionary() -> None:
    version = a_version()
    made = context.build(version, version.tasks[0], a_run(version))
    assert made["ds"] == "2024-01-01"
    assert "ds" in made
    assert "nothing" not in made
    assert made.get("nothing", 3) == 3
    with pytest.raises(KeyError):
        made["nothing"]
    assert set(made) == context.names()
    assert len(made) == len(dict(made)) == len(list(made.items())) == len(made.values())
    assert (lambda **all_of_them: all_of_them["ti"])(**made) is made["task_instance"]


def test_callables_get_plain_values() -> None:
    version = a_version()
    frame = Frame(version=version, task=version.tasks[0], run=a_run(version, conf={"x": "$(id)"}), marked=False)
    made = context.context_of(frame)
    assert {type(made["run_id"]), type(made["dag_run"].conf["x"]), type(made["params"])} == {str, dict}
