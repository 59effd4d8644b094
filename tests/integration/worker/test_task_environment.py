"""What the environment of a task holds, and what it does not."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from rqflow.dag.loader import load
from tests.integration.worker.conftest import Site
from tests.profile import PATIENCE


def variables(site: Site, **task: object) -> dict[str, str]:
    """Run `env` as a task; return what it printed."""
    environ = task.pop("environ", {})
    run = site.command("env -0 | tr '\\n\\0' ' \\n'", **task)
    worker = site.start(burst=True, environ=environ)  # type: ignore[arg-type]
    assert worker.wait(PATIENCE) == 0, site.said()
    assert site.task(run).state == "success", site.task(run).reason
    lines = [line for line in site.log(run).splitlines() if "=" in line and not line.startswith("rqflow: ")]
    return dict(line.split("=", 1) for line in lines)


def test_tells_a_task_who_it_is(site: Site) -> None:
    env = variables(site)
    expected = {
        "RQFLOW_DAG_ID": "d", "RQFLOW_RUN_ID": "r1", "RQFLOW_TASK_ID": "t", "RQFLOW_TRY": "1",
        "RQFLOW_LOGICAL_DATE": "2024-01-01T00:00:00+00:00", "AIRFLOW_CTX_DAG_ID": "d", "AIRFLOW_CTX_TASK_ID": "t",
        "AIRFLOW_CTX_EXECUTION_DATE": "2024-01-01T00:00:00+00:00", "AIRFLOW_CTX_DAG_RUN_ID": "r1", "PYTHONUNBUFFERED": "1",
    }
    assert {name: env.get(name) for name in expected} == expected


def test_has_no_secret_and_no_interpreter_of_ours(site: Site) -> None:
    own = str(Path(sys.prefix) / "bin")
    environ = {
        "RQFLOW__DATABASE__URL": "mysql://u:secret1@h/d", "AIRFLOW__CORE__FERNET_KEY": "secret2", "RQFLOW_CONN_DB": "secret3",
        "AIRFLOW_VAR_X": "secret4", "RQ_REDIS_URL": "secret5", "VIRTUAL_ENV": sys.prefix, "PATH": f"{own}:/usr/bin:/bin", "PYTHONHOME": "",
        "KEPT": "yes",
    }
    env = variables(site, environ=environ)
    assert not re.search(r"secret\d", " ".join(env.values()))
    assert not [name for name in env if "__" in name or name in {"VIRTUAL_ENV", "PYTHONHOME", "RQFLOW_HOME"}]
    assert own not in env["PATH"].split(":")
    assert env["KEPT"] == "yes"


def test_is_taken_when_the_worker_starts(site: Site) -> None:
    """A shepherd that another worker started gives its tasks the environment of the worker that asks."""
    assert variables(site, environ={"WHO": "one"})["WHO"] == "one"
    site.db.flushall()
    site.reconnect()
    # Of a run of the same name the worker would know the end already.
    (site.folder / "work" / "spool").unlink()
    assert variables(site, environ={"WHO": "two"})["WHO"] == "two"


@pytest.mark.parametrize("lang", ["C", "POSIX", ""])
def test_names_beyond_ascii_under_lang_c(site: Site, tmp_path: Path, lang: str) -> None:
    run = site.command("touch 'ünïcödé ☃'; ls; echo $LANG; locale charmap", fields={"cwd": str(tmp_path / "Ordner ä")})
    (tmp_path / "Ordner ä").mkdir()
    worker = site.start(burst=True, environ={"LANG": lang, "LC_ALL": ""})
    assert worker.wait(PATIENCE) == 0, site.said()
    assert site.log(run).splitlines()[:3] == ["ünïcödé ☃", "C.UTF-8", "UTF-8"]
    assert (tmp_path / "Ordner ä" / "ünïcödé ☃").exists()


def test_variables_of_the_task_are_laid_over(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "my.env"
    file.write_text("# comment\nA=1\nexport B='two words'\nC=file\n")
    env = variables(site, env_file=str(file), fields={"env": {"C": "task", "D": "{{ ds }}"}, "append_env": True}, environ={"A": "0", "Z": "z"})
    assert [env[name] for name in "ABCDZ"] == ["1", "two words", "task", "2024-01-01", "z"]


def test_env_without_append_env_is_all_there_is(site: Site) -> None:
    env = variables(site, fields={"env": {"ONLY": "1"}, "append_env": False}, environ={"OTHER": "x"})
    assert env["ONLY"] == "1"
    assert "OTHER" not in env
    assert {"PATH", "HOME", "LANG", "RQFLOW_TASK_ID", "AIRFLOW_CTX_TASK_ID"} <= env.keys()


FILES = '''
from rqflow import DAG, BashOperator, PythonOperator

with DAG("f"):
    BashOperator(task_id="bash", bash_command="echo $A; cat $RQFLOW_DAG_FOLDER/data/x.txt", files=["data"], env_file="my.env")
    PythonOperator(task_id="python", python_callable=lambda: print(open(__import__("os").environ["RQFLOW_DAG_FOLDER"] + "/data/x.txt").read()), files=["data"])
    BashOperator(task_id="none", bash_command="echo ${RQFLOW_DAG_FOLDER-none}", env_file="my.env")
'''


def test_files_are_reached_by_a_variable_and_env_files_travel(site: Site, tmp_path: Path) -> None:
    submitted = tmp_path / "submitted" / "sub"
    (submitted / "data").mkdir(parents=True)
    (submitted / "data" / "x.txt").write_text("from the file")
    (submitted / "my.env").write_text("A=travelled")
    (submitted / "f.py").write_text(FILES)
    [version] = load(submitted / "f.py", site.settings, root=tmp_path / "submitted").versions
    shutil.rmtree(tmp_path / "submitted")
    run = site.run(version)
    site.work()
    assert site.log(run, "bash").splitlines()[:2] == ["travelled", "from the file"]
    assert site.log(run, "python").splitlines()[0] == "from the file"
    assert site.log(run, "none").splitlines()[0] == "none"


def test_missing_env_file_fails_the_try(site: Site) -> None:
    run = site.command("true", env_file="/no/such/file")
    site.work()
    assert (site.task(run).state, site.task(run).reason) == ("failed", "env_file /no/such/file cannot be read: No such file or directory")


def test_setup_line_comes_first(site: Site) -> None:
    run = site.command("echo $FROM_SETUP; f", setup="export FROM_SETUP=here; f() { echo function; }")
    site.work()
    assert site.log(run).splitlines()[:2] == ["here", "function"]
