"""A run in Redis from its creation to its end: chaining, retries, repeated and stale requests, and what RQ shows of it."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import redis
from rq.job import Job
from rq.queue import Queue
from rq.registry import DeferredJobRegistry, FinishedJobRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer

from rqflow.broker import creation, faults, keys, sources, steps
from rqflow.broker.broker import Broker
from rqflow.broker.events import EventStream
from rqflow.broker.messages import Due
from rqflow.broker.rows import job_id
from rqflow.broker.watch import Held, Watch
from rqflow.dag.trigger_rule import Counts, Decision, TriggerRule, decide
from rqflow.exceptions import BrokerError
from rqflow.states import RunState, TaskState
from tests.epoch import open_epoch
from tests.integration.broker.playing import claim, end, play, states, tell
from tests.lua_budget import set_budget
from tests.unit.builders import a_run, a_task, a_version, an_empty_task
from tests.waiting import until

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each step touch one edge only, and leave the rest to the next."""
    set_budget(monkeypatch, 1)


def test_a_diamond_runs_in_order(broker: Broker) -> None:
    version = a_version(DIAMOND)
    run = a_run(version)
    broker.create_run(run, version)
    assert play(broker) in (["a", "b", "c", "d"], ["a", "c", "b", "d"])
    assert broker.run_status(run.key).state is RunState.SUCCESS
    assert broker.live_runs() == []


def test_the_lua_trigger_rules_are_those_of_python(db: redis.Redis) -> None:
    shared = sources.script("turn").split("\nbegin_call()\n")[0] + "\nbegin_call()"
    script = db.register_script(f"{shared}\nreturn decide(ARGV[1], tonumber(ARGV[2]), cjson.decode(ARGV[3])) or 'wait'")
    names = {**{decision: decision.value for decision in Decision}, Decision.SKIP: "skipped", Decision.CANCEL: "cancelled"}
    classes = {"s": "success", "f": "failed", "u": "upstream_failed", "k": "skipped", "x": "cancelled", "r": "removed"}
    for rule in TriggerRule:
        for total in range(4):
            for numbers in itertools.product(range(total + 1), repeat=6):
                if sum(numbers) <= total:
                    counts = Counts(total=total, **dict(zip(classes.values(), numbers, strict=True)))
                    lua = script(args=[rule.value, total, json.dumps(dict(zip(classes, numbers, strict=True)))]).decode()
                    assert lua == names[decide(rule, counts)], (rule, counts)


def test_a_failed_task_makes_what_needs_it_upstream_failed_and_the_run_failed(broker: Broker) -> None:
    version = a_version({"a": [], "b": ["a"], "c": ["b"], "other": []})
    run = a_run(version)
    broker.create_run(run, version)
    play(broker, {"a": TaskState.FAILED})
    assert states(broker, run.key) == {"a": "failed", "b": "upstream_failed", "c": "upstream_failed", "other": "success"}
    assert broker.run_status(run.key).state is RunState.FAILED


def test_r25_a_child_never_runs_when_rqs_keys_of_its_failed_parent_are_gone(broker: Broker, db: redis.Redis) -> None:
    version = a_version(DIAMOND)
    run = a_run(version)
    broker.create_run(run, version)
    tell(broker, *(end(c) for c in claim(broker)))
    b, c = sorted(claim(broker), key=lambda each: each.task_id)
    tell(broker, end(b, TaskState.FAILED))
    db.delete(keys.RQ_JOB + b.job_id, keys.RQ_FAILED + "default")
    tell(broker, end(c))
    assert claim(broker) == []
    assert states(broker, run.key)["d"] == "upstream_failed"


def test_r27_both_parents_ending_at_once_release_the_child_once(new_broker: Callable[[str], Broker], db: redis.Redis) -> None:
    one, two = new_broker("w1"), new_broker("w2")
    version = a_version(DIAMOND, max_active_runs=50)
    for number in range(50):
        one.create_run(a_run(version, run_id=f"r{number}"), version)
        tell(one, end(claim(one)[0]))
        first, second = claim(one, 1)[0], claim(two, 1)[0]
        tell(one, end(first))
        tell(two, end(second))
        assert db.llen(keys.RQ_QUEUE + "default") == 1
        assert [c.task_id for c in claim(two)] == ["d"]
        assert claim(one) == []


def test_a_clear_during_the_delay_of_a_retry_leaves_the_ended_try_its_number(broker: Broker) -> None:
    version = a_version(["a"], each={"retries": 1})
    run = a_run(version)
    broker.create_run(run, version)
    tell(broker, end(claim(broker)[0], TaskState.UP_FOR_RETRY, retry_in=60.0))
    broker.clear(run.key, [0], "somebody")
    again = claim(broker)[0]
    assert (again.try_number, again.max_tries) == (2, 3)


def test_a_retry_that_a_person_starts_at_once_follows_the_latest_version(broker: Broker) -> None:
    version = a_version(["a", "b"], each={"retries": 1})
    later = a_version(["a", "b", "new"], each={"retries": 1, "queue": "gpu"})
    run = a_run(version)
    broker.create_run(run, version)
    for one in claim(broker, wanted=2):
        tell(broker, end(one, TaskState.UP_FOR_RETRY, retry_in=60.0))
    broker.run_now(run.key, 0, version=later)
    assert [(one.task_id, one.try_number, one.version) for one in claim(broker, queues=["gpu"])] == [("a", 2, later.sha)]
    broker.run_now(run.key, 1, version=version)
    assert [(one.task_id, one.try_number, one.version) for one in claim(broker)] == [("b", 2, version.sha)]


def test_a_try_that_gives_its_slot_back_goes_on_as_the_same_try(broker: Broker, db: redis.Redis) -> None:
    run = a_run(version := a_version(["a"]))
    broker.create_run(run, version)
    first = claim(broker)[0]
    assert (first.waited, first.looks) == (0.0, 0)
    later = {"state": TaskState.UP_FOR_RESCHEDULE, "retry_in": 60.0, "duration": 5.0}
    tell(broker, end(first, xcoms={"seen": "1"}, **later))
    assert states(broker, run.key) == {"a": "up_for_reschedule"}
    assert broker.run_now(run.key, 0) is TaskState.UP_FOR_RESCHEDULE
    second = claim(broker)[0]
    assert (second.try_number, second.looks) == (1, 1)
    assert 5.0 <= second.waited < 60.0
    assert broker.xcoms(run.key) == {"a": {"seen": "1"}}
    tell(broker, end(second, **later))
    broker.run_now(run.key, 0)
    third = claim(broker)[0]
    assert (third.try_number, third.looks) == (1, 2)
    assert third.waited > second.waited
    tell(broker, end(third))
    told = [event for _, fields in db.xrange(keys.EVENTS) for event in json.loads(fields[b"e"]) if event["kind"] == "ti" and event.get("started_at")]
    assert [event["state"] for event in told] == ["running", *["up_for_reschedule", "queued", "running"] * 2, "success"]
    assert len({event["started_at"] for event in told[1:]}) == 1, "what follows tells when the try began for the first time"


def test_the_next_try_of_a_sensor_waits_anew(broker: Broker) -> None:
    version = a_version(["a"], each={"retries": 1})
    run = a_run(version)
    broker.create_run(run, version)
    tell(broker, end(claim(broker)[0], TaskState.UP_FOR_RESCHEDULE, retry_in=60.0, duration=5.0, xcoms={"seen": "1"}))
    broker.run_now(run.key, 0)
    tell(broker, end(claim(broker)[0], TaskState.UP_FOR_RETRY))
    again = claim(broker)[0]
    assert (again.try_number, again.waited, again.looks) == (2, 0.0, 0)
    assert broker.xcoms(run.key) == {}


def test_a_marked_task_that_ran_says_who_marked_it(broker: Broker) -> None:
    version = a_version(["a"])
    run = a_run(version)
    broker.create_run(run, version)
    running = claim(broker)[0]
    broker.mark(run.key, [0], TaskState.SUCCESS, "somebody")
    tell(broker, end(running, TaskState.FAILED, reason="killed by signal 15 (TERM)"))
    status = broker.task_statuses(run.key)[0]
    assert (status.state, status.reason) == (TaskState.SUCCESS, "marked success by somebody")


def test_a_mark_on_a_task_that_was_lost_does_not_stop_its_next_try(broker: Broker) -> None:
    version = a_version(["a"])
    run = a_run(version)
    broker.create_run(run, version)
    running = claim(broker)[0]
    broker.mark(run.key, [0], TaskState.SUCCESS, "somebody")
    tell(broker, end(running, TaskState.LOST))
    broker.clear(run.key, [0], "somebody")
    again = claim(broker)[0]
    assert broker.beat({again.execution_id: (again.run_key, again.index, again.try_number)}).cancel == ()


def test_a_cancel_that_was_broken_off_spares_what_is_cleared_after_the_end(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    small_steps(monkeypatch)
    version = a_version(["a", "b", "c"])
    run = a_run(version)
    broker.create_run(run, version)
    running = {each.index: each for each in claim(broker)}
    tell(broker, end(running[1]), end(running[2]))
    assert broker.steps.call("cancel", {"run": run.key, "by": "somebody"})["unfinished"] == [run.key]
    broker.turn(queues=(), wanted=0, ends=[end(running[0], TaskState.FAILED)])
    assert (broker.run_status(run.key).state, broker.clear(run.key, [2], "somebody")) == (RunState.RUNNING, [2]), "it has not ended before all is done"
    broker.advance_all([run.key])
    assert broker.run_status(run.key).state is RunState.CANCELLED
    broker.clear(run.key, [2], "somebody")
    assert [each.index for each in claim(broker)] == [2]


def test_a_stock_worker_gets_no_task_that_a_clear_is_about_to_take_back(broker: Broker, monkeypatch: pytest.MonkeyPatch, db: redis.Redis) -> None:
    small_steps(monkeypatch)
    version = a_version({"a": [], **{name: ["a"] for name in "bcdef"}})
    run = a_run(version)
    broker.create_run(run, version)
    tell(broker, end(claim(broker)[0]))
    clear = {"run": run.key, "indices": [0], "state": "pending", "by": "somebody", "retries": {"0": 0}}
    assert broker.steps.call("rewrite", clear)["unfinished"] == [run.key]
    popped = db.rpop(keys.RQ_QUEUE + "default")
    task_id = json.loads(db.hget(keys.RQ_JOB + popped.decode(), "data"))[2][1]
    assert broker.claim_job(run.key, task_id, "e1") == "a change of its run is still under way"
    assert popped in db.lrange(keys.RQ_QUEUE + "default", 0, -1), "it has its place on RQ's list again"
    broker.advance_all([run.key])
    assert play(broker)[0] == "a"


def test_all_skipped_upstream_skips_and_the_run_ends(broker: Broker) -> None:
    version = a_version({"a": [], "b": [], "c": ["a", "b"], "d": ["c"]})
    run = a_run(version)
    broker.create_run(run, version)
    play(broker, {"a": TaskState.SKIPPED, "b": TaskState.SKIPPED})
    assert states(broker, run.key) == {"a": "skipped", "b": "skipped", "c": "skipped", "d": "skipped"}
    assert broker.run_status(run.key).state is RunState.SUCCESS


def test_what_a_branch_skipped_stays_skipped_when_another_upstream_task_is_cleared(broker: Broker) -> None:
    version = a_version({"branch": [], "other": [], "left": ["branch", "other"], "below": ["left"]})
    run = a_run(version)
    broker.create_run(run, version)
    branch, other = sorted(claim(broker), key=lambda it: it.task_id)
    left = next(task.index for task in version.tasks if task.task_id == "left")
    tell(broker, end(branch, skip=(left,)), end(other, TaskState.FAILED))
    assert states(broker, run.key)["left"] == states(broker, run.key)["below"] == "skipped"
    broker.clear(run.key, [other.index], "somebody")
    assert play(broker) == ["other"]
    assert states(broker, run.key) == {"branch": "success", "other": "success", "left": "skipped", "below": "skipped"}
    broker.clear(run.key, [branch.index], "somebody")
    assert play(broker) == ["branch", "left", "below"]


def test_r28_cancelling_a_parent_cancels_its_children(broker: Broker) -> None:
    version = a_version({"a": [], "b": ["a"], "c": ["b"]})
    run = a_run(version)
    broker.create_run(run, version)
    assert broker.cancel_task(run.key, "a", "me") == "cancelled"
    assert states(broker, run.key) == {"a": "cancelled", "b": "cancelled", "c": "cancelled"}
    assert broker.run_status(run.key).state is RunState.CANCELLED


def test_a_cancelled_run_waits_for_what_runs(broker: Broker) -> None:
    version = a_version({"a": [], "b": ["a"]})
    run = a_run(version)
    broker.create_run(run, version)
    running = claim(broker)[0]
    assert broker.cancel_run(run.key, "me") == "running"
    assert states(broker, run.key) == {"a": "running", "b": "cancelled"}
    assert broker.beat({running.execution_id: (running.run_key, running.index, running.try_number)}).cancel == (running.execution_id,)
    tell(broker, end(running, TaskState.FAILED, reason="killed by signal 15 (TERM)"))
    assert states(broker, run.key) == {"a": "cancelled", "b": "cancelled"}
    assert broker.run_status(run.key).state is RunState.CANCELLED


def test_a_clear_of_a_run_that_is_being_cancelled_is_refused_until_it_has_ended(broker: Broker) -> None:
    version = a_version({"a": [], "b": ["a"]})
    run = a_run(version)
    broker.create_run(run, version)
    running = claim(broker)[0]
    broker.cancel_run(run.key, "me")
    assert broker.clear(run.key, [1], "me") == [1]
    assert states(broker, run.key) == {"a": "running", "b": "cancelled"}
    tell(broker, end(running))
    assert broker.clear(run.key, [1], "me") == []
    assert play(broker) == ["b"]


def test_what_a_mark_takes_back_in_a_run_that_is_being_cancelled_is_cancelled(broker: Broker) -> None:
    version = a_version({"a": [], "long": [], "b": ["a", "long"]})
    run = a_run(version)
    broker.create_run(run, version)
    first, _ = sorted(claim(broker), key=lambda it: it.task_id)
    tell(broker, end(first, TaskState.FAILED))
    assert states(broker, run.key) == {"a": "failed", "long": "running", "b": "upstream_failed"}
    broker.cancel_run(run.key, "me")
    broker.mark(run.key, [first.index], TaskState.SUCCESS, "me")
    assert states(broker, run.key) == {"a": "success", "long": "running", "b": "cancelled"}


def test_a_run_does_not_end_before_all_that_a_mark_takes_back_is_judged(broker: Broker, db: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task with more downstream tasks than one step may touch."""
    set_budget(monkeypatch, 1)
    version = a_version({"a": [], "b": ["a"], "c": ["a"]})
    run = a_run(version)
    broker.create_run(run, version)
    broker.mark(run.key, [1], TaskState.SKIPPED, "me")
    tell(broker, end(claim(broker)[0], TaskState.FAILED))
    broker.advance_all([run.key])
    assert (states(broker, run.key), broker.run_status(run.key).state) == ({"a": "failed", "b": "skipped", "c": "upstream_failed"}, RunState.FAILED)
    broker.mark(run.key, [0], TaskState.SUCCESS, "me")
    broker.advance_all([run.key])
    assert (states(broker, run.key), broker.run_status(run.key).state) == ({"a": "success", "b": "skipped", "c": "queued"}, RunState.RUNNING)
    assert db.zscore(keys.LIVE, run.key) is not None
    tell(broker, end(claim(broker)[0], TaskState.SUCCESS))
    assert broker.run_status(run.key).state is RunState.SUCCESS


def test_a_retry_waits_its_delay_and_counts_its_tries(broker: Broker, db: redis.Redis) -> None:
    version = a_version(["a"], each={"retries": 2})
    run = a_run(version)
    broker.create_run(run, version)
    first = claim(broker)[0]
    assert first.max_tries == 3
    tell(broker, end(first, TaskState.UP_FOR_RETRY, retry_in=60.0))
    assert claim(broker) == []
    due = broker.move_due()
    assert due.moved == 0
    assert due.next is not None
    assert 59 < due.next <= 60
    db.zadd(keys.RQ_SCHEDULED_JOBS, {first.job_id: time.time() - 1})
    assert broker.move_due() == Due(moved=1)
    second = claim(broker)[0]
    assert (second.try_number, second.job_id) == (2, first.job_id)
    tell(broker, end(second, TaskState.UP_FOR_RETRY))
    third = claim(broker)[0]
    tell(broker, end(third, TaskState.UP_FOR_RETRY))
    assert broker.task_statuses(run.key)[0].state is TaskState.FAILED


def test_a_redis_that_is_not_to_be_believed_does_nothing_by_itself(broker: Broker, db: redis.Redis) -> None:
    """What it calls due, left over, dead or half made may have gone on since its data were written."""
    version = a_version(["a", "b"], each={"retries": 2})
    run, left = a_run(version), a_run(version, run_id="left")
    broker.create_run(run, version)
    creation.prepare(broker.steps, left, version)
    retried, held = claim(broker)
    tell(broker, end(retried, TaskState.UP_FOR_RETRY, retry_in=60.0))
    db.zadd(keys.RQ_SCHEDULED_JOBS, {retried.job_id: time.time() - 1})
    db.rpush(f"{keys.RUN}{run.key}:f", "x:0")
    lost = Held(held.run_key, held.index, held.execution_id, time.time() - 1)
    db.zadd(keys.LEASES, {f"{held.run_key}:{held.index}:{held.execution_id}": time.time() - 1})
    before = kept(db, run.key)
    db.hset(keys.EPOCH, "run_id", "that of another server")
    assert broker.move_due().moved == 0
    assert not broker.advance(run.key)
    for refused in (lambda: broker.take_over(broker.caller, [], is_lost=True), lambda: Watch(broker).mark_unreachable([lost]),
                    lambda: Watch(broker).lose(lost, reason="gone"), lambda: broker.finish_preparing(left.key)):
        with pytest.raises(BrokerError, match="put right from the history first; nothing is lost"):
            refused()
    open_epoch(db, 2)
    assert kept(db, run.key) == before
    assert broker.move_due().moved == 1
    broker.finish_preparing(left.key)
    assert broker.is_finished(left.key) is False
    assert Watch(broker).mark_unreachable([lost]) == 1


def kept(db: redis.Redis, run_key: str) -> dict[str, bytes | None]:
    """Return what Redis has of a run, and all events."""
    names = [name.decode() for name in db.scan_iter(f"{keys.RUN}{run_key}*")]
    return {name: db.dump(name) for name in (*sorted(names), keys.LEASES, keys.EVENTS, keys.RQ_SCHEDULED_JOBS)}


def test_entries_of_other_users_of_rq_scheduler_are_left_alone(broker: Broker, db: redis.Redis) -> None:
    db.zadd(keys.RQ_SCHEDULED_JOBS, {"somebody-elses": 1.0})
    assert broker.move_due().moved == 0
    assert db.zscore(keys.RQ_SCHEDULED_JOBS, "somebody-elses") == 1.0


def test_a_stale_end_changes_nothing_and_is_kept_as_evidence(broker: Broker, db: redis.Redis) -> None:
    version = a_version(["a"], each={"retries": 1})
    run = a_run(version)
    broker.create_run(run, version)
    first = claim(broker)[0]
    tell(broker, end(first, TaskState.UP_FOR_RETRY))
    second = claim(broker)[0]
    assert tell(broker, end(first, TaskState.SUCCESS)) == ("stale",)
    assert broker.task_statuses(run.key)[0].state is TaskState.RUNNING
    late = [event for _, events in EventStream(db).read("test") for event in events if event["kind"] == "late"]
    assert [(event["try"], event["state"], event["task"]) for event in late] == [(1, "success", "a")]
    assert tell(broker, end(second)) == ("ok",)


def test_an_end_told_late_because_of_a_broken_link_keeps_its_time(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    version = a_version(["a"])
    run = a_run(version)
    broker.create_run(run, version)
    told = end(claim(broker)[0], duration=1.0, ended_ago=0.0)
    ended = datetime.now(UTC)
    with monkeypatch.context() as broken:
        broken.setattr(steps.Steps, "send", lambda *_: (_ for _ in ()).throw(redis.exceptions.ConnectionError("gone")))
        with pytest.raises(redis.exceptions.ConnectionError):
            broker.turn(queues=(), wanted=0, ends=[told])
    until(lambda: (datetime.now(UTC) - ended).total_seconds() > 1.0)
    assert broker.turn(queues=(), wanted=0).accepted == ("ok",)
    assert abs((broker.task_statuses(run.key)[0].ended_at - ended).total_seconds()) < 0.5


def test_a_turn_is_not_carried_out_twice_when_other_steps_came_before_its_repetition(
    broker: Broker, db: redis.Redis, monkeypatch: pytest.MonkeyPatch,
) -> None:
    version = a_version(["a", "b"])
    run = a_run(version)
    broker.create_run(run, version)
    send = broker.steps.send

    def send_without_answer(request: steps.Request) -> None:
        send(request)
        raise redis.exceptions.ConnectionError("the reply was lost")

    with monkeypatch.context() as broken:
        broken.setattr(broker.steps, "send", send_without_answer)
        with pytest.raises(redis.exceptions.ConnectionError):
            broker.turn(queues=("default",), wanted=1)
    broker.advance(run.key)
    broker.beat({})
    assert db.ttl(keys.REPLY + "w1:turn") > 7 * 86400, "a link may be broken for days"
    assert [claimed.task_id for claimed in claim(broker)] == ["a"]
    assert states(broker, run.key) == {"a": "running", "b": "queued"}


def test_creating_a_run_twice_makes_it_once_also_after_breaking_off(broker: Broker, db: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    version = a_version(DIAMOND)
    run = a_run(version)
    with monkeypatch.context() as broken:
        broken.setattr(creation, "write_jobs", lambda *_: (_ for _ in ()).throw(redis.exceptions.ConnectionError("gone")))
        with pytest.raises(redis.exceptions.ConnectionError):
            broker.create_run(run, version)
    assert claim(broker) == []
    assert not broker.run_exists(run.key)
    assert broker.create_run(run, version)
    assert not broker.create_run(run, version)
    assert play(broker)[0] == "a"


def test_a_run_that_was_asked_for_too_early_is_found_later(broker: Broker, new_broker: Callable[[str], Broker]) -> None:
    version = a_version(["a"])
    run = a_run(version)
    assert broker.run_info(run.key) is None
    new_broker("another").create_run(run, version)
    assert states(broker, run.key) == {"a": "queued"}


def test_a_step_that_a_broken_link_stops_is_sent_again(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    version = a_version(DIAMOND)
    run = a_run(version)
    execute, calls = broker.connection.execute_command, itertools.count()

    def execute_and_lose(*args: object, **options: object) -> object:
        reply = execute(*args, **options)
        if args[0] in {"EVALSHA", "FCALL"} and next(calls) % 2 == 0:
            raise redis.exceptions.ConnectionError("the reply was lost")
        return reply

    monkeypatch.setattr(broker.connection, "execute_command", execute_and_lose)
    assert broker.create_run(run, version)
    assert broker.cancel_run(run.key, "somebody") == "cancelled"
    broker.forget_run(run.key)
    assert not broker.run_exists(run.key)


def test_a_full_redis_is_an_error_in_words_and_changes_nothing(broker: Broker, db: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    version = a_version(["a"])
    run = a_run(version)
    broker.create_run(run, version)
    monkeypatch.setattr(faults, "ATTEMPTS", 2)
    db.config_set("maxmemory", 1)
    try:
        with pytest.raises(BrokerError, match="maxmemory"):
            broker.cancel_run(run.key, "somebody")
    finally:
        db.config_set("maxmemory", 0)
    assert states(broker, run.key) == {"a": "queued"}


def test_a_run_whose_creator_vanished_is_completed(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    version = a_version(DIAMOND)
    run = a_run(version)
    with monkeypatch.context() as broken:
        broken.setattr(creation, "write_jobs", lambda *_: (_ for _ in ()).throw(redis.exceptions.ConnectionError("gone")))
        with pytest.raises(redis.exceptions.ConnectionError):
            broker.create_run(run, version)
    assert [run_key for run_key, _ in Watch(broker).look(pause=60.0).preparing] == [run.key]
    broker.finish_preparing(run.key)
    assert play(broker)[0] == "a"
    assert Watch(broker).look(pause=60.0).preparing == ()


def test_tasks_whose_start_date_is_later_are_removed_and_count_for_nothing(broker: Broker) -> None:
    version = a_version({"a": [], "b": ["a"], "c": ["b"]}, specs=[a_task("a", start_date="2030-01-01T00:00:00+00:00")])
    run = a_run(version, logical_date=datetime(2024, 1, 1, tzinfo=UTC))
    broker.create_run(run, version)
    assert play(broker) == ["b", "c"]
    assert states(broker, run.key) == {"a": "removed", "b": "success", "c": "success"}
    assert broker.recount(run.key) == []


def test_a_run_without_tasks_is_a_success_at_once(broker: Broker) -> None:
    version = a_version({})
    run = a_run(version)
    assert broker.create_run(run, version)
    status = broker.run_status(run.key)
    assert (status.state, status.counts) == (RunState.SUCCESS, {})
    assert broker.live_runs() == []


def test_empty_tasks_pass_without_a_worker(broker: Broker) -> None:
    version = a_version({"start": [], "end": ["start"]}, specs=[an_empty_task("start"), an_empty_task("end")])
    run = a_run(version)
    broker.create_run(run, version)
    assert broker.run_status(run.key).state is RunState.SUCCESS


def test_xcoms_last_until_the_next_try(broker: Broker) -> None:
    version = a_version({"a": []}, each={"retries": 1})
    run = a_run(version)
    broker.create_run(run, version)
    tell(broker, end(claim(broker)[0], TaskState.UP_FOR_RETRY, xcoms={"return_value": '"one"', "k": "[1]"}))
    assert broker.xcoms(run.key) == {"a": {"return_value": '"one"', "k": "[1]"}}
    second = claim(broker)[0]
    assert broker.xcoms(run.key) == {}
    broker.push_xcom(run.key, "a", "early", "1")
    tell(broker, end(second, xcoms={"late": "2"}))
    assert broker.xcoms(run.key, ["a"]) == {"a": {"early": "1", "late": "2"}}


def test_task_that_is_queued_and_claimed_in_one_step_is_told_once_and_never_listed(broker: Broker, db: redis.Redis) -> None:
    run = a_run(version := a_version({"a": [], "b": ["a"]}))
    broker.create_run(run, version)
    first = claim(broker)[0]
    (second,) = broker.turn(queues=("default",), wanted=1, ends=[end(first)]).claims
    events = [event for _, part in EventStream(db).read("r1") for event in part if event.get("task") == "b"]
    assert [event["state"] for event in events] == ["running"]
    assert db.exists(keys.READY + "default", keys.RQ_QUEUE + "default") == 0
    job = db.hgetall(keys.RQ_JOB + second.job_id)
    assert (job[b"status"], job[b"enqueued_at"]) == (b"started", job[b"started_at"])


def test_events_tell_every_change_in_order(broker: Broker, db: redis.Redis) -> None:
    version = a_version({"a": []})
    run = a_run(version)
    broker.create_run(run, version)
    tell(broker, end(claim(broker)[0], duration=2.0, ended_ago=1.0, facts={"exit_code": 0, "host": "h"}))
    stream = EventStream(db)
    entries = stream.read("r1")
    events = [event for _, part in entries for event in part]
    assert [event["state"] for event in events] == ["running", "queued", "running", "success", "success"]
    last = events[3]
    assert int(last["ended_at"]) - int(last["started_at"]) == 2_000_000
    assert last["facts"] == {"exit_code": 0, "host": "h"}
    seqs = [int(event["seq"]) for event in events if event["kind"] == "ti"]
    assert seqs == sorted(set(seqs))
    assert stream.pending("r1") == entries
    assert stream.take_over("r2", idle_ms=0) == entries
    stream.acknowledge([entry for entry, _ in entries])
    assert stream.backlog() == 0
    assert broker.expired_runs() == []


def test_claims_close_when_too_much_is_unrecorded(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    version = a_version({"a": []})
    broker.create_run(a_run(version), version)
    object.__setattr__(broker.settings.broker, "max_unrecorded", 0)
    assert claim(broker) == []
    object.__setattr__(broker.settings.broker, "max_unrecorded", 10)
    assert len(claim(broker)) == 1


def test_nothing_of_a_forgotten_run_stays(broker: Broker, db: redis.Redis) -> None:
    version = a_version({**DIAMOND, "e": []}, each={"retries": 1})
    run = a_run(version)
    broker.create_run(run, version)
    broker.forget_run(run.key)
    assert broker.run_exists(run.key), "a live run is not forgotten"
    play(broker, {"b": TaskState.FAILED})
    broker.forget_run(run.key)
    left = {key.decode() for key in db.scan_iter("*")}
    assert left <= {keys.EPOCH, keys.EVENTS, keys.SEQUENCE, keys.RQ_QUEUES, keys.BELL + "default", keys.WAKE, keys.REPLY + "w1", keys.REPLY + "w1:turn", keys.USED}


def rq_info(url: str) -> str:
    return subprocess.run([sys.executable, "-m", "rq.cli", "info", "--url", url, "--raw"], capture_output=True, text=True, check=True).stdout


def dump(db: redis.Redis) -> dict[bytes, bytes]:
    return {key: db.dump(key) for key in sorted(db.scan_iter("*"))}


def test_rq_info_tells_the_truth_and_changes_nothing(broker: Broker, db: redis.Redis, redis_url: str) -> None:
    version = a_version(DIAMOND)
    broker.create_run(a_run(version), version)
    tell(broker, end(claim(broker)[0]))
    claim(broker, 1)
    before = dump(db)
    assert "queue default 1, 1 executing, 1 finished, 0 failed" in rq_info(redis_url)
    assert dump(db) == before


def test_jobs_are_genuine_rq_jobs(broker: Broker, db: redis.Redis) -> None:
    dag_id, task_id, run_id = "my.dag-v1", "a.b", "manual__2026-11-23T00:00:00.123456+00:00"
    version = a_version({task_id: [], "after": [task_id]}, dag_id=dag_id)
    run = a_run(version, run_id=run_id)
    broker.create_run(run, version)
    first = Job.fetch(job_id(dag_id, run_id, task_id), connection=db, serializer=JSONSerializer)
    second = Job.fetch(job_id(dag_id, run_id, "after"), connection=db, serializer=JSONSerializer)
    assert (first.func_name, list(first.args)) == ("rqflow.jobs.run_task", [run.key, task_id])
    assert (first.timeout, first.result_ttl, first.failure_ttl) == (-1, -1, -1)
    assert (first.description, first.ttl) == ("my.dag-v1.a.b 2024-01-01T00:00", None)
    assert second._dependency_ids == [first.id]
    queue = Queue("default", connection=db, serializer=JSONSerializer)
    assert queue.job_ids == [first.id]
    assert DeferredJobRegistry(queue=queue).get_job_ids() == [second.id]
    claimed = claim(broker)[0]
    assert StartedJobRegistry(queue=queue).get_job_ids() == [first.id]
    fetched = Job.fetch(first.id, connection=db, serializer=JSONSerializer)
    assert fetched.get_status() == "started"
    assert fetched.worker_name == "w1"
    assert abs((fetched.started_at - datetime.now(UTC)).total_seconds()) < 5
    assert [execution.id for execution in fetched.get_executions()] == [claimed.execution_id]
    tell(broker, end(claimed))
    assert FinishedJobRegistry(queue=queue).get_job_ids() == [first.id]


@pytest.mark.timeout(240)
def test_ten_thousand_tasks_stay_small_and_are_released_and_cancelled_in_parts(broker: Broker, db: redis.Redis) -> None:
    middle = [f"m{number}" for number in range(10_000)]
    version = a_version({"a": [], **{name: ["a"] for name in middle}, "z": middle})
    run = a_run(version)
    db.config_set("hash-max-ziplist-value", 512)
    empty = db.info("memory")["used_memory"]
    broker.create_run(run, version)
    assert (db.info("memory")["used_memory"] - empty) / len(version.tasks) < 2048
    answer = broker.turn(queues=(), wanted=0, ends=[end(claim(broker)[0])])
    assert answer.unfinished == (run.key,)
    released, more = [broker.run_status(run.key).counts.get(TaskState.QUEUED, 0)], True
    while more:
        more = broker.advance(run.key)
        released.append(broker.run_status(run.key).counts[TaskState.QUEUED])
    assert released[-1] == 10_000
    assert max(after - before for before, after in itertools.pairwise([0, *released])) <= 1200
    broker.cancel_run(run.key, "me")
    assert broker.run_status(run.key).counts == {TaskState.SUCCESS: 1, TaskState.CANCELLED: 10_001}
    broker.forget_run(run.key)
    assert not broker.run_exists(run.key)
