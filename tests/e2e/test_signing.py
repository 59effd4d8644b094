"""Workers that run only what was signed by somebody whom they trust: whatever else reaches them is refused before it is parsed, and said."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from rqflow import clock
from rqflow.actions import logs, query, survey, trigger
from rqflow.actions.trigger import Given
from rqflow.broker import control, keys, signed
from rqflow.dag.run import RunInfo
from rqflow.dag.version import TaskSpec, Version
from rqflow.exceptions import NotFound
from rqflow.store import events
from rqflow.store.engine import reading
from rqflow.store.events import EventFilter
from tests.e2e.lab import Lab, states
from tests.services import redis_server
from tests.signers import Person, allow, keygen, person
from tests.waiting import until

# The commands of a person take seconds each while the machine does other things.
pytestmark = pytest.mark.timeout(240)

#: The queue of the worker that verifies, and that of RQ's own one.
QUEUE, STOCK = "trusted", "stock"
ALLOWED = "RQFLOW__SECURITY__ALLOWED_SIGNERS"


@dataclass
class Guarded:
    """A lab with a worker that verifies, and people who sign."""

    lab: Lab
    people: Mapping[str, Person]
    #: A file that a task leaves here has run.
    evidence: Path
    count: int = 0

    def version(self, command: str = "", *, dag_id: str = "", queue: str = QUEUE, **fields: Any) -> Version:
        """A DAG of one task that leaves evidence, which would be tried again when it failed."""
        self.count += 1
        dag_id = dag_id or f"d{self.count}"
        command = command or f"touch {self.evidence}/{dag_id}"
        task = TaskSpec(index=0, task_id="t", operator="bash", operator_name="BashOperator", queue=queue, retries=3, retry_delay=0.1,
                        fields={"bash_command": command, "skip_exit_code": []}, template_fields=("bash_command",), **fields)
        return Version(dag_id=dag_id, file=f"{dag_id}.py", generation="native", tasks=(task,))

    def signed(self, version: Version, *names: str, namespace: str = "rqflow-dag") -> Version:
        return replace(version, signatures=tuple(self.people[name].sign(version.json.encode(), namespace) for name in names))

    def start(self, version: Version, conf: Mapping[str, Any] | None = None) -> RunInfo:
        self.count += 1
        run = trigger.by_hand(version, Given(run_id=f"r{self.count}", conf=conf or {}), clock.utcnow())
        trigger.start(self.lab.services.broker, self.lab.services.engine, run, version, by="tester")
        return run

    def outcome(self, version: Version) -> dict[str, Any]:
        return self.lab.finish(self.start(version).run_id)

    def refusal(self, run: RunInfo) -> str:
        """Return why the task of a run was refused, which stands in its log and in the history; it was not tried again."""
        found = self.lab.finish(run.run_id)
        task, = found["tasks"]
        assert (found["state"], task["try_number"]) == ("failed", 1), found
        with reading(self.lab.services.engine) as connection:
            told = [one.detail for one in events.search(connection, EventFilter(run_key=run.key), limit=50) if one.event == "failed" and one.task_id]
        assert told == [task["reason"]]
        assert task["reason"] in self.log(run).replace("\n", " ")
        assert not (self.evidence / run.dag_id).exists()
        return str(task["reason"])

    def log(self, run: RunInfo) -> str:
        """Return the log of the task of a run that has ended."""
        services = self.lab.services
        shown = query.show(services.broker, services.engine, run.key)

        def look() -> bytes:
            with contextlib.suppress(NotFound):
                return b"".join(logs.read(services.settings, shown, "t", 1))
            return b""

        return until(look, what="the log").decode()

    def tampered(self, version: Version, change: Any) -> RunInfo:
        """Start a run while its queue gives no work, let somebody who can write into Redis change something, and let it go on."""
        broker = self.lab.services.broker
        control.pause_queue(broker, QUEUE, "tester")
        run = self.start(version)
        change(run, self.lab.services.connection)
        control.resume_queue(broker, QUEUE)
        return run


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("signing")
    people = {name: person(folder / "keys", f"{name}@lab") for name in ("alice", "bob", "carol", "dave", "eve")}
    allowed = allow(folder / "allowed", (people["alice"], 'namespaces="rqflow-dag"'), (people["bob"], ""), (people["dave"], ""),
                    (people["carol"], 'valid-before="20200101"'))
    keygen("-q", "-k", "-f", folder / "revoked", f"{people['dave'].key}.pub")
    (folder / "limits").write_text("alice@lab\nbob@lab dags=bob_* queues=trusted\ncarol@lab\ndave@lab\n")
    environ = {ALLOWED: str(allowed), "RQFLOW__SECURITY__REVOKED_KEYS": str(folder / "revoked"),
               "RQFLOW__SECURITY__SIGNER_LIMITS": str(folder / "limits")}
    evidence = folder / "evidence"
    evidence.mkdir()
    with redis_server(folder, "--appendonly", "yes") as url:
        lab = Lab(folder / "lab", redis_url=url)
        try:
            lab.hub()
            lab.worker("-Q", QUEUE, "-n", "2", environ=environ)
            yield Guarded(lab, people, evidence)
            # Whatever was tried on it, it lives and works.
            assert all(process.poll() is None for process in lab.processes), lab.logs()
        finally:
            lab.close()


def test_what_a_trusted_person_has_signed_runs(guarded: Guarded) -> None:
    version = guarded.version()
    others = [guarded.signed(guarded.version(), "eve", "alice", "carol"), guarded.signed(guarded.version(dag_id="bob_1"), "bob")]
    runs = [guarded.start(one) for one in (guarded.signed(version, "alice"), *others)]
    assert [guarded.lab.finish(run.run_id)["state"] for run in runs] == ["success"] * 3
    assert (guarded.evidence / version.dag_id).exists()


def test_what_no_trusted_key_has_signed_is_refused_without_a_retry_and_says_what_to_do(guarded: Guarded) -> None:
    version, sign = guarded.version, guarded.signed
    good = sign(version(), "alice")
    runs = [(why, guarded.start(one)) for why, one in (
        ("is not signed", version()), (guarded.people["eve"].fingerprint, sign(version(), "eve")), ("has expired", sign(version(), "carol")),
        ("which is revoked", sign(version(), "dave")), ("was made for 'file'", sign(version(), "alice", namespace="file")),
        ("changed afterwards", replace(version(), signatures=good.signatures)), ("no SSH signature", replace(version(), signatures=("x" * 99,))),
        ("signed by bob@lab, whose line in security.signer_limits does not allow the DAG", sign(version(), "bob")),
    )]
    for why, run in runs:
        said = guarded.refusal(run)
        assert why in said
        assert "rqflow submit FILE" in said


def test_a_version_that_is_changed_in_redis_is_refused(guarded: Guarded) -> None:
    version = guarded.signed(guarded.version("true"), "alice")

    def change(run: RunInfo, redis: Any) -> None:
        redis.hset(keys.VERSION + version.sha, signed.JSON, version.json.replace("true", f"touch {guarded.evidence}/{run.dag_id}"))

    assert "is something else" in guarded.refusal(guarded.tampered(version, change))


def test_versions_that_are_none_are_refused(guarded: Guarded) -> None:
    runs = []
    for forged in ("", "not JSON", "[]", '{"format":1}', "{" * 5000, "\0\x1b[2J"):
        version = guarded.signed(guarded.version(), "alice")
        runs.append(guarded.tampered(version, lambda _, redis, sha=version.sha, text=forged: redis.hset(keys.VERSION + sha, signed.JSON, text)))
    for run in runs:
        assert "is something else" in guarded.refusal(run)


def test_a_signed_version_of_another_dag_is_refused_under_the_name_of_this_one(guarded: Guarded) -> None:
    version, other = guarded.signed(guarded.version(), "alice"), guarded.signed(guarded.version(), "alice")
    guarded.outcome(other)

    def change(run: RunInfo, redis: Any) -> None:
        redis.hset(keys.RUN + run.key, "version", other.sha)

    said = guarded.refusal(guarded.tampered(version, change))
    assert f"its version is one of {other.dag_id}, and its run one of {version.dag_id}" in said


def test_a_run_under_the_key_of_another_one_is_refused(guarded: Guarded) -> None:
    version, other = guarded.signed(guarded.version(), "alice"), guarded.signed(guarded.version(), "alice")
    first = guarded.start(other)
    guarded.lab.finish(first.run_id)

    def change(run: RunInfo, redis: Any) -> None:
        redis.hset(keys.RUN + run.key, mapping={"info": first.to_json(), "version": other.sha})

    run = guarded.tampered(version, change)
    task = guarded.lab.finish(run.run_id)["tasks"][0]
    assert "what lies under the key of the run is another one" in task["reason"]


def test_a_task_that_was_signed_for_another_queue_is_refused(guarded: Guarded) -> None:
    version = guarded.signed(guarded.version(queue="elsewhere"), "alice")

    def change(run: RunInfo, redis: Any) -> None:
        row = json.loads(redis.hget(keys.VERSION + version.sha, "0"))
        redis.hset(keys.VERSION + version.sha, "0", json.dumps({**row, "q": QUEUE}))
        ready = keys.READY
        for member, score in redis.zrange(ready + "elsewhere", 0, -1, withscores=True):
            redis.zadd(ready + QUEUE, {member: score})

    assert "it came from the queue trusted, and was signed for elsewhere" in guarded.refusal(guarded.tampered(version, change))


def test_what_was_refused_runs_when_it_is_signed_and_let_run_again(guarded: Guarded) -> None:
    version = guarded.version()
    run = guarded.start(version)
    guarded.refusal(run)
    guarded.start(guarded.signed(version, "alice"))
    guarded.lab.services.broker.clear(run.key, [0], "tester")
    assert until(lambda: states(guarded.lab.show(run.run_id)) == {"t": "success"}, what="the cleared task to run")


def test_a_later_version_that_a_task_follows_must_be_signed_too(guarded: Guarded) -> None:
    own = guarded.signed(guarded.version("exit 1", dag_id="followed"), "alice")
    own = guarded.signed(replace(own, tasks=(replace(own.tasks[0], retries=0),)), "alice")
    later = replace(own, tasks=(replace(own.tasks[0], fields={**own.tasks[0].fields, "bash_command": f"touch {guarded.evidence}/followed"}),),
                    signatures=())
    run = guarded.start(own)
    guarded.lab.finish(run.run_id)
    broker = guarded.lab.services.broker
    broker.clear(run.key, [0], "tester", version=later)
    task = until(lambda: next((one for one in guarded.lab.show(run.run_id)["tasks"] if "refused" in (one["reason"] or "")), None),
                 what="the cleared task to be refused")
    assert "is not signed" in task["reason"]
    assert not (guarded.evidence / "followed").exists()
    broker.clear(run.key, [0], "tester", version=guarded.signed(later, "alice"))
    assert until(lambda: (guarded.evidence / "followed").exists(), what="the signed version to run")


def test_a_stock_worker_refuses_what_is_not_signed(guarded: Guarded) -> None:
    lab = guarded.lab
    lab.environ[ALLOWED] = str(guarded.evidence.parent / "allowed")
    try:
        lab.stock_worker(STOCK)
    finally:
        del lab.environ[ALLOWED]
    good = guarded.start(guarded.signed(guarded.version(queue=STOCK), "alice"))
    bad = guarded.start(guarded.version(queue=STOCK))
    assert "is not signed" in guarded.refusal(bad)
    assert lab.finish(good.run_id)["state"] == "success"


def test_callbacks_are_verified_like_tasks(guarded: Guarded) -> None:
    source = f"""
        from rqflow import DAG, BashOperator
        def told(context):
            open("{guarded.evidence}/" + context["dag"].dag_id + ".called", "w").close()
        for name in ("called", "uncalled"):
            with DAG(name, on_failure_callback=told):
                BashOperator(task_id="t", bash_command="exit 1", queue="{QUEUE}")
        """
    lab = guarded.lab
    good, bad = (guarded.signed(one, "alice") for one in survey.one(lab.dag(source, "back.py"), lab.services.settings).versions)

    def change(run: RunInfo, redis: Any) -> None:
        # Where the hub puts it for the call; it leaves what is there.
        redis.set(keys.CALLBACK_VERSION + bad.sha, bad.json.replace(".called", ".evil"))

    first, second = guarded.start(good), guarded.tampered(bad, change)

    def calls(run: RunInfo) -> list[dict[str, Any]]:
        found = lab.show(run.run_id)["callbacks"]
        return found if found and all(one["ended_at"] for one in found) else []

    call, = until(lambda: calls(first), what="the signed callback")
    assert call["state"] == "success", call
    assert (guarded.evidence / "called.called").exists()
    call, = until(lambda: calls(second), what="the forged callback")
    assert (call["state"], "is something else" in call["reason"]) == ("failed", True)
    assert not list(guarded.evidence.glob("*.evil"))
