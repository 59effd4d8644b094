"""The Python child of tasks, as a worker starts it."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import rqflow.worker.runner as runner_module
from rqflow.dag.template_files import text_of
from rqflow.dag.version import Version
from tests.profile import PATIENCE
from tests.unit.builders import a_run
from tests.unit.loading.files import load, write
from tests.waiting import until

RUNNER = Path(runner_module.__file__)
HEAD = """
import logging
import os
from airflow import DAG
from airflow.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.operators.python import PythonOperator, BranchPythonOperator, get_current_context
from airflow.operators.bash import BashOperator
from tests.profile import PATIENCE
dag = DAG('d', params={'author': 'a && b'}, user_defined_macros={'greet': lambda name: 'hi ' + name}, user_defined_filters={'twice': lambda t: t * 2})
def task(function, **kwargs):
    return PythonOperator(task_id='t', python_callable=function, dag=dag, **kwargs)
"""


@dataclass
class Done:
    """What a child left."""

    code: int
    log: str
    result: dict[str, Any]

    @property
    def xcoms(self) -> dict[str, Any]:
        """The XComs, parsed."""
        return {key: json.loads(text) for key, text in self.result["xcoms"].items()}


def prepared(folder: Path, body: str, task_id: str = "t", **changes: Any) -> Path:
    """Load HEAD and `body`, unpack the sources as a worker does, and return the path of a spec for `task_id`."""
    path = write(folder / "submitted", HEAD + textwrap.dedent(body))
    (version,) = load(path).versions
    return spec_for(folder, version, task_id, **changes)


def spec_for(folder: Path, version: Version, task_id: str, *, run: dict[str, Any] | None = None, **changes: Any) -> Path:
    """Unpack a version's sources and return the path of a spec for a task of it."""
    for key, source in version.sources.items():
        write(folder / "unpacked", text_of(source), key)
    (folder / "version.json").write_text(version.json, encoding="utf-8")
    spec = {
        "mode": "task", "rqflow": str(RUNNER.parents[2]), "folder": str(folder / "unpacked"), "file": version.file, "dag_id": version.dag_id,
        "task_id": task_id, "version": str(folder / "version.json"), "run": json.loads(a_run(version, **(run or {})).to_json()), "try_number": 1,
        "xcoms": {}, "result": str(folder / "result.json"), **changes,
    }  # fmt: skip
    (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    return folder / "spec.json"


def run(spec: Path, **environ: str) -> Done:
    """Run the child for a spec in a folder of its own."""
    cwd = spec.parent / "cwd"
    cwd.mkdir()
    done = subprocess.run(
        [sys.executable, str(RUNNER), str(spec)], cwd=cwd, env={**os.environ, "PYTHONUNBUFFERED": "1", **environ}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=PATIENCE,
    )  # fmt: skip
    result = json.loads((spec.parent / "result.json").read_text())
    return Done(done.returncode, done.stdout, result)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("def f():\n    return {'a': [1, (2, 3)]}\ntask(f)", {"a": [1, [2, 3]]}),
        ("def f(ds, ti, params, dag_run):\n    return [ds, ti.task_id, params['author'], dag_run.conf]\ntask(f)", ["2024-01-01", "t", "a && b", {"x": "$(id)"}]),
        ("def f(**kwargs):\n    return [kwargs['ds'], kwargs['task'].task_id, kwargs['dag'].dag_id]\ntask(f, provide_context=True)", ["2024-01-01", "t", "d"]),
        ("def f(ds, **context):\n    return [ds, context['ti'].try_number, 'ds' in context]\ntask(f)", ["2024-01-01", 1, False]),
        ("def f(a, b, ds=None):\n    return [a, b, ds]\ntask(f, op_args=['{{ ds_nodash }}'], op_kwargs={'b': ['{{ greet(\"x\") | twice }}']})",
         ["20240101", ["hi xhi x"], "2024-01-01"]),
        ("def f(templates_dict):\n    return templates_dict\ntask(f, templates_dict={'day': '{{ ds }}'})", {"day": "2024-01-01"}),
        ("def f():\n    return get_current_context()['ds']\ntask(f)", "2024-01-01"),
        ("def f(ti):\n    return [ti.xcom_pull(task_ids='up'), ti.xcom_pull('up', key='k'), ti.xcom_pull(['up', 'no'])]\ntask(f)", [[1], "v", [[1], None]]),
        ("def f(x):\n    return x\ntask(f, op_kwargs={'x': '{{ ti.xcom_pull(\"up\")[0] }}'})", "1"),
        ("up = PythonOperator(task_id='up', python_callable=print, dag=dag)\ndef f(x):\n    return x\ntask(f, op_args=[up.output])", [1]),
        ("def f(x, y):\n    return [x, y]\nup = PythonOperator(task_id='up', python_callable=print, dag=dag)\n"
         "task(f, op_args=[up.output['t']], op_kwargs={'y': {'z': up.output['t']}})", ["{{ ds }}", {"z": "{{ ds }}"}]),
        ("def f(logical_date):\n    return logical_date.add(days=1).to_date_string()\ntask(f)", "2024-01-02"),
        ("def f(run_id):\n    return type(run_id).__name__ + run_id\ntask(f)", "strmanual__$(x)"),
        ("task(lambda ds: ds)", "2024-01-01"),
        ("from airflow.models import Variable\ndef f():\n    return [Variable.get('v'), Variable.get('no', default_var=3)]\ntask(f)", ["stored", 3]),
        ("from airflow.hooks.base import BaseHook\ndef f():\n    return BaseHook.get_connection('c').host\ntask(f)", "db.lab"),
        ("def f(conn, var):\n    return [conn.c.host, var.value.v]\ntask(f)", ["db.lab", "stored"]),
        ("import datetime\ndef f(): return datetime.date(2024, 1, 1)\ntask(f)", "2024-01-01"),
        ("class My(PythonOperator):\n    def execute(self, context):\n        return [super().execute(context), context['ds']]\n"
         "My(task_id='t', python_callable=lambda: 1, dag=dag)", [1, "2024-01-01"]),
        ("from airflow.models import BaseOperator\nclass My(BaseOperator):\n    template_fields = ('x',)\n    def __init__(self, x, **kwargs):\n"
         "        super().__init__(**kwargs)\n        self.x = x\n    def execute(self, context):\n        self.log.info('x is %s', self.x)\n        return self.x\n"
         "My(task_id='t', x='{{ ds }}', dag=dag)", "2024-01-01"),
        ("from airflow.models import BaseOperator\nclass My(BaseOperator):\n    def execute(self, context):\n"
         "        return [context.copy()['ds'], (context | {})['ds'], context.setdefault('ds', 'x'), context.pop('ds')]\nMy(task_id='t', dag=dag)",
         ["2024-01-01"] * 4),
    ],
)  # fmt: skip
def test_callable_gets_what_it_asks_for_and_leaves_what_it_returns(tmp_path: Path, body: str, value: Any) -> None:
    stored = {"VAR": {"v": {"key": None, "value": "stored"}}, "CONN": {"c": {"key": None, "conn_type": "mysql", "host": "db.lab", "password": ""}}}
    (tmp_path / "outside.json").write_text(json.dumps(stored))
    spec = prepared(
        tmp_path, body, run={"conf": {"x": "$(id)"}, "run_id": "manual__$(x)"}, xcoms={"up": {"return_value": [1], "k": "v", "t": "{{ ds }}"}},
        outside=str(tmp_path / "outside.json"),
    )  # fmt: skip
    done = run(spec)
    assert (done.result["state"], done.code) == ("success", 0), done.log
    assert done.xcoms == {"return_value": value}


@pytest.mark.parametrize(
    ("body", "state", "reason", "retry"),
    [
        ("def f():\n    raise ValueError('no')\ntask(f)", "failed", "ValueError: no", True),
        ("def f():\n    raise AirflowException\ntask(f)", "failed", "AirflowException", True),
        ("def f():\n    raise AirflowSkipException('not today')\ntask(f)", "skipped", "not today", True),
        ("def f():\n    raise AirflowSkipException\ntask(f)", "skipped", "AirflowSkipException", True),
        ("def f():\n    raise AirflowFailException('bad input')\ntask(f)", "failed", "AirflowFailException: bad input", False),
        ("from rqflow import SkipTask\ndef f():\n    raise SkipTask('no data')\ntask(f)", "skipped", "no data", True),
        ("from rqflow import FailTask\ndef f():\n    raise FailTask('never')\ntask(f)", "failed", "never", False),
        ("import sys\ndef f():\n    sys.exit(0)\ntask(f)", "success", "", True),
        ("import sys\ndef f():\n    sys.exit('gone')\ntask(f)", "failed", "SystemExit: gone", True),
        ("def f(nosuch):\n    pass\ntask(f)", "failed", "TypeError: f() missing 1 required positional argument: 'nosuch'", True),
        ("task(lambda: 1, op_args=['{{ 1 / 0 }}'])", "failed", "task t: op_args, line 1: ZeroDivisionError: division by zero", True),
        ("from airflow.providers.x.hooks.y import YHook\ndef f():\n    YHook('a').run()\ntask(f)", "failed",
         "AirflowException: airflow.providers.x.hooks.y.YHook is not supported yet", True),
        ("def f():\n    from airflow.providers.x.hooks.y import YHook\n    YHook('a')\ntask(f)", "failed",
         "AirflowException: airflow.providers.x.hooks.y.YHook is not supported yet", True),
        ("def f(ti):\n    ti.xcom_push('k', 'x' * 50000)\ntask(f)", "failed", "ValueError: an XCom holds at most 48 KB", True),
        ("def f(ti):\n    ti.xcom_push('k', object())\ntask(f)", "failed", "TypeError: object is no JSON value", True),
    ],
)  # fmt: skip
def test_exceptions_become_states(tmp_path: Path, body: str, state: str, reason: str, retry: bool) -> None:
    done = run(prepared(tmp_path, body))
    assert (done.result["state"], done.result["retry"], done.code) == (state, retry, int(state == "failed")), done.log
    assert done.result["reason"].startswith(reason)


def test_traceback_in_the_log_begins_with_the_authors_code(tmp_path: Path) -> None:
    done = run(prepared(tmp_path, "def g():\n    raise ValueError('no')\ndef f():\n    print('before')\n    g()\ntask(f)"))
    assert done.log.startswith("before\nTraceback (most recent call last):\n")
    assert done.log.endswith("ValueError: no\n")
    assert "rqflow/dag" not in done.log
    assert "in g\n    raise ValueError('no')" in done.log


def test_output_and_log_lines_are_in_the_log(tmp_path: Path) -> None:
    done = run(prepared(tmp_path, "def f():\n    print('printed')\n    logging.info('logged %s', 1)\n    os.system('echo shell')\ntask(f)"))
    assert "printed\n" in done.log
    assert "INFO - logged 1\n" in done.log
    assert "shell\n" in done.log


def test_what_was_pushed_before_a_failure_is_kept(tmp_path: Path) -> None:
    done = run(prepared(tmp_path, "def f(ti):\n    ti.xcom_push(key='k', value={'a': 1})\n    raise ValueError\ntask(f)"))
    assert done.result["state"] == "failed"
    assert done.xcoms == {"k": {"a": 1}}


@pytest.mark.parametrize("argument", ["", ", do_xcom_push=False"])
def test_returned_objects_that_are_no_json_are_left_out(tmp_path: Path, argument: str) -> None:
    done = run(prepared(tmp_path, f"def f():\n    return object()\ntask(f{argument})"))
    assert done.result["state"] == "success"
    assert done.xcoms == {}
    assert ("is not kept as XCom: object is no JSON value" in done.log) == (argument == "")


def test_bash_with_own_macros_runs_in_the_child(tmp_path: Path) -> None:
    spec = prepared(tmp_path, "BashOperator(task_id='t', bash_command='echo {{ greet(ds) | twice }}; echo $X', env={'X': '{{ ds }}'}, dag=dag)")
    done = run(spec)
    assert done.log.endswith("hi 2024-01-01hi 2024-01-01\n2024-01-01\n")
    assert done.result == {"state": "program"}


@pytest.mark.parametrize(
    ("kind", "command", "code", "state"),
    [
        ("BashOperator", "exit 3", 3, "program"), ("BashOperator", "exit 99", 99, "program"), ("BashOperator", "kill -9 $$", -9, "program"),
        ("Around", "exit 3", 3, "failed"), ("Around", "exit 99", 99, "skipped"), ("Around", "kill -9 $$", -9, "failed"),
    ],
)
def test_bash_in_the_child_ends_the_child_as_it_ended(tmp_path: Path, kind: str, command: str, code: int, state: str) -> None:
    own = "class Around(BashOperator):\n    def execute(self, context):\n        return super().execute(context)\n"
    done = run(prepared(tmp_path, f"{own}{kind}(task_id='t', bash_command='{command} # {{{{ greet(ds) }}}}', dag=dag)"))
    assert (done.code, done.result["state"], done.log) == (code, state, "")


def test_python_task_gets_its_rendered_env(tmp_path: Path) -> None:
    body = "task(lambda: [os.environ['A'], os.environ['B']], env={'A': '{{ greet(ds) }}', 'B': 1})"
    assert run(prepared(tmp_path, body), A="{{ greet(ds) }}").xcoms == {"return_value": ["hi 2024-01-01", "1"]}


def test_skip_is_told_in_the_log_by_the_worker_alone(tmp_path: Path) -> None:
    assert run(prepared(tmp_path, "def f():\n    raise AirflowSkipException('not today')\ntask(f)")).log == ""


def test_hint_to_a_template_is_in_the_log(tmp_path: Path) -> None:
    done = run(prepared(tmp_path, "BashOperator(task_id='t', bash_command='echo {{ dag_run.conf.x }}', dag=dag)", run={"conf": {"x": "$(id)"}}))
    assert done.log.startswith("rqflow: Write {{ … | shquote }}")
    assert "Write" not in done.result["reason"]


def test_returned_value_that_is_too_large_fails_without_a_traceback(tmp_path: Path) -> None:
    done = run(prepared(tmp_path, "task(lambda: 'x' * 50000)"))
    assert (done.result["state"], done.log) == ("failed", "")
    assert done.result["reason"].startswith("what the task returned is too large: an XCom holds at most 48 KB")


def test_bash_in_the_child_is_protected_from_values_from_outside(tmp_path: Path) -> None:
    body = "BashOperator(task_id='t', bash_command='echo {{ dag_run.conf.x }} {{ greet(ds) }}', dag=dag)"
    done = run(prepared(tmp_path, body, run={"conf": {"x": "$(touch bad)"}}))
    assert done.result["state"] == "failed"
    assert "dag_run.conf['x'] comes from outside of the DAG" in done.result["reason"]
    assert not (tmp_path / "cwd" / "bad").exists()


def test_bash_in_the_child_is_told_what_only_the_worker_knows(tmp_path: Path) -> None:
    spec = prepared(
        tmp_path, "BashOperator(task_id='t', bash_command='echo $X$OUTER {{ greet(ds) }} | false | cat', env={'X': '{{ ds }}'}, dag=dag)",
        arguments={"append_env": True, "pipefail": True, "bash_argv": []},
    )  # fmt: skip
    assert run(spec).code == 1
    write(tmp_path, "echo $X$OUTER", "command.sh")
    told = {**json.loads(spec.read_text()), "arguments": {"append_env": True, "bash_argv": ["bash", str(tmp_path / "command.sh")]}}
    spec.write_text(json.dumps(told))
    (tmp_path / "cwd").rmdir()
    assert run(spec, OUTER="!").log == "2024-01-01!\n"


def test_unsafe_setting_reaches_the_child(tmp_path: Path) -> None:
    body = "BashOperator(task_id='t', bash_command='echo {{ dag_run.conf.x }} {{ greet(ds) }}', dag=dag)"
    assert run(prepared(tmp_path, body, run={"conf": {"x": "$(echo 1)"}}, unsafe=True)).log.endswith("1 hi 2024-01-01\n")


def test_own_modules_and_data_travel_and_are_not_hidden_by_ours(tmp_path: Path) -> None:
    write(tmp_path / "submitted", "NAME = 'mine'\n", "journal.py")
    write(tmp_path / "submitted", "from lib import deep\n", "lib/__init__.py")
    write(tmp_path / "submitted", "VALUE = 7\n", "lib/deep.py")
    write(tmp_path / "submitted", "a,b\n", "samples.csv")
    body = """
    import journal
    from pathlib import Path
    from lib.deep import VALUE
    SAMPLES = (Path(__file__).parent / 'samples.csv').read_text()
    task(lambda: [journal.NAME, VALUE, SAMPLES])
    """
    assert run(prepared(tmp_path, body)).xcoms == {"return_value": ["mine", 7, "a,b\n"]}


def test_task_that_is_stopped_cleans_up(tmp_path: Path) -> None:
    body = """
    import time
    class My(PythonOperator):
        def on_kill(self):
            print('cleaning up')
    def f():
        print('started')
        time.sleep(60)
    My(task_id='t', python_callable=f, dag=dag)
    """
    spec = prepared(tmp_path, body)
    log = tmp_path / "log"
    with log.open("wb") as stream:
        child = subprocess.Popen([sys.executable, "-u", str(RUNNER), str(spec)], stdout=stream, stderr=subprocess.STDOUT)
    until(lambda: "started" in log.read_text(), what="the task to start")
    child.send_signal(signal.SIGTERM)
    assert child.wait(PATIENCE) == 1
    assert "cleaning up" in log.read_text()


def test_branch_returns_ids(tmp_path: Path) -> None:
    body = "from rqflow import EmptyOperator\nBranchPythonOperator(task_id='t', python_callable=lambda: {'b', 'a'}, dag=dag) >> EmptyOperator(task_id='a')"
    assert run(prepared(tmp_path, body)).xcoms == {"return_value": ["a", "b"]}


def function_spec(folder: Path, source: str, **changes: Any) -> Path:
    """A spec for a function that runs alone."""
    spec = {"mode": "function", "source": textwrap.dedent(source), "function": "f", "args": [], "kwargs": {}, "context": {"ds": "2024-01-01"}}
    (folder / "spec.json").write_text(json.dumps({**spec, "result": str(folder / "result.json"), **changes}), encoding="utf-8")
    return folder / "spec.json"


def test_function_runs_alone_with_arguments_and_named_context(tmp_path: Path) -> None:
    source = "def f(a, *, b, ds):\n    import sys\n    return [a, b, ds, 'rqflow' in sys.modules]\n"
    assert run(function_spec(tmp_path, source, args=[1], kwargs={"b": {"c": None}})).xcoms == {"return_value": [1, {"c": None}, "2024-01-01", False]}


def test_function_with_keywords_gets_all_of_the_context(tmp_path: Path) -> None:
    assert run(function_spec(tmp_path, "def f(**context):\n    return context\n")).xcoms == {"return_value": {"ds": "2024-01-01"}}


@pytest.mark.parametrize(
    ("source", "state", "reason"),
    [
        ("def f():\n    raise ValueError('no')\n", "failed", "ValueError: no"),
        ("class AirflowSkipException(Exception):\n    pass\ndef f():\n    raise AirflowSkipException('later')\n", "skipped", "later"),
        ("def f(:\n", "failed", "SyntaxError"),
        ("def f():\n    return object()\n", "success", ""),
    ],
)
def test_ends_of_functions_that_run_alone(tmp_path: Path, source: str, state: str, reason: str) -> None:
    done = run(function_spec(tmp_path, source))
    assert done.result["state"] == state
    assert done.result["reason"].startswith(reason)


def test_runner_is_python_3_8() -> None:
    ast.parse(RUNNER.read_text(encoding="utf-8"), feature_version=(3, 8))
