"""A worker of root that runs each DAG under the account of who signed it: tasks, functions that are called, and what these ask the hub."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import accounts
from tests.accounts import Place
from tests.e2e.lab import Lab, states, tasks
from tests.signers import allow, person
from tests.waiting import until


@pytest.fixture
def place() -> Iterator[Place]:
    with accounts.place() as made:
        yield made


SOURCE = """
import os
from airflow import DAG
from airflow.models import Variable
from airflow.operators.bash import BashOperator
from airflow.operators.python import PythonOperator
from airflow.operators.trigger_dagrun import TriggerDagRunOperator

def look():
    print("the password is", Variable.get("db_password"))
    Variable.set("found_password", "trout fishing")
    print("and the other", Variable.get("found_password", default_var="trout fishing"))
    said = open("../spec.json").read() + str(dict(os.environ))
    assert "{redis}" not in said and "{key}" not in said
    return os.getuid()

def called(context):
    open("{shared}/called", "w").close()
    print("called with", Variable.get("db_password"))

with DAG("hers", on_success_callback=called):
    PythonOperator(task_id="look", python_callable=look)
    BashOperator(task_id="who", bash_command="id -un", on_success_callback=called)
    TriggerDagRunOperator(task_id="start", trigger_dag_id="hers", trigger_run_id="again", conf={"n": 1})
"""


@pytest.mark.timeout(240)
def test_what_a_person_has_signed_runs_under_her_account_and_asks_the_hub_by_its_worker(lab_redis: str, tmp_path: Path, place: Place) -> None:
    alice, bob = person(tmp_path / "keys", "alice@lab"), person(tmp_path / "keys", "bob@lab")
    allowed = allow(tmp_path / "allowed", (alice, ""), (bob, ""))
    (tmp_path / "limits").write_text(f"alice@lab user={place.ann} run_as={place.bob}\nbob@lab\n")
    lab = Lab(tmp_path / "lab", redis_url=lab_redis)
    try:
        lab.hub()
        lab.run("var", "set", "db_password", "hunter2secret")
        key = (lab.home / "fernet.key").read_text().strip()
        environ = {**lab.environ, "RQFLOW__SECURITY__ALLOWED_SIGNERS": str(allowed), "RQFLOW__SECURITY__SIGNER_LIMITS": str(tmp_path / "limits"),
                   "RQFLOW__WORKER__RUN_AS": "signer", "RQFLOW__WORKER__ACCOUNT_DIR": str(place.shared)}
        with (lab.root / "worker.log").open("wb") as log:
            lab.processes.append(subprocess.Popen([place.python, "-m", "rqflow.cli.main", "worker"], env=environ, cwd=accounts.ROOT, stdout=log,
                                                  stderr=log, stdin=subprocess.DEVNULL))
        until(lambda: lab.workers(), what="the worker")
        source = SOURCE.replace("{redis}", lab_redis.removeprefix("unix://")).replace("{key}", key).replace("{shared}", str(place.shared))
        lab.environ["RQFLOW__SECURITY__SIGNING"], lab.environ["RQFLOW__SECURITY__SIGNING_KEY"] = "true", str(alice.key)
        run = lab.outcome(lab.dag(source))
        assert states(run) == {"look": "success", "who": "success", "start": "success"}, [lab.task_log(run["run_id"], name) for name in states(run)]
        assert lab.task_log(run["run_id"], "who").startswith(f"{place.ann}\n")
        said = lab.task_log(run["run_id"], "look")
        assert ("the password is ***" in said, "and the other ***" in said) == (True, True)
        assert lab.json("var", "get", "found_password", "--show-secrets")["value"] == "trout fishing"
        lab.finish("again")

        def calls() -> list[str]:
            found = [*lab.show(run["run_id"])["callbacks"], *tasks(lab.show(run["run_id"]))["who"]["callbacks"]]
            return [call["output"] for call in found if call["ended_at"]]

        assert until(lambda: len(calls()) == 2 and calls(), what="both calls to end") == ["called with ***\n"] * 2
        assert (place.shared / "called").stat().st_uid == place.uid(place.ann)
        one = "from rqflow import DAG, BashOperator\nwith DAG('{0}'):\n    BashOperator(task_id='t', bash_command='id -un', run_as_user={1!r})\n"
        run = lab.outcome(lab.dag(one.format("asked", place.bob), "asked.py"))
        assert lab.task_log(run["run_id"], "t").startswith(f"{place.bob}\n")
        lab.environ["RQFLOW__SECURITY__SIGNING_KEY"] = str(bob.key)
        for name, wanted, reason in (("other", place.ann, "is not allowed here: neither worker.accounts nor run_as= of bob@lab has it"),
                                     ("none", None, "security.signer_limits gives bob@lab no account")):
            run = lab.outcome(lab.dag(one.format(name, wanted), f"{name}.py"))
            assert reason in tasks(run)["t"]["reason"]
    finally:
        lab.close()
    assert os.geteuid() == 0
