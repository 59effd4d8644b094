"""Bad DAG files: each is refused with the line and the reason, and none harms who loads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.loading.files import HEAD, said, write

DAG = 'dag = DAG("d")\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = (\n", "d.py:1: SyntaxError: '(' was never closed"),
        ("import os\n  x = 1\n", "d.py:2: IndentationError: unexpected indent"),
        ('print "hello"\n', "d.py:1: SyntaxError: Missing parentheses in call to 'print'"),
        ("try:\n    pass\nexcept A, e:\n    pass\n", "d.py:3: SyntaxError: multiple exception types must be parenthesized"),
        ("x = 0777\n", "d.py:1: SyntaxError: leading zeros"),
        ("import datetime\n\nx = datatime.now()\n", "d.py:3: NameError: name 'datatime' is not defined; did you mean datetime?"),
        ("x = datatime.now()\n", "d.py:1: NameError: name 'datatime' is not defined; did you mean datetime?"),
        ("x = json.loads('1')\n", "d.py:1: NameError: name 'json' is not defined; did you forget to import json?"),
        ("import numpie\n", "d.py:1: no module named 'numpie'; if it is a package, install it: pip install numpie"),
        ("from sklearn.base import x\n", "d.py:1: no module named 'sklearn'; if it is a package, install it: pip install scikit-learn"),
        ("import os\ndef f():\n    raise ValueError('no')\n\nf()\n", "d.py:3: ValueError: no"),
        ("raise RuntimeError('the thing\\nwent wrong')\n", "d.py:1: RuntimeError: the thing | went wrong"),
        ("import os\nos.path.join(None)\n", "d.py:2: TypeError: expected str, bytes or os.PathLike object, not NoneType"),
        ("import sys\nsys.exit()\n", "d.py:2: the file ends Python while it loads: sys.exit()"),
        ("import sys\nsys.exit('bye')\n", "d.py:2: the file ends Python while it loads: sys.exit('bye')"),
        ("raise KeyboardInterrupt\n", "d.py:1: KeyboardInterrupt"),
        ("def f():\n    f()\nf()\n", "d.py:2: RecursionError: maximum recursion depth exceeded; look for a function that calls itself for ever"),
        ("import os\nx = os.environ['NOT_SET_AT_ALL']\n", "d.py:2: the environment variable NOT_SET_AT_ALL is not set"),
        ("x = {}['key']\n", "d.py:1: KeyError: 'key'"),
        (
            "from airflow.models import Variable\nx = Variable.get('bucket')\n",
            "d.py:2: Variable bucket does not exist; `rqflow var set bucket VALUE`, set AIRFLOW_VAR_BUCKET in the environment, or give a default",
        ),
        (
            "from airflow.hooks.base import BaseHook\nx = BaseHook.get_connection('db')\n",
            "d.py:2: AirflowNotFoundException: Connection db does not exist; `rqflow conn set db URI`, or set AIRFLOW_CONN_DB in the environment",
        ),
        ("x = 1\n", "d.py:1: there is no DAG in this file; a DAG counts when it is a global of the file, or has a `with` block"),
        (HEAD + "def f():\n    d = DAG('d')\nf()\n", "d.py:1: there is no DAG in this file; a DAG counts when it is a global of the file"),
        (HEAD + "d = DAG('d', description='\\udcff')\n", "d.py:2: DAG d holds characters that are no Unicode text: …"),
        (HEAD + "a = DAG('d')\nb = DAG('d')\n", "d.py:3: dag_id 'd' is already that of the DAG in line 2"),
        (HEAD + DAG + "BashOperator(task_id='a', dag=dag)\n", "d.py:3: task a: BashOperator needs either bash_command or bash_file"),
        (HEAD + DAG + "BashOperator(bash_command='true', dag=dag)\n", "d.py:3: BashOperator needs task_id"),
        (HEAD + DAG + "BashOperator(task_id='a', bash_command='{% if %}', dag=dag)\n", "d.py:3: task a: bash_command: line 1: the template does not"),
        (HEAD + DAG + "BashOperator(task_id='a', bash_command='{{ x | nosuch }}', dag=dag)\n", "line 1: the template does not compile: No filter"),
        (
            HEAD + DAG + "BashOperator(\n    task_id='a',\n    bash_command='true\\n{{ excution_date }}',\n    dag=dag)\n",
            "d.py:3: task a: bash_command: line 2: unknown variable 'excution_date'; did you mean execution_date?",
        ),
        (
            HEAD + DAG + "BashOperator(task_id='a', bash_command='true', env={'X': '{{ ds }} {{ foo }}'}, dag=dag)\n",
            "d.py:3: task a: env: line 1: unknown variable 'foo'",
        ),
        (HEAD + DAG + "BashOperator(task_id='a', bash_command='gone.sh', dag=dag)\n", "d.py:3: task a: there is no template file gone.sh; put it"),
        (HEAD + DAG + "BashOperator(task_id='a', bash_command='{% include \"x\" %}', dag=dag)\n", "d.py:3: task a: bash_command: there is no template"),
        (HEAD + DAG + "BashOperator(task_id='a', bash_command='true', files=['gone'], dag=dag)\n", "d.py:3: task a: there is no file gone"),
        (HEAD + DAG + "BashOperator(task_id='a', bash_command='true', env_file='my.env', dag=dag)\n", "d.py:3: task a: there is no file my.env"),
        (HEAD + DAG + "BashOperator(task_id='a', bash_command='true', queue='a b', dag=dag)\n", "d.py:3: task a: queue 'a b' may only hold"),
        (HEAD + DAG + "BashOperator(task_id='a', bash_command='true', pool='', dag=dag)\n", "d.py:3: task a: pool '' may only hold"),
        (HEAD + DAG + "BashOperator(task_id='a', bash_command='true', retries='x', dag=dag)\n", "d.py:3: task a: retries='x' must be a whole number"),
        (HEAD + "dag = DAG('d', schedule='0 100 * * *')\n", "d.py:2: DAG d: the schedule '0 100 * * *' has '100' as its hour"),
    ],
)
def test_bad_file_is_refused_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    found = said(write(tmp_path, text))
    assert any(expected in problem for problem in found), found
    assert all("Traceback" not in problem for problem in found)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = HEAD + DAG + "BashOperator(task_id='a b', bash_command='{{ x }}', retries=-1, dag=dag)\nBashOperator(task_id='b', bash_command='y.sh', dag=dag)\n"
    assert len(said(write(tmp_path, text))) == 4


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"x = '\xff'\n", "utf-8"), (b"x = 1\n\0\n", "null byte"), (b"# coding: nosuch\n", "unknown encoding"), (b"\xff\xfeD\0", "null byte")],
)
def test_file_that_is_no_text_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (problem,) = said(write(tmp_path, data))
    assert problem.startswith("d.py:")
    assert message in problem


def test_template_file_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    write(tmp_path, b"echo \xe4\n", "x.sh")
    expected = "d.py:3: task a: the template file x.sh is not written in UTF-8"
    for command in ("'x.sh'", "'{% include \"x.sh\" %}'"):
        assert expected in said(write(tmp_path, HEAD + DAG + f"BashOperator(task_id='a', bash_command={command}, dag=dag)\n"))


def test_object_that_cannot_be_shown_is_refused_with_its_line(tmp_path: Path) -> None:
    text = "from rqflow import DAG, PythonOperator\nclass Bad:\n    def __repr__(self):\n        raise ValueError('no')\n"
    path = write(tmp_path, text + "with DAG('d'):\n    PythonOperator(task_id='a', python_callable=print, op_args=[Bad()])\n")
    assert said(path) == ["d.py:4: ValueError: no"]


def test_error_in_a_local_module_names_that_module(tmp_path: Path) -> None:
    write(tmp_path, "def f():\n    return 1 / 0\n", "lib/calc.py")
    path = write(tmp_path, "from lib.calc import f\nf()\n")
    assert said(path) == ["lib/calc.py:2: ZeroDivisionError: division by zero"]


def test_error_in_a_library_names_the_line_that_called_it(tmp_path: Path) -> None:
    path = write(tmp_path, "import json\n\nx = json.loads('{')\n")
    assert said(path)[0].startswith("d.py:3: JSONDecodeError")
