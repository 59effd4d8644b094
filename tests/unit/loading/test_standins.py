"""Names of airflow that rqflow does not have: they bear everything while a file loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.loading.files import load_apart, write

HEAD = "from airflow import DAG\nfrom airflow.operators.bash import BashOperator\ndag = DAG('d')\na = BashOperator(task_id='a', bash_command='true', dag=dag)\n"


@pytest.mark.parametrize(
    "text",
    [
        "from airflow.providers.x.y import ZOperator",
        "import airflow.providers.x.y.z",
        "import airflow.providers.x.y.z as z",
        "from airflow.providers import x",
        "from airflow.providers.x.y import *",
        "from airflow.x import CONSTANT, function, SomeClass",
        "from airflow.x import SomeError\ntry:\n    pass\nexcept SomeError:\n    pass",
        "from airflow.x import SomeClass\ndef f(x: SomeClass, y: SomeClass | None = None) -> list[SomeClass]:\n    pass",
        "from airflow.x import SomeClass\nclass Mine(SomeClass):\n    name = 'mine'\n    def f(self):\n        return super().f()",
        "from airflow.x import SomeClass\nisinstance(1, SomeClass)",
        "from airflow.x import decorator\n@decorator\ndef f():\n    return 1\nassert f() == 1",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from airflow.x import Y",
        "try:\n    from airflow.x import y\nexcept ImportError:\n    y = None",
        "import importlib.util\nassert importlib.util.find_spec('airflow.x')",
        "import airflow\nassert airflow.__version__ and airflow.version.version",
    ],
)
def test_unused_names_stop_nothing_and_are_not_listed(tmp_path: Path, text: str) -> None:
    result = load_apart(write(tmp_path, HEAD + text + "\n"))
    assert (result.problems, result.unsupported) == ([], [])


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("from airflow.x import SomeHook\nSomeHook('conn', a=1).run('x').rows[0]['y'] + 1", ["airflow.x.SomeHook"]),
        ("from airflow.x import function\nb = function(1, x=2)\nfor one in b:\n    pass\nwith b as c:\n    c.d()", ["airflow.x.function"]),
        ("from airflow.x import CONSTANT\nx = f'{CONSTANT}/a'", ["airflow.x.CONSTANT"]),
        ("from airflow.x import CONSTANT\nimport os\nx = os.path.join(CONSTANT, 'a')", ["airflow.x.CONSTANT"]),
        ("from airflow.x import Enum\nx = Enum.VALUE", ["airflow.x.Enum.VALUE"]),
        ("import airflow\nx = airflow.x.y.z(1)", ["airflow.x.y.z"]),
        ("from airflow.x import Asset\nx = (Asset('a') | Asset('b')) & Asset('c')", ["airflow.x.Asset"]),
        ("from airflow.x import ObjectStoragePath\nx = ObjectStoragePath('s3://b') / 'a'", ["airflow.x.ObjectStoragePath"]),
        ("from airflow.x import Notifier\na.on_failure_callback = [Notifier(to='me')]", ["airflow.x.Notifier"]),
        ("from airflow.x import alert\na.on_failure_callback = alert", ["airflow.x.alert"]),
        ("from airflow.x import alert\nDAG('e', on_failure_callback=alert)\ndag.on_failure_callback = alert", ["airflow.x.alert"]),
        ("from airflow.x import Base\nclass Mine(Base):\n    def __init__(self, n):\n        super().__init__(n=n)\n        self.n = n\nassert Mine(3).n == 3",
         ["airflow.x.Base"]),
        ("from airflow.x import thing\na >> thing\nthing >> a\n[a] >> thing\nthing << [a]", ["airflow.x.thing"]),
    ],
)  # fmt: skip
def test_used_names_are_listed_and_bear_it(tmp_path: Path, text: str, paths: list[str]) -> None:
    result = load_apart(write(tmp_path, HEAD + text + "\n"))
    assert result.problems == []
    messages = {problem.message for problem in result.unsupported}
    if "thing" not in text:  # An edge to nothing is no use.
        assert {f"{path} is not supported yet" for path in paths} <= messages
    assert [task.task_id for task in result.versions[0].tasks] == ["a"]


@pytest.mark.parametrize(
    ("text", "edges"),
    [
        ("from airflow.x import YOperator\na >> YOperator(task_id='b', dag=dag, bucket='x') >> YOperator(task_id='c', dag=dag)", "a>b b>c"),
        ("from airflow.x import YSensor\n[YSensor(task_id='b', dag=dag), YSensor(task_id='c', dag=dag)] >> a", "b>a c>a"),
        ("from airflow.x import AToBTransfer\na.set_downstream(AToBTransfer('b', 1, 2, dag=dag))", "a>b"),
        ("from airflow.x import Unusual\nwith dag:\n    a >> Unusual(task_id='b')", "a>b"),
        ("from airflow.x import y\nwith dag:\n    y.ZOperator(task_id='b', output=a.output)", "a>b"),
        ("from airflow.x import y\nwith dag:\n    a >> y.create(task_id='b')", "a>b"),
        ("from airflow.x import YOperator\nclass Mine(YOperator):\n    pass\nwith dag:\n    a >> Mine(task_id='b')", "a>b"),
        ("from airflow.x import YOperator\nwith dag:\n    a >> YOperator.partial(task_id='b').expand(x=[1, 2])", "a>b"),
        ("from airflow.x import YOperator\nwith dag:\n    a >> YOperator.partial(task_id='b').expand_kwargs([{}])", "a>b"),
        ("from airflow.x import YOperator\nfrom airflow.utils.task_group import TaskGroup\nwith dag, TaskGroup('g') as g:\n    YOperator(task_id='b')\na >> g", "a>g.b"),
        ("from airflow.decorators import task\nwith dag:\n    @task\n    def b(x):\n        return x\n    b(a.output) >> b(1)", "a>b b>b__1"),
        ("from airflow.decorators import task\nwith dag:\n    @task\n    def b(x, y=None):\n        return x\n    c = b(1)\n    b({'k': [c]}, y=a)",
         "a>b__1 b>b__1"),
        ("from airflow.decorators import task\nwith dag:\n    @task.docker(image='x', task_id='c')\n    def b():\n        pass\n    a >> b().as_teardown(setups=a)",
         "a>c"),
        ("from airflow.decorators import task, task_group\nwith dag:\n    @task\n    def b():\n        pass\n    @task_group\n    def g(n):\n        return b()\n"
         "    a >> g(1)\n    g(2)", "a>g.b"),
    ],
)  # fmt: skip
def test_operators_keep_their_place_in_the_graph(tmp_path: Path, text: str, edges: str) -> None:
    result = load_apart(write(tmp_path, HEAD + text + "\n"))
    assert result.problems == []
    (version,) = result.versions
    found = [f"{task.task_id}>{version.tasks[index].task_id}" for task in version.tasks for index in task.downstream]
    assert " ".join(sorted(found)) == edges
    assert all(task.unsupported for task in version.tasks if task.task_id != "a")
    assert result.unsupported


def test_operator_without_task_id_is_a_problem(tmp_path: Path) -> None:
    (problem,) = load_apart(write(tmp_path, HEAD + "from airflow.x import YOperator\nYOperator(dag=dag)\n")).problems
    assert "YOperator needs task_id" in str(problem)


def test_default_args_reach_unsupported_tasks(tmp_path: Path) -> None:
    text = "from airflow import DAG\nfrom airflow.x import YOperator\nwith DAG('d', default_args={'retries': 4, 'queue': 'q', 'bucket': 'b'}):\n    YOperator(task_id='b')\n"
    (version,) = load_apart(write(tmp_path, text)).versions
    assert (version.tasks[0].retries, version.tasks[0].queue) == (4, "q")
