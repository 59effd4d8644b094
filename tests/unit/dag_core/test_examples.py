from __future__ import annotations

import runpy
import subprocess
from pathlib import Path

import pytest

from rqflow.dag.model import authored, collecting
from rqflow.dag.serialization import version_of
from rqflow.dag.version import Version
from tests.unit.loading.files import load_apart

EXAMPLES = Path(__file__).parents[3] / "examples"


def loaded(name: str) -> Version:
    with collecting() as found:
        (dag,) = authored(found, runpy.run_path(str(EXAMPLES / name)))
    assert found.notes.problems == found.notes.warnings == []
    return version_of(dag, file=name, generation="native", sources={})


@pytest.mark.parametrize(("name", "tasks"), [("tutorial.py", 4), ("sequencing.py", 18)])
def test_native_examples_load_without_a_warning(name: str, tasks: int) -> None:
    assert len(loaded(name).tasks) == tasks


def test_example_of_airflow_1_needs_no_airflow_and_no_change() -> None:
    result = load_apart(EXAMPLES / "airflow1_style.py")
    assert (result.problems, result.warnings, result.unsupported) == ([], [], [])
    (version,) = result.versions
    assert (version.generation, [task.task_id for task in version.tasks]) == ("1", ["print_date", "pause", "templated", "count_days", "report"])


def test_sequencing_reads_and_writes_real_files(tmp_path: Path) -> None:
    for task in loaded("sequencing.py").tasks:
        env = {**task.fields["env"], "PATH": "/usr/bin:/bin", "WORKDIR": f"{tmp_path}/a b", "READS": "50", "RQFLOW_RUN_ID": "manual__1+0"}
        done = subprocess.run(["bash", "-c", task.fields["bash_command"]], env=env, capture_output=True, text=True, check=True)
    lines = (tmp_path / "a b" / "manual__1+0" / "report.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == ["sample", "brain", "kidney", "liver", "spleen"]
    assert all(0 < int(line.split("\t")[2]) <= 50 for line in lines[1:])
    assert done.stdout.splitlines()[0].split() == ["sample", "reads", "aligned", "aligned", "%", "covered", "%"]
