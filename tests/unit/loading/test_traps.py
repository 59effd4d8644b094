"""The 19 traps of real Airflow files, by their numbers."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rqflow.actions import describe
from rqflow.dag import timetable
from rqflow.dag.loading import Result
from rqflow.dag.version import Version
from tests.unit.loading.files import load_apart, write

#: The same DAG class under the paths of three generations, and ours.
V1 = "from airflow import DAG\nfrom airflow.operators.bash_operator import BashOperator\n"
V2 = "from airflow import DAG\nfrom airflow.operators.bash import BashOperator\n"
V3 = "from airflow.sdk import DAG\nfrom airflow.providers.standard.operators.bash import BashOperator\n"
NATIVE = "from rqflow import DAG, BashOperator\n"
HEADS = {"1": V1, "2": V2, "3": V3, "native": NATIVE}
START = "import datetime\nSTART = datetime.datetime(2024, 1, 1)\n"


def loaded(folder: Path, text: str, name: str = "d.py") -> Result:
    """Load a file that must be right."""
    result = load_apart(write(folder, text, name))
    assert result.problems == []
    return result


def version(folder: Path, text: str) -> Version:
    """The one DAG of a file that must be right."""
    (only,) = loaded(folder, text).versions
    return only


def rendered(folder: Path, text: str, moment: datetime = datetime(2024, 1, 5, tzinfo=UTC)) -> Any:
    """The rendered command of the first task."""
    made = version(folder, text)
    return describe.rendered(made, made.tasks[0], describe.run_at(made, moment))["bash_command"]


@pytest.mark.parametrize(
    ("generation", "schedule"), [("1", "timedelta:86400"), ("2", "timedelta:86400"), ("3", None), ("native", None)]
)
def test_01_no_schedule_means_daily_until_airflow_2(tmp_path: Path, generation: str, schedule: str | None) -> None:
    made = version(tmp_path, HEADS[generation] + START + "dag = DAG('d', start_date=START)")
    assert (made.generation, made.schedule, made.catchup) == (generation, schedule, None)
    assert version(tmp_path, HEADS[generation] + "dag = DAG('d', schedule=None)").schedule is None


@pytest.mark.parametrize(("generation", "days"), [("1", 1), ("2", 1), ("3", 0), ("native", 1)])
def test_02_data_interval_is_empty_in_airflow_3(tmp_path: Path, generation: str, days: int) -> None:
    made = version(tmp_path, HEADS[generation] + "dag = DAG('d', schedule='@daily')")
    start, end = timetable.of(made).scheduled_interval(datetime(2024, 1, 5, tzinfo=UTC))
    assert end - start == timedelta(days=days)


def test_03_unknown_operator_arguments_are_ignored_with_a_warning(tmp_path: Path) -> None:
    result = loaded(tmp_path, V1 + "dag = DAG('d')\nBashOperator(task_id='a', bash_command='true', stray=1, provide_contxt=True, dag=dag)")
    assert sorted(str(warning).rpartition("/")[2] for warning in result.warnings) == [
        "d.py:4: BashOperator takes no argument provide_contxt; it is ignored", "d.py:4: BashOperator takes no argument stray; it is ignored",
    ]  # fmt: skip


@pytest.mark.parametrize("generation", HEADS)
def test_04_keys_of_default_args_that_nobody_takes_are_ignored_in_silence(tmp_path: Path, generation: str) -> None:
    args = "{'max_active_runs': 1, 'catchup': False, 'schedule_interval': '@daily', 'depend_on_past': True, 'mode': 'x', 'tags': [], 'retries': 2}"
    result = loaded(tmp_path, HEADS[generation] + f"dag = DAG('d', default_args={args})\nBashOperator(task_id='a', bash_command='true', dag=dag)")
    assert result.warnings == []
    assert result.versions[0].tasks[0].retries == 2
    assert result.versions[0].max_active_runs == 16


@pytest.mark.parametrize(
    ("start", "expected", "zone"),
    [
        ("'2021-03-01'", "2021-03-01T00:00:00+00:00", "UTC"),
        ("datetime.datetime(2021, 3, 1)", "2021-03-01T00:00:00+00:00", "UTC"),
        ("pendulum.datetime(2021, 3, 1, tz='Europe/Berlin')", "2021-02-28T23:00:00+00:00", "Europe/Berlin"),
        ("airflow.utils.timezone.datetime(2021, 3, 1)", "2021-03-01T00:00:00+00:00", "UTC"),
        ("airflow.utils.timezone.parse('2021-03-01T01:00')", "2021-03-01T01:00:00+00:00", "UTC"),
        ("datetime.datetime(2021, 3, 1, tzinfo=zoneinfo.ZoneInfo('America/New_York'))", "2021-03-01T05:00:00+00:00", "America/New_York"),
    ],
)
def test_05_start_date_of_default_args_may_be_anything(tmp_path: Path, start: str, expected: str, zone: str) -> None:
    made = version(tmp_path, V1 + f"import airflow, datetime, pendulum, zoneinfo\ndag = DAG('d', default_args={{'start_date': {start}}})")
    assert (made.start_date, made.timezone) == (expected, zone)


@pytest.mark.parametrize("start", ["airflow.utils.dates.days_ago(2)", "datetime.datetime.now() - datetime.timedelta(days=2)", "pendulum.today('UTC').add(days=-2)"])
def test_05_start_dates_relative_to_today(tmp_path: Path, start: str) -> None:
    made = version(tmp_path, V1 + f"import airflow, datetime, pendulum\ndag = DAG('d', default_args={{'start_date': {start}}})")
    assert made.start_date
    assert timedelta(days=1) < datetime.now(UTC) - datetime.fromisoformat(made.start_date) < timedelta(days=4)


def test_06_command_that_ends_in_sh_is_a_template_file_unless_a_blank_follows(tmp_path: Path) -> None:
    write(tmp_path, "echo {{ ds }}\n", "x.sh")
    assert rendered(tmp_path, V2 + "dag = DAG('d')\nBashOperator(task_id='a', bash_command='x.sh', dag=dag)") == "echo 2024-01-05"
    assert rendered(tmp_path, V2 + "dag = DAG('d')\nBashOperator(task_id='a', bash_command='/opt/x.sh ', dag=dag)") == "/opt/x.sh "
    problems = load_apart(write(tmp_path, V2 + "dag = DAG('d')\nBashOperator(task_id='a', bash_command='gone.sh', dag=dag)")).problems
    assert "there is no template file gone.sh" in str(problems[0])


@pytest.mark.parametrize(("generation", "argument", "undefined"), [
    ("1", "", "empty"), ("2", "", "error"), ("3", "", "error"), ("native", "", "error"),
    ("2", ", template_undefined=jinja2.Undefined", "empty"), ("1", ", template_undefined=jinja2.StrictUndefined", "error"),
])  # fmt: skip
def test_07_unknown_names_in_templates_by_generation(tmp_path: Path, generation: str, argument: str, undefined: str) -> None:
    text = HEADS[generation] + f"import jinja2\ndag = DAG('d'{argument})\nBashOperator(task_id='a', bash_command='[{{{{ gone }}}}]', dag=dag)"
    if undefined == "empty":
        assert rendered(tmp_path, text) == "[]"
    else:
        assert "unknown variable 'gone'" in str(load_apart(write(tmp_path, text)).problems[0])


@pytest.mark.parametrize(
    "text",
    [
        "from airflow.operators import BashOperator, DummyOperator, PythonOperator, SubDagOperator\nX = BashOperator\n",
        "from airflow.operators.sensors import ExternalTaskSensor, TimeDeltaSensor\nX = airflow.operators.BashOperator\n",
        "X = airflow.operators.bash_operator.BashOperator\n",
        "from airflow.contrib.hooks.ssh_hook import SSHHook\nfrom airflow.operators.bash import BashOperator as X\n",
        "from airflow.operators import *\nX = BashOperator\n",
        "import airflow.operators.bash_operator as o\nX = o.BashOperator\n",
        "from airflow.operators import bash_operator\nX = bash_operator.BashOperator\n",
    ],
)
def test_08_names_of_all_generations_are_there_at_once(tmp_path: Path, text: str) -> None:
    result = loaded(tmp_path, "import airflow\n" + text + "dag = airflow.DAG('d')\nX(task_id='a', bash_command='true', dag=dag)\n")
    assert result.unsupported == []
    assert result.versions[0].tasks[0].operator == "bash"


def test_09_submodules_are_attributes_of_the_package(tmp_path: Path) -> None:
    text = "import airflow\ndag = airflow.models.DAG('d', start_date=airflow.utils.dates.days_ago(2))\n"
    text += "x = [airflow.utils.trigger_rule.TriggerRule.ALL_DONE, airflow.exceptions.AirflowException, airflow.macros.ds_add('2024-01-01', 1)]"
    assert loaded(tmp_path, text).unsupported == []


def test_10_airflows_own_examples_can_be_imported(tmp_path: Path) -> None:
    text = V2 + "from airflow.example_dags.libs.helper import print_stuff\nfrom airflow.example_dags.subdags.subdag import subdag\n"
    text += "from airflow.operators.python import PythonOperator\ndag = DAG('d')\nPythonOperator(task_id='a', python_callable=print_stuff, dag=dag)"
    assert str(loaded(tmp_path, text).unsupported[0]).endswith("d.py:7: airflow.example_dags.libs.helper.print_stuff is not supported yet")


@pytest.mark.parametrize(
    "cron", ["0 0 * * 6#1", "0 9 * * MON-FRI", "*/45 * * * *", "1/10 * * * *", "0 0 1 */3 *", "@yearly", "@weekly", "0 0 * * * ", "0 0 * * * 30"]
)
def test_11_odd_cron_expressions_are_read(tmp_path: Path, cron: str) -> None:
    assert timetable.of(version(tmp_path, V1 + f"dag = DAG('d', schedule_interval='{cron}')")).after(datetime(2024, 1, 1, tzinfo=UTC))


def test_11_bad_cron_is_the_error_of_its_dag(tmp_path: Path) -> None:
    text = V1 + "a = DAG('a', schedule_interval='0 100 * * *')\nb = DAG('b', schedule_interval='@daily')"
    (problem,) = load_apart(write(tmp_path, text)).problems
    assert str(problem).endswith("d.py:3: DAG a: the schedule '0 100 * * *' has '100' as its hour; allowed are 0-23, *, lists, ranges and steps")


def test_12_dags_may_be_changed_after_they_are_made(tmp_path: Path) -> None:
    text = '"""About."""\n' + V2 + "dag = DAG('d', catchup=True)\ndag.doc_md = __doc__\ndag.catchup = False\na = BashOperator(task_id=dag.dag_id, "
    text += "bash_command='true', dag=dag)\nif __name__ == '__main__':\n    dag.cli()\n    dag.clear()\n    dag.test()\n"
    made = version(tmp_path, text)
    assert (made.doc_md, made.catchup, made.tasks[0].task_id) == ("About.", False, "d")


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("def f():\n    return DAG('a')\nx = f()\n", ["a"]),
        ("def f():\n    d = DAG('a')\nf()\ny = DAG('b')\n", ["b"]),
        ("for i in '12':\n    globals()['a' + i] = DAG('a' + i)\n", ["a1", "a2"]),
        ("def f():\n    with DAG('a'):\n        pass\nf()\n", ["a"]),
        ("from airflow.decorators import dag\n@dag()\ndef a():\n    pass\na()\n", ["a"]),
        ("from airflow.decorators import dag\n@dag\ndef a():\n    pass\na()\n", ["a"]),
        ("from airflow.decorators import dag\n@dag('x', schedule='@daily')\ndef a():\n    pass\nb = a()\n", ["x"]),
        ("x = y = DAG('a')\n", ["a"]),
        ("dags = [DAG('a')]\nb = DAG('b')\n", ["b"]),
    ],
)
def test_13_dags_count_as_globals_by_their_block_or_by_decorator(tmp_path: Path, text: str, ids: list[str]) -> None:
    assert sorted(made.dag_id for made in loaded(tmp_path, V2 + text).versions) == ids


def test_13_docstring_and_arguments_of_a_dag_function_are_the_dags(tmp_path: Path) -> None:
    made = version(tmp_path, V1 + 'from airflow.decorators import dag\n@dag(params={"x": 1})\ndef a(n: int = 3):\n    """About."""\na(n=4)\n')
    assert (made.doc_md, made.params) == ("About.", {"x": 1, "n": 4})


# 14 (what callables are given) is tested with real children in tests/integration/test_runner.py.


def test_15_keys_and_ids_are_written_as_airflow_writes_them(tmp_path: Path) -> None:
    command = "{{ task_instance_key_str }} {{ run_id }} {{ ts }} {{ ts_nodash }}"
    text = V1 + f"dag = DAG('d')\nBashOperator(task_id='t', bash_command='{command}', dag=dag)"
    expected = "d__t__20160529 scheduled__2016-05-29T00:00:00+00:00 2016-05-29T00:00:00+00:00 20160529T000000"
    assert rendered(tmp_path, text, datetime(2016, 5, 29, tzinfo=UTC)) == expected


@pytest.mark.parametrize(
    ("generation", "argument", "pushes"),
    [("1", "", False), ("1", ", xcom_push=True", True), ("1", ", do_xcom_push=True", True), ("2", "", True), ("2", ", do_xcom_push=False", False)],
)
def test_16_bash_leaves_its_last_line_by_generation(tmp_path: Path, generation: str, argument: str, pushes: bool) -> None:
    made = version(tmp_path, HEADS[generation] + f"dag = DAG('d')\nBashOperator(task_id='t', bash_command='true'{argument}, dag=dag)")
    assert made.tasks[0].do_xcom_push is pushes


@pytest.mark.parametrize(
    "rule", ["all_done", "none_failed", "none_failed_min_one_success", "none_failed_or_skipped", "one_success", "one_failed", "all_success",
             "all_done_setup_success"],
)  # fmt: skip
def test_17_trigger_rules_in_use_are_known(tmp_path: Path, rule: str) -> None:
    made = version(tmp_path, V2 + f"dag = DAG('d')\nBashOperator(task_id='t', bash_command='true', trigger_rule='{rule}', dag=dag)")
    assert made.tasks[0].trigger_rule == rule.replace("or_skipped", "min_one_success")


def test_18_start_dates_of_tasks_travel(tmp_path: Path) -> None:
    text = V1 + START + "dag = DAG('d', start_date=START)\nBashOperator(task_id='t', bash_command='true', start_date='2024-03-01', dag=dag)"
    assert version(tmp_path, text).tasks[0].start_date == "2024-03-01T00:00:00+00:00"


def test_19_other_pythons_are_named(tmp_path: Path) -> None:
    (problem,) = load_apart(write(tmp_path, V1 + "print 'hello'\n")).problems
    assert "the file is written for Python 2" in str(problem)
    if sys.version_info < (3, 12):
        (problem,) = load_apart(write(tmp_path, V1 + "x = f'{'a'}'\n")).problems
        assert "some f-strings need 3.12" in str(problem)


def test_variables_connections_and_settings_of_the_environment_are_read_at_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"AIRFLOW_VAR_BUCKET": "b1", "RQFLOW_VAR_CFG": '{"n": [3]}', "AIRFLOW_CONN_DB": "mysql://u:p%40@h:3306/s", "AIRFLOW__CORE__DAGS_FOLDER": "/dags"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    text = "from airflow.configuration import conf\nfrom airflow.hooks.base_hook import BaseHook\nfrom airflow.models import Variable\n"
    text += "db = BaseHook.get_connection('db')\nwords = [Variable.get('bucket'), str(Variable.get('cfg', deserialize_json=True)['n'][0]),\n"
    text += "         db.host, db.login, db.password, str(db.port), db.schema, conf.get('core', 'dags_folder'), Variable.get('gone', 'none')]\n"
    made = version(tmp_path, V1 + text + "dag = DAG('d')\nBashOperator(task_id='a', bash_command=' '.join(words), dag=dag)")
    assert made.tasks[0].fields["bash_command"] == "b1 3 h u p@ 3306 s /dags none"
