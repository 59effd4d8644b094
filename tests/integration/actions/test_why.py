"""Reliability 46 with a real Redis: tasks that wait for one thing each, and what `why` says of them and of what lifts it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import redis

from rqflow.actions import pools, reruns, scope, why
from rqflow.actions.run_now import run_now
from rqflow.actions.scope import Scope
from rqflow.broker import control, keys
from rqflow.dag.version import Version
from rqflow.exceptions import Conflict
from rqflow.scheduler.epoch import EpochKeeper
from rqflow.states import TaskState
from rqflow.store import events
from rqflow.store.engine import reading
from rqflow.store.runs import RunRecord
from tests.integration.actions.hub import Hub
from tests.integration.broker import playing
from tests.unit.builders import A_DATE, a_task, a_version

pytestmark = pytest.mark.parametrize("database", ["sqlite"])

Made = tuple[Version, RunRecord, str]


def a_worker(hub: Hub, queue: str = "default", *, state: str = "idle", labels: str = "") -> str:
    """Register a worker as RQ does; the broker of the hub plays what it does."""
    name = "h.dir.1"
    hub.db.sadd(keys.RQ_WORKERS, keys.RQ_WORKER + name)
    hub.db.hset(keys.RQ_WORKER + name, mapping={"queues": queue, "slots": "1", "state": state, "labels": labels, "hostname": "h"})
    return name


def upstream(hub: Hub) -> Made:
    version = a_version({"a": [], "b": ["a"]})
    return version, hub.start(version), "b"


def rule(hub: Hub) -> Made:
    version = a_version({"a": [], "b": ["a"]}, specs=[a_task("b", trigger_rule="one_failed")])
    return version, hub.start(version), "b"


def pool(hub: Hub) -> Made:
    pools.put(hub.broker, hub.engine, "disk", 1, by="ann")
    version = a_version(["a", "b"], each={"pool": "disk"})
    run = hub.start(version)
    taken, = playing.claim(hub.broker)
    return version, run, "a" if taken.task_id == "b" else "b"


def concurrency(hub: Hub) -> Made:
    version = a_version(["a", "b"], max_active_tasks=1)
    run = hub.start(version)
    taken, = playing.claim(hub.broker)
    return version, run, "a" if taken.task_id == "b" else "b"


def own_limit(hub: Hub) -> Made:
    version = a_version(specs=[a_task("a", max_active_per_dag=1)])
    hub.start(version)
    second = hub.start(version, day=1)
    playing.claim(hub.broker)
    return version, second, "a"


def runs(hub: Hub) -> Made:
    version = a_version(max_active_runs=1)
    hub.start(version)
    return version, hub.start(version, day=1), "a"


def past(hub: Hub) -> Made:
    version = a_version(specs=[a_task("a", depends_on_past=True)], schedule="@daily", start_date=A_DATE.isoformat())
    first = hub.start(version)
    playing.play(hub.broker, {"a": TaskState.FAILED})
    hub.forget(first)
    return version, hub.start(version, day=1), "a"


def label(hub: Hub) -> Made:
    a_worker(hub)
    version = a_version(specs=[a_task("a", worker_labels=("gpu",))])
    return version, hub.start(version), "a"


def no_worker(hub: Hub) -> Made:
    a_worker(hub, "other")
    version = a_version()
    return version, hub.start(version), "a"


def busy(hub: Hub) -> Made:
    name = a_worker(hub)
    version = a_version(["a", "b"], specs=[a_task("a", weight=9)])
    run = hub.start(version)
    playing.claim(hub.broker, 1)
    hub.db.sadd(f"{keys.RQ_WORKER}{name}:executions", "x")
    return version, run, "b"


def paused_worker(hub: Hub) -> Made:
    a_worker(hub, state="suspended")
    version = a_version()
    return version, hub.start(version), "a"


def paused_queue(hub: Hub) -> Made:
    a_worker(hub)
    control.pause_queue(hub.broker, "default", "ann")
    version = a_version()
    return version, hub.start(version), "a"


def retry(hub: Hub) -> Made:
    version = a_version(specs=[a_task("a", retries=2)])
    run = hub.start(version)
    one, = playing.claim(hub.broker)
    playing.tell(hub.broker, playing.end(one, TaskState.UP_FOR_RETRY, retry_in=108000.0, reason="exit code 3"))
    return version, run, "a"


def start_date(hub: Hub) -> Made:
    version = a_version(["a", "b"], specs=[a_task("a", start_date=(A_DATE + timedelta(days=9)).isoformat())])
    return version, hub.start(version), "a"


def followed(hub: Hub) -> Made:
    """A task that was cleared follows a version in which it has another pool, which is full."""
    version, later = a_version(["a", "b"]), a_version(["a", "b"], each={"pool": "disk"})
    run = hub.start(version)
    playing.play(hub.broker)
    pools.put(hub.broker, hub.engine, "disk", 1, by="ann")
    hub.start(later, day=1)
    playing.claim(hub.broker)
    hub.record()
    reruns.clear(hub.broker, hub.engine, scope.of_run(hub.broker, hub.engine, run, Scope(selector="a")), by="ann")
    playing.claim(hub.broker)
    return version, run, "a"


def began_anew(hub: Hub) -> Made:
    version = a_version()
    run = hub.start(version)
    hub.db.hset(keys.EPOCH, "run_id", "another")
    return version, run, "a"


CASES: dict[Callable[[Hub], Made], tuple[str, str]] = {
    upstream: ("it waits for a (queued)", "the end of that"),
    rule: ("trigger rule one_failed: it waits for a (queued)", "the end of that"),
    pool: ("pool disk is full: 1 of 1 slots are in use, held by ", "a free slot, or `rqflow pool set disk N`"),
    concurrency: ("max_active_tasks of d reached, held by ", "the end of one of those"),
    own_limit: ("max_active_tis_per_dag of a reached, held by a of manual__", "the end of one of those"),
    runs: ("its run waits: max_active_runs of its DAG is reached by manual__", "the end of one of those"),
    past: ("depends_on_past: a of the run before, manual__2024-01-01T00:00:00+00:00, is failed", "`rqflow task clear`"),
    label: ("waits for a worker with labels gpu", "rqflow worker --label gpu"),
    no_worker: ("no live worker serves the queue default", "`rqflow worker -Q default`"),
    busy: ("all slots of h.dir.1 (1/1) are taken", "the end of a task there"),
    paused_worker: ("the workers that serve the queue default are paused: h.dir.1", "`rqflow worker resume h.dir.1`"),
    paused_queue: ("the queue default is paused since", "`rqflow queue resume default`"),
    retry: ("it is due at 20", "rqflow scheduler"),
    start_date: ("its run has no instance of it: the logical date lies outside of its start_date 2024-01-10", ""),
    followed: ("pool disk is full: 1 of 1 slots are in use, held by ", "`rqflow pool set disk N`"),
    began_anew: ("Redis began anew, and no scheduler runs that puts it right", "`rqflow scheduler`"),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_r46_each_waiting_task_has_one_true_reason(case: Callable[[Hub], Made], hub: Hub) -> None:
    EpochKeeper(hub.broker, hub.engine).believe()
    version, run, task_id = case(hub)
    found = why.task(hub.broker, version, run.run_key, version.by_id[task_id].index)
    reason, lifted_by = CASES[case]
    assert (reason in found.reason, lifted_by in found.lifted_by, bool(found.lifted_by)) == (True, True, bool(lifted_by)), found
    if found.state is not TaskState.REMOVED:
        assert found in why.run(hub.broker, version, run.run_key)


def test_a_run_of_many_waiting_tasks_is_explained_in_as_many_questions_as_one_of_few(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    EpochKeeper(hub.broker, hub.engine).believe()
    pools.put(hub.broker, hub.engine, "disk", 1, by="ann")
    trips, asked = [], []
    send = redis.connection.AbstractConnection.send_packed_command

    def sent(self: redis.connection.AbstractConnection, *args: object, **given: object) -> object:
        trips.append(1)
        return send(self, *args, **given)

    for number in (3, 30):
        version = a_version({f"t{one}": [] for one in range(number)}, dag_id=f"of{number}", each={"pool": "disk"})
        run = hub.start(version)
        playing.claim(hub.broker, number)
        why.run(hub.broker, version, run.run_key)
        with monkeypatch.context() as patched:
            patched.setattr(redis.connection.AbstractConnection, "send_packed_command", sent)
            trips.clear()
            found = why.run(hub.broker, version, run.run_key)
        asked.append(len(trips))
        assert len([one for one in found if "pool disk is full" in one.reason]) >= number - 1
        for claim in playing.claim(hub.broker, number):
            playing.tell(hub.broker, playing.end(claim))
    assert asked[1] <= asked[0] + 2, asked


@pytest.mark.parametrize("case", [pool, concurrency, own_limit, past, followed], ids=lambda case: case.__name__)
def test_what_is_parked_starts_at_once_when_a_person_says_so(case: Callable[[Hub], Made], hub: Hub) -> None:
    EpochKeeper(hub.broker, hub.engine).believe()
    version, run, task_id = case(hub)
    index = version.by_id[task_id].index
    before = {name: limit.used for name, limit in hub.broker.pools().items()}
    run_now(hub.broker, hub.engine, run, index, task_id, by="ann")
    one, = [claim for claim in playing.claim(hub.broker) if (claim.run_key, claim.task_id) == (run.run_key, task_id)]
    playing.tell(hub.broker, playing.end(one))
    assert hub.states(run)[task_id] == "success"
    assert {name: limit.used for name, limit in hub.broker.pools().items()} == before
    hub.record()
    with reading(hub.engine) as connection:
        assert [one.who for one in events.search(connection) if one.event == "task_run_now"] == ["ann"]


def test_a_label_that_nobody_has_is_not_overridden(hub: Hub) -> None:
    EpochKeeper(hub.broker, hub.engine).believe()
    _, run, _ = label(hub)
    with pytest.raises(Conflict, match=r"a of run manual__.* waits for a worker with labels gpu"):
        run_now(hub.broker, hub.engine, run, 0, "a", by="ann")
    assert playing.claim(hub.broker) == []
    assert [one.task_id for one in playing.claim(hub.broker, labels=["gpu"])] == ["a"]
    with pytest.raises(Conflict, match="neither waits for its time nor is it parked"):
        run_now(hub.broker, hub.engine, run, 0, "a", by="ann")
