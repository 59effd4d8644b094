from __future__ import annotations

from pathlib import Path

import pytest

from rqflow.actions import survey
from rqflow.exceptions import DagLoadError, UsageError
from rqflow.settings import Settings

GOOD = 'from rqflow import DAG, BashOperator\nwith DAG("{name}", schedule=None):\n    BashOperator(task_id="a", bash_command="true")\n'


def test_a_path_that_does_not_exist_is_named() -> None:
    with pytest.raises(UsageError, match=r"/absent\.py: there is no such file"):
        survey.files([Path("/absent.py")])


def test_every_file_of_a_folder_is_reported_on(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "a.py").write_text(GOOD.format(name="a"))
    (folder / "b.py").write_text(GOOD.format(name="b") + "oops\n")
    (folder / "helper.py").write_text("# imported by a DAG that uses rqflow\n")
    good, bad = survey.survey([folder], Settings(home=home))
    assert [version.dag_id for version in good.versions] == ["a"]
    assert bad.errors[0].startswith(f"{folder}/b.py:4: NameError")


def test_a_broken_dag_hides_no_good_one_of_its_file(tmp_path: Path, home: Path) -> None:
    bad = GOOD.format(name="bad").partition("\n")[2].replace('"true"', '"echo {{ nope }}"')
    (tmp_path / "d.py").write_text(GOOD.format(name="good") + bad + GOOD.format(name="too").partition("\n")[2])
    report, = survey.survey([tmp_path / "d.py"], Settings(home=home))
    assert [version.dag_id for version in report.versions] == ["good", "too"]
    assert [error.split(":")[1] for error in report.errors] == ["5"]
    with pytest.raises(DagLoadError, match="nope"):
        survey.read([tmp_path / "d.py"], Settings(home=home))


def test_a_dag_id_in_two_files_is_a_problem_of_the_second(tmp_path: Path, home: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(GOOD.format(name="same"))
    first, second = survey.survey([tmp_path / "a.py", tmp_path / "b.py"], Settings(home=home))
    assert not first.errors
    assert second.errors == (f"{tmp_path}/b.py:1: the DAG same is in {tmp_path}/a.py too",)
