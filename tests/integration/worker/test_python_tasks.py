"""Python callables, branches and DAGs with macros of their own, from the file to the end of the run."""

from __future__ import annotations

from pathlib import Path

from rqflow.dag.loader import load
from rqflow.dag.version import Version
from tests.integration.worker.conftest import Site

DAG = '''
import helper
from rqflow import DAG, BashOperator, BranchPythonOperator, PythonOperator, ShortCircuitOperator

def make(number, ds, **context):
    print("making", number, ds)
    context["ti"].xcom_push(key="extra", value={"n": number})
    return [number, helper.TEXT]

def choose(ti):
    return "left" if ti.xcom_pull(task_ids="make")[0] == 3 else "right"

def fail():
    raise ValueError("no good")

with DAG("p", user_defined_macros={"twice": lambda text: text * 2}) as dag:
    first = PythonOperator(task_id="make", python_callable=make, op_kwargs={"number": 3})
    branch = BranchPythonOperator(task_id="choose", python_callable=choose)
    left, right = BashOperator(task_id="left", bash_command="echo {{ twice('x') }}"), BashOperator(task_id="right", bash_command="true")
    stop = ShortCircuitOperator(task_id="stop", python_callable=lambda: False)
    first >> branch >> [left, right]
    first >> stop >> BashOperator(task_id="stopped", bash_command="true")
    PythonOperator(task_id="fails", python_callable=fail)
'''


def version(site: Site) -> Version:
    folder = site.folder / "dags"
    folder.mkdir()
    (folder / "helper.py").write_text("TEXT = 'ä'\n")
    (folder / "p.py").write_text(DAG)
    [found] = load(folder / "p.py", site.settings).versions
    for file in folder.iterdir():
        file.unlink()
    return found


def test_run_of_python_tasks_without_their_file(site: Site) -> None:
    """Reliability 68: everything travels with the version."""
    run = site.run(version(site))
    site.work()
    assert site.states(run) == {
        "make": "success", "choose": "success", "left": "success", "right": "skipped", "stop": "success", "stopped": "skipped", "fails": "failed",
    }, site.log(run, "make") + site.log(run, "choose")
    assert site.broker.xcoms(run.key)["make"] == {"return_value": '[3, "ä"]', "extra": '{"n": 3}'}
    assert "making 3 2024-01-01" in site.log(run, "make")
    assert site.log(run, "left").splitlines()[0] == "xx"
    assert "no good" in site.task(run, "fails").reason
    assert 'raise ValueError("no good")' in site.log(run, "fails")


def test_unpacked_sources_are_private(site: Site) -> None:
    run = site.run(version(site))
    site.work()
    assert site.task(run, "make").state == "success"
    assert (site.folder / "work").stat().st_mode & 0o077 == 0
    assert not list(Path(site.folder / "work" / "tries").glob("*/spec.json"))
