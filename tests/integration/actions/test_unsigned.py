"""What the hub holds back of DAGs whose workers ask for a signature."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rqflow import clock
from rqflow.actions import submit, unsigned
from rqflow.dag.version import TaskSpec, Version
from rqflow.exceptions import NotPermitted
from rqflow.settings import Settings, load
from rqflow.store import clean, dags, signatures, workers
from rqflow.store.engine import reading, run_in_transaction
from rqflow.store.workers import WorkerRecord
from tests.integration.actions.hub import Hub
from tests.signers import Person, allow, person


def version(command: str, queue: str = "trusted", dag_id: str = "d") -> Version:
    task = TaskSpec(index=0, task_id="t", operator="bash", operator_name="BashOperator", queue=queue, fields={"bash_command": command})
    return Version(dag_id=dag_id, file="d.py", generation="native", tasks=(task,))


def signed(one: Version, by: Person) -> Version:
    return one.with_signatures((by.sign(one.json.encode()),))


@pytest.fixture
def trusting(hub: Hub) -> Hub:
    """A hub that knows a worker of the queue `trusted` which verifies, and one of `default` which does not."""
    now = clock.utcnow()
    run_in_transaction(hub.engine, lambda connection: workers.put(connection, [
        WorkerRecord(name="a.1", queues=["trusted"], seen_at=now, verifies=True), WorkerRecord(name="b.2", queues=["default"], seen_at=now)]))
    return hub


def active(hub: Hub) -> tuple[str | None, str | None]:
    """The command that new runs have, and the sha of what waits."""
    with reading(hub.engine) as connection:
        found = dags.latest_version(connection, "d")
        record = dags.get(connection, "d")
    return str(found.tasks[0].fields["bash_command"]) if found else None, record.unsigned if record else None


def register(hub: Hub, one: Version, *, holds: bool = True) -> submit.Registered:
    return submit.register(hub.broker, hub.engine, [one], holds=holds, paused_at_creation=False)[0]


def test_versions_of_other_queues_need_no_signature(trusting: Hub) -> None:
    assert register(trusting, version("one", "default")).held_by is None
    assert active(trusting) == ("one", None)


def test_a_new_version_waits_and_goes_when_it_is_signed(trusting: Hub, tmp_path: Path) -> None:
    alice = person(tmp_path, "alice")
    register(trusting, signed(version("one"), alice))
    held = register(trusting, version("two"))
    assert (held.held_by, active(trusting)) == (1, ("one", version("two").sha))
    with reading(trusting.engine) as connection:
        assert clean.old_versions(connection, clock.utcnow(), []) == []
    register(trusting, signed(version("two"), alice))
    assert active(trusting) == ("two", None)
    # What is signed stays so, whoever brings it again.
    assert register(trusting, version("one")).held_by is None
    assert active(trusting) == ("one", None)


def test_a_new_dag_is_paused_until_it_is_signed(trusting: Hub, tmp_path: Path) -> None:
    assert register(trusting, version("one")).pause_reason == unsigned.NEVER_SIGNED
    assert register(trusting, signed(version("one"), person(tmp_path, "alice"))).pause_reason is None


def test_a_person_is_refused_and_nothing_is_saved(trusting: Hub) -> None:
    with pytest.raises(NotPermitted, match="d has tasks on the queue trusted"):
        register(trusting, version("one"), holds=False)
    assert active(trusting) == (None, None)


def test_a_hub_with_the_trust_files_knows_whose_signature_counts(trusting: Hub, tmp_path: Path) -> None:
    alice, bob, eve = (person(tmp_path, name) for name in ("alice", "bob", "eve"))
    (tmp_path / "limits").write_text("alice\nbob dags=other\n")
    settings: Settings = load(home=tmp_path, environ={
        "RQFLOW__SECURITY__ALLOWED_SIGNERS": str(allow(tmp_path / "allowed", (alice, ""), (bob, ""))),
        "RQFLOW__SECURITY__SIGNER_LIMITS": str(tmp_path / "limits")})
    one = version("one")
    lacking = {who.name: bool(unsigned.lacking(trusting.engine, settings, [signed(one, who)])) for who in (alice, bob, eve)}
    assert lacking == {"alice": False, "bob": True, "eve": True}
    # Without the files anybody's counts, but not that of something else.
    assert not unsigned.lacking(trusting.engine, replace(settings, security=load(home=tmp_path, environ={}).security), [signed(one, eve)])
    assert unsigned.lacking(trusting.engine, load(home=tmp_path, environ={}), [one.with_signatures(signed(version("two"), eve).signatures)])


def test_signatures_of_several_people_are_kept_the_newest_first(trusting: Hub, tmp_path: Path) -> None:
    alice, bob = person(tmp_path, "alice"), person(tmp_path, "bob")
    one = version("one")
    for who in (alice, bob, alice):
        register(trusting, signed(one, who))
    with reading(trusting.engine) as connection:
        found = signatures.of(connection, [one.sha])[one.sha]
        again = dags.version(connection, one.sha)
    assert set(found) == {*signed(one, alice).signatures, *signed(one, bob).signatures}
    assert again is not None
    assert again.signatures == found
