from __future__ import annotations

from pathlib import Path

import pytest

from rqflow.actions import submit
from rqflow.exceptions import DagLoadError, UsageError
from rqflow.settings import Settings
from tests.unit.builders import a_task, a_version, an_empty_task

GOOD = 'from rqflow import DAG, BashOperator\nwith DAG("{name}", schedule=None):\n    BashOperator(task_id="a", bash_command="true")\n'


def test_a_path_that_does_not_exist_is_named() -> None:
    with pytest.raises(UsageError, match=r"/absent\.py: there is no such file"):
        submit.files([Path("/absent.py")])


def test_every_file_of_a_folder_is_reported_on(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "a.py").write_text(GOOD.format(name="a"))
    (folder / "b.py").write_text(GOOD.format(name="b") + "oops\n")
    (folder / "helper.py").write_text("# imported by a DAG that uses rqflow\n")
    good, bad = submit.survey([folder], Settings(home=home))
    assert [version.dag_id for version in good.versions] == ["a"]
    assert bad.errors[0].startswith(f"{folder}/b.py:4: NameError")


def test_a_broken_dag_hides_no_good_one_of_its_file(tmp_path: Path, home: Path) -> None:
    bad = GOOD.format(name="bad").partition("\n")[2].replace('"true"', '"echo {{ nope }}"')
    (tmp_path / "d.py").write_text(GOOD.format(name="good") + bad + GOOD.format(name="too").partition("\n")[2])
    report, = submit.survey([tmp_path / "d.py"], Settings(home=home))
    assert [version.dag_id for version in report.versions] == ["good", "too"]
    assert [error.split(":")[1] for error in report.errors] == ["5"]
    with pytest.raises(DagLoadError, match="nope"):
        submit.read([tmp_path / "d.py"], Settings(home=home))


def test_a_dag_id_in_two_files_is_a_problem_of_the_second(tmp_path: Path, home: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(GOOD.format(name="same"))
    first, second = submit.survey([tmp_path / "a.py", tmp_path / "b.py"], Settings(home=home))
    assert not first.errors
    assert second.errors == (f"{tmp_path}/b.py:1: the DAG same is in {tmp_path}/a.py too",)


@pytest.mark.parametrize(("pool", "slots", "problem"), [
    ("p", 1, ""), ("p", 3, ""), ("default_pool", 1, ""), ("p", 4, "takes 4 slots of pool p, which has 3"), ("q", 1, "there is no pool q"),
])
def test_pools_are_checked(pool: str, slots: int, problem: str) -> None:
    version = a_version(specs=[a_task("a", pool=pool, pool_slots=slots)])
    assert problem in "".join(submit.pool_problems(version, {"p": 3}))
    assert bool(problem) == bool(submit.pool_problems(version, {"p": 3}))


@pytest.mark.parametrize(("schedule", "words"), [
    ("timedelta:86400", "every 1d"), ("timedelta:5400", "every 90m"), ("relativedelta:months=1", "every 1 month"),
    ("relativedelta:months=2,days=1", "every 2 months, 1 day"), ("0 3 * * *", "0 3 * * *"), ("@daily", "@daily"), (None, ""),
])
def test_schedules_are_shown_in_words(schedule: str | None, words: str) -> None:
    assert submit.schedule_words(schedule) == words


def test_the_queues_that_workers_must_serve_leave_out_empty_tasks() -> None:
    version = a_version(specs=[a_task("a"), a_task("b", queue="gpu"), a_task("c", queue="gpu"), an_empty_task("d", queue="x")])
    assert submit.tasks_by_queue(version) == {"default": ["a"], "gpu": ["b", "c"]}
