from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rqflow.broker.messages import Claim
from rqflow.broker.signed import Stored
from rqflow.dag.version import Version
from rqflow.security.trust import Refused, Trust
from rqflow.worker.admission import Admission
from tests.signers import Person, allow, person
from tests.unit.builders import a_run, a_version


class Kept:
    """What a broker has of versions."""

    def __init__(self, *versions: Version) -> None:
        self.versions = {version.sha: version for version in versions}

    def stored_version(self, sha: str) -> Stored:
        found = self.versions[sha]
        return Stored(sha, found.json.encode(), found.signatures)


@pytest.fixture
def people(tmp_path: Path) -> dict[str, Person]:
    return {name: person(tmp_path, name) for name in ("alice", "bob")}


@pytest.fixture
def admission(tmp_path: Path, people: dict[str, Person]) -> Admission:
    return Admission(Trust(allow(tmp_path / "allowed", *((one, "") for one in people.values()))))


def signed(version: Version, *people: Person) -> Version:
    return version.with_signatures(tuple(one.sign(version.json.encode()) for one in people))


def claim(version: Version, task_id: str, /, **more: Any) -> Claim:
    run, task = a_run(version), version.by_id[task_id]
    given: dict[str, Any] = {"run_key": run.key, "index": task.index, "task_id": task_id, "try_number": 1, "execution_id": "e", "job_id": "j",
                             "queue": task.queue, "version": version.sha, "started_at": 0}
    return Claim(**{**given, **more})


def names(found: Any) -> list[str]:
    return [one.principal for one in found]


def test_a_task_that_only_the_run_has_needs_one_person_for_it_and_for_the_files_of_the_later_version(
    admission: Admission, people: dict[str, Person],
) -> None:
    alice, bob = people["alice"], people["bob"]
    own = signed(a_version({"a": [], "b": []}), alice)
    later = signed(replace(a_version({"a": []}), description="later"), bob)
    broker, run = Kept(own, later), a_run(own)
    # Whoever has signed the later version has signed all of this one.
    assert names(admission.admit(broker, claim(own, "a"), run, later, own)) == ["bob"]  # type: ignore[arg-type]
    with pytest.raises(Refused, match="no one person has signed both"):
        admission.admit(broker, claim(own, "b"), run, later, own)  # type: ignore[arg-type]
    both = signed(later, bob, alice)
    assert names(admission.admit(Kept(own, both), claim(own, "b"), run, both, own)) == ["alice"]  # type: ignore[arg-type]


def test_signatures_that_came_since_count(admission: Admission, people: dict[str, Person], tmp_path: Path) -> None:
    (tmp_path / "limits").write_text("alice queues=other\nbob\n")
    strict = Admission(Trust(tmp_path / "allowed", limits_file=tmp_path / "limits"))
    version = signed(a_version({"a": []}), people["alice"])
    broker, run = Kept(version), a_run(version)
    with pytest.raises(Refused, match=r"signed by alice, whose line in security\.signer_limits does not allow the queue"):
        strict.admit(broker, claim(version, "a"), run, version)  # type: ignore[arg-type]
    broker.versions[version.sha] = signed(version, people["alice"], people["bob"])
    assert names(strict.admit(broker, claim(version, "a"), run, version)) == ["bob"]  # type: ignore[arg-type]


@pytest.mark.parametrize("verifies", [True, False])
def test_names_that_do_not_belong_together_are_refused_on_every_worker(verifies: bool, admission: Admission, people: dict[str, Person]) -> None:
    judge = admission if verifies else Admission(None)
    version = signed(a_version({"a": [], "b": []}), people["alice"])
    broker, run = Kept(version), a_run(version)
    assert names(judge.admit(broker, claim(version, "a"), run, version)) == (["alice"] if verifies else [])  # type: ignore[arg-type]
    for wrong in ({"run_key": "0" * 16}, {"index": 1}, {"index": 7}, {"index": -1}, {"task_id": "c"}):
        with pytest.raises(Refused):
            judge.admit(broker, claim(version, "a", **wrong), run, version)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="its version is one of"):
        judge.admit(broker, claim(version, "a"), run, replace(version, dag_id="other"))  # type: ignore[arg-type]
