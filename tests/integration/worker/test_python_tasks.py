"""Python callables, branches and DAGs with macros of their own, from the file to the end of the run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

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
    assert "rqflow: the branch follows left; skipped: right\n" in site.log(run, "choose")
    assert "rqflow: it returned no true value; skipped: stopped\n" in site.log(run, "stop")
    assert "no good" in site.task(run, "fails").reason
    assert 'raise ValueError("no good")' in site.log(run, "fails")


def test_unpacked_sources_are_private(site: Site) -> None:
    run = site.run(version(site))
    site.work()
    assert site.task(run, "make").state == "success"
    assert (site.folder / "work").stat().st_mode & 0o077 == 0
    assert not list(Path(site.folder / "work" / "tries").glob("*/spec.json"))


#: One bash task for each way to end.
ENDS = '''
from datetime import timedelta
from rqflow import DAG, BashOperator

class Own(BashOperator):
    pass

class Around(BashOperator):
    def execute(self, context):
        return super().execute(context)

with DAG("ends", user_defined_macros=MACROS):
    CLASS(task_id="three", bash_command="exit 3")
    CLASS(task_id="skip", bash_command="exit 99")
    CLASS(task_id="killed", bash_command="kill -9 $$")
    CLASS(task_id="long", bash_command=f": {'x' * 200_000}; echo done")
    CLASS(task_id="much", bash_command="head -c 100000 /dev/zero | tr '\\\\0' x; exit 0")
    CLASS(task_id="nowhere", bash_command="true", cwd="/nope")
    CLASS(task_id="elsewhere", bash_command="pwd; touch made", cwd="FOLDER", outputs=["made"])
    CLASS(task_id="templated", bash_command="pwd; touch also", cwd="FOLDER/{{ ds }}", outputs=["also"])
    CLASS(task_id="pipe", bash_command="false | true")
    CLASS(task_id="late", bash_command="sleep 60", execution_timeout=timedelta(seconds=1))
    CLASS(task_id="alone", bash_command='echo "$OUTER-$A-$RQFLOW_VAR_SECRET-$RQFLOW_TASK_ID-$F"', env={"A": "{{ ds }}"}, append_env=False, env_file="FOLDER/env")
    CLASS(task_id="heir", bash_command='echo "$OUTER-$A-$RQFLOW_VAR_SECRET-$PIPED"; trap', env={"A": "{{ ds }}"})
    CLASS(task_id="setup", bash_command="echo $X", setup="export X=5")
    CLASS(task_id="refused", bash_command="echo {{ dag_run.conf.x }}")
'''


def ends(site: Site, folder: Path, kind: str, half: int) -> dict[str, Any]:
    """How each task of one half of ENDS ended, told by the task, the history and the log."""
    tasks = [line for line in ENDS.splitlines(keepends=True) if line.startswith("    CLASS")]
    text = ENDS.partition("    CLASS")[0] + "".join(tasks[half::2])
    text = text.replace("CLASS", kind.partition("+")[0]).replace("MACROS", "{'c': 1}" if "+" in kind else "None").replace("FOLDER", str(folder))
    path = site.folder / "dags" / "ends.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    [found] = load(path, site.settings).versions
    run = site.run(found, run_id=kind, conf={"x": "a; b"})
    site.work(slots=2, environ={"OUTER": "out", "RQFLOW_VAR_SECRET": "secret", "RQFLOW__WORKER__PIPEFAIL": "true"})
    for made in (folder / "made", folder / "2024-01-01" / "also"):
        made.unlink(missing_ok=True)
    told = {}
    for name in site.states(run):
        event = site.end_of(run, name)
        log = [line.partition(",")[0][:100] for line in site.log(run, name).splitlines()]
        told[name] = {
            "state": event["state"], "reason": re.sub(r"\d+ MB", "MB", site.task(run, name).reason), "log": log, "xcoms": site.broker.xcoms(run.key, [name]).get(name),
            **{fact: event["facts"].get(fact) for fact in ("exit_code", "signal")},
        }
    return told


@pytest.mark.parametrize("kind", ["BashOperator+macros", "Own", "Around"])
@pytest.mark.parametrize("half", [0, 1])
def test_bash_ends_in_a_python_child_as_it_does_without_one(site: Site, tmp_path: Path, kind: str, half: int) -> None:
    folder = tmp_path / "data"
    (folder / "2024-01-01").mkdir(parents=True)
    (folder / "env").write_text("F=file")
    plain, found = ends(site, folder, "BashOperator", half), ends(site, folder, kind, half)
    known = {"elsewhere": "success", "templated": "success", "pipe": "failed"}
    assert {name: end["state"] for name, end in plain.items() if name in known} == {name: known[name] for name in known if name in plain}
    for name in {"refused", *(("much",) if kind == "Around" else ())} & plain.keys():
        # Here the Python child says why, and ends.
        assert "Traceback" not in "".join(found[name]["log"])
        for fact in ("log", "exit_code"):
            del found[name][fact], plain[name][fact]
    assert {name: (plain[name], end) for name, end in found.items() if end != plain[name]} == {}
