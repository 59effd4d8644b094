"""Which files of a folder are DAG files."""

from __future__ import annotations

from pathlib import Path

import pytest

from rqflow.dag import loader
from rqflow.exceptions import DagLoadError
from tests.unit.loading.files import GOOD, write


def test_folder_gives_files_that_speak_of_dags(tmp_path: Path) -> None:
    for name in ("a.py", "sub/b.py", ".hidden/c.py", "venv/d.py", "__pycache__/e.py"):
        write(tmp_path, GOOD, name)
    write(tmp_path, "", "venv/pyvenv.cfg")
    write(tmp_path, "x = 1\n", "helper.py")
    write(tmp_path, "dag airflow", "notes.txt")
    assert [str(path.relative_to(tmp_path)) for path in loader.find_dag_files(tmp_path)] == ["a.py", "sub/b.py"]


def test_folder_without_dags_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "x = 1\n", "helper.py")
    with pytest.raises(DagLoadError, match="there is no DAG file in this folder"):
        loader.find_dag_files(tmp_path)
