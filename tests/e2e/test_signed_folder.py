"""The folder of DAGs on a hub that has no key: what changes there waits for a person's signature, and the last signed version goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from rqflow import clock
from rqflow.actions import query, trigger, why_dag
from rqflow.actions.trigger import Given
from rqflow.deploy.checks import trust
from rqflow.settings import load
from rqflow.store import dags, events, workers
from rqflow.store.engine import reading
from rqflow.store.events import EventFilter
from tests.e2e.lab import Lab
from tests.profile import PATIENCE
from tests.signers import allow, person
from tests.waiting import until

FILE = """
from rqflow import DAG, BashOperator
with DAG("signed", schedule=None, is_paused_upon_creation=False):
    BashOperator(task_id="t", bash_command="echo {word}", queue="trusted")
"""
KEY, ALLOWED = "RQFLOW__SECURITY__SIGNING_KEY", "RQFLOW__SECURITY__ALLOWED_SIGNERS"


def write(path: Path, word: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(FILE.format(word=word))


def status(lab: Lab) -> str:
    with reading(lab.services.engine) as connection:
        found = dags.get(connection, "signed")
    return found.status if found else ""


def why(lab: Lab) -> str:
    return why_dag.dag(lab.services.broker, lab.services.engine, "signed").reason


def becomes(lab: Lab, word: str) -> None:
    until(lambda: status(lab) == word, patience=2 * PATIENCE, what=f"the DAG to be {word}")


def ran(lab: Lab) -> str:
    """Run the DAG and return what its task printed."""
    services = lab.services
    version = query.find_version(services.engine, "signed")
    run = trigger.by_hand(version, Given(), clock.utcnow())
    trigger.start(services.broker, services.engine, run, version, by="tester")
    lab.finish(run.run_id)
    return lab.run("run", "logs", run.run_id).stdout


def a_lab(new_lab: Callable[..., Lab], url: str, folder: Path) -> tuple[Lab, Mapping[str, str]]:
    """A hub where nobody has a key, a worker that trusts alice, and the environment of alice on the hub."""
    alice = person(folder / "keys", "alice@lab")
    environ: dict[str, Any] = {"RQFLOW__SECURITY__SIGNING": "true", "HOME": str(folder / "nobody")}
    lab = new_lab(redis_url=url, environ=environ)
    lab.worker("-Q", "trusted,default", environ={ALLOWED: str(allow(folder / "allowed", (alice, "")))})
    lab.start("scheduler", environ={"RQFLOW__SECURITY__SIGNING": "false"})
    until(lambda: any(one.verifies for one in recorded(lab)), what="the worker in the history")
    return lab, {KEY: str(alice.key)}


def recorded(lab: Lab) -> list[Any]:
    with reading(lab.services.engine) as connection:
        return workers.list_all(connection)


@pytest.mark.timeout(240)
def test_a_change_waits_for_a_signature_and_the_last_signed_version_goes_on(
    new_lab: Callable[..., Lab], lab_redis: str, tmp_path: Path,
) -> None:
    lab, signs = a_lab(new_lab, lab_redis, tmp_path)
    file = lab.home / "dags" / "signed.py"
    write(file, "one")
    becomes(lab, "paused, unsigned")
    assert "nobody has signed it" in why(lab)
    # Nobody is asked without a terminal, and without a key the ways out are told.
    assert "--yes" in lab.run("dag", "sync", "--sign", environ=signs, code=2).stderr
    assert "ssh-add" in lab.run("dag", "sync", "--sign", "--yes", code=4).stderr
    done = lab.run("dag", "sync", "--sign", "--yes", environ=signs).stderr
    assert 'bash_command="echo one"' in done
    assert status(lab) == "active"
    assert "one" in ran(lab)

    write(file, "two")
    becomes(lab, "active, unsigned")
    advised = {one["check"]: one["detail"] for one in (asdict(seen) for seen in trust.look(load(home=lab.home, environ=lab.environ)))}
    assert advised["unsigned DAGs"] == "versions wait for a signature: signed"
    assert "no SSH key" in advised["signing key"]
    assert "whoever can write into Redis" in advised["signatures"]
    assert "the last signed one is run" in why(lab)
    assert "the last signed one is run" in lab.run("dag", "show", "signed").stderr
    assert "one" in ran(lab)

    # Signed on another machine, where the folder is elsewhere; first with what does not fit.
    laptop = Lab(tmp_path / "laptop", environ=signs)
    other = laptop.home / "dags" / "signed.py"
    write(other, "three")
    laptop.run("dag", "sign", other)
    beside = file.with_name("signed.py.sig")
    beside.write_bytes(other.with_name("signed.py.sig").read_bytes())
    until(lambda: "it signs another version of signed than the file makes here: file signed.py, task t differ" in lab.logs(), patience=2 * PATIENCE,
          what="what does not fit to be told")
    assert status(lab) == "active, unsigned"
    write(other, "two")
    laptop.run("dag", "sign", other)
    beside.write_bytes(other.with_name("signed.py.sig").read_bytes())
    becomes(lab, "active")
    assert "two" in ran(lab)
    with reading(lab.services.engine) as connection:
        told = [one.event for one in events.search(connection, EventFilter(dag_id="signed", kinds={events.AUDIT}), limit=50)]
    assert (told.count("version_unsigned"), told.count("version_signed")) == (1, 1)


def test_a_person_who_submits_without_a_signature_is_told_at_once(new_lab: Callable[..., Lab], lab_redis: str, tmp_path: Path) -> None:
    lab, signs = a_lab(new_lab, lab_redis, tmp_path)
    off = {"RQFLOW__SECURITY__SIGNING": "false"}
    file = lab.dag(FILE.format(word="one"), "signed.py")
    said = lab.run("submit", file, "--run", environ=off, code=4).stderr
    assert "signed has tasks on the queue trusted, whose workers run only what somebody has signed" in said
    assert "security.signing" in said
    assert status(lab) == ""
    assert "run only what somebody has signed" in lab.run("run", "exec", "--no-follow", "--", "true", environ=off, code=4).stderr
    assert "there is no SSH key" in lab.run("submit", file, "--run", code=4).stderr
    done = lab.run("submit", file, "--run", "--no-follow", "-o", "json", environ=signs)
    assert '"run_id"' in done.stdout
    becomes(lab, "active")
