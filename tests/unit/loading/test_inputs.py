"""What loading a file depends on."""

from __future__ import annotations

from pathlib import Path

import pytest

from rqflow.dag import inputs
from rqflow.dag.loader import BadFile
from tests.unit.loading.files import load, write

FILE = '''
import glob, json
from pathlib import Path
from airflow import DAG
from airflow.models import Variable
from airflow.operators.bash import BashOperator
import helper
try:
    import local_settings
except ImportError:
    pass
Variable.get("city", default_var="Bern")
Path("/etc/hosts").read_text()
Path(__file__).with_name("cache.txt").write_text("made while it loads")
Path(__file__).with_name("cache.txt").read_text()
for name in glob.glob(str(Path(__file__).parent / "conf" / "*.json")):
    with DAG(json.loads(Path(name).read_text())["id"], schedule=None):
        BashOperator(task_id="a", bash_command="run.sh")
'''


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> inputs.Inputs:
    monkeypatch.setenv("AIRFLOW_VAR_CITY", "Basel")
    write(tmp_path, "x = 1\n", "helper.py")
    write(tmp_path, '{"id": "one"}', "sub/conf/a.json")
    write(tmp_path, "echo\n", "sub/run.sh")
    return load(write(tmp_path, FILE, "sub/d.py"), root=tmp_path).inputs


def test_files_that_were_opened_imported_listed_and_looked_for_count(found: inputs.Inputs) -> None:
    there = {key for key, value in found.files.items() if value is not None}
    assert there == {"sub/d.py", "helper.py", "sub/conf/", "sub/conf/a.json", "sub/run.sh"}
    absent = {"local_settings.py", "local_settings/__init__.py", "sub/local_settings.py", "sub/local_settings/__init__.py"}
    assert found.files.keys() - there == absent
    assert set(found.variables) == {"city"}


def test_other_bytes_names_and_values_are_other_inputs(found: inputs.Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def changed() -> set[str]:
        return {key for key, value in found.files.items() if inputs.fingerprint(inputs.path_of(tmp_path, key)) != value}

    assert not changed()
    write(tmp_path, "x = 2\n", "helper.py")
    assert changed() == {"helper.py"}
    write(tmp_path, '{"id": "two"}', "sub/conf/b.json")
    write(tmp_path, "", "sub/conf/.b.json.swp")
    assert changed() == {"helper.py", "sub/conf/"}
    write(tmp_path, "", "local_settings.py")
    assert "local_settings.py" in changed()
    assert not found.has_other_variables()
    monkeypatch.setenv("AIRFLOW_VAR_CITY", "Bern")
    assert found.has_other_variables()


def test_a_file_that_fails_depends_on_what_it_did_not_find(tmp_path: Path) -> None:
    text = 'from rqflow import DAG, BashOperator\nwith DAG("d", schedule=None):\n    BashOperator(task_id="a", bash_command="absent.sh")\n'
    with pytest.raises(BadFile, match="no template file") as caught:
        load(write(tmp_path, text))
    assert caught.value.sound.inputs.files["absent.sh"] is None
