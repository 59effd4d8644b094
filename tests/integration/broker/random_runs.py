"""One run of a random DAG and everything that may happen to it, compared with the model all the way."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
import redis
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from rqflow.broker import keys
from rqflow.broker.broker import Broker
from rqflow.broker.messages import Claim, End
from rqflow.broker.restoring import Remembered, restore
from rqflow.broker.steps import Request, Steps
from rqflow.broker.watch import Watch
from rqflow.dag.trigger_rule import TriggerRule
from rqflow.dag.version import Version
from rqflow.settings import Settings
from rqflow.states import RQ_STATUS, RunState, TaskState
from tests.epoch import open_epoch
from tests.integration.broker.model import ASKS, READY, TERMINAL, Model
from tests.lua_budget import set_budget
from tests.unit.builders import a_run, a_task, a_version, an_empty_task

T = TypeVar("T")
POOLS = {"p1": 1, "p2": 2, "p3": 3}
QUEUES = ("default", "other")
WORKERS = ("w1", "w2", "w3")
FOR_EVER = 1e9
#: Seeds of what a step chooses among what it finds. Which tasks a worker holds is not the same in each replay (the ids of executions and of
#: runs are new, and order in Lua's tables follows them), and hypothesis must not draw by what is not.
CHANCES = st.integers(0, 2**32 - 1).map(random.Random)


def some(chance: random.Random, items: Sequence[T]) -> list[T]:
    """Return each of `items` with even chance."""
    return [item for item in items if chance.random() < 0.5]


@st.composite
def dags(draw: st.DrawFn) -> Version:
    size = draw(st.integers(1, 30))
    tasks: dict[str, list[str]] = {}
    specs = []
    for index in range(size):
        name = f"t{index:02d}"
        tasks[name] = draw(st.lists(st.sampled_from(sorted(tasks)), max_size=4, unique=True)) if tasks else []
        rule_name = draw(st.sampled_from([rule.value for rule in TriggerRule]) | st.just("all_success"))
        if draw(st.integers(0, 7)) == 0:
            specs.append(an_empty_task(name, trigger_rule=rule_name))
            continue
        pool = draw(st.sampled_from(["default_pool", "default_pool", *POOLS]))
        specs.append(a_task(
            name, trigger_rule=rule_name, retries=draw(st.integers(0, 2)), queue=draw(st.sampled_from(QUEUES)), pool=pool,
            pool_slots=draw(st.integers(1, POOLS.get(pool, 1))), weight=draw(st.integers(1, 5)),
            max_active_per_dag=draw(st.sampled_from([None, None, None, 1])), worker_labels=draw(st.sampled_from([(), (), (), ("gpu",)])),
            on_lost=draw(st.sampled_from(["retry", "retry", "fail", "wait"]))))
    return a_version(tasks=tasks, specs=specs, max_active_tasks=draw(st.sampled_from([None, None, 2, 5])))


class LossySteps(Steps):
    """Carries a request out and loses the reply when told to."""

    lose = False

    def send(self, request: Request) -> dict[str, object]:
        reply = super().send(request)
        if self.lose:
            self.lose = False
            raise redis.exceptions.ConnectionError("the reply was lost")
        return reply


class RandomRuns(RuleBasedStateMachine):
    """One run of a random DAG, three workers, and everything that may happen to them."""

    connection: redis.Redis
    settings: Settings
    budgets = (400,)

    @initialize(version=dags(), budget=st.integers(0, 3))
    def create(self, version: Version, budget: int) -> None:
        self.connection.flushall()
        open_epoch(self.connection)
        small = self.budgets[budget % len(self.budgets)]
        self.patched = pytest.MonkeyPatch()
        set_budget(self.patched, small)
        self.version, self.run = version, a_run(version)
        self.brokers = {name: self.broker(name) for name in WORKERS}
        self.control = self.broker("control")
        for name, slots in POOLS.items():
            self.control.set_pool(name, slots)
        self.holding: dict[str, list[Claim]] = {name: [] for name in WORKERS}
        self.past: list[End] = []
        self.behind = False
        assert self.control.create_run(self.run, version)
        assert not self.control.create_run(self.run, version)
        self.watch = Watch(self.control)
        assert self.watch.look(pause=FOR_EVER).fresh
        self.model = Model(version)

    def catch_up(self) -> None:
        self.control.advance_all([self.run.key])
        self.behind = False

    def broker(self, name: str) -> Broker:
        broker = Broker(self.connection, self.settings, caller=name)
        broker.steps = LossySteps(self.connection, name)
        return broker

    def teardown(self) -> None:
        if hasattr(self, "patched"):
            self.patched.undo()

    # -------------------------------------------------------------- what may happen

    @rule(chance=CHANCES, worker=st.sampled_from(WORKERS), wanted=st.integers(0, 3), lose=st.sampled_from([False, False, True]))
    def turn(self, chance: random.Random, worker: str, wanted: int, lose: bool) -> None:
        held = self.holding[worker]
        ends = [self.an_end(chance, claim) for claim in some(chance, held)]
        broker = self.brokers[worker]
        broker.steps.lose = lose
        queues = chance.choice([("default",), ("other",), ("default", "other"), ("other", "default")])
        labels = ("gpu", "big") if worker == "w1" else ()
        answer = None
        with contextlib.suppress(redis.exceptions.ConnectionError):
            answer = broker.turn(queues=queues, wanted=wanted, ends=ends, labels=labels)
        if lose:
            assert answer is None
            answer = broker.turn(queues=("nonsense",), wanted=9)
        assert answer is not None
        assert list(answer.ends) == ends
        assert set(answer.accepted) <= {"ok"}
        for end in ends:
            self.model.finish(end.index, end.state.value, end.skip, retry_now=end.retry_in <= 0)
        for claim in answer.claims:
            assert claim.queue in queues
            task = self.version.tasks[claim.index]
            assert set(task.worker_labels) <= set(labels)
            self.model.claim(claim.index)
            assert claim.try_number == self.model.tries[claim.index]
        ended = {end.execution_id for end in ends}
        self.holding[worker] = [claim for claim in held if claim.execution_id not in ended] + list(answer.claims)
        self.past += ends
        # Others may act before somebody continues what this turn left over.
        self.behind = self.behind or bool(answer.unfinished)
        if self.behind and chance.random() < 0.5:
            self.catch_up()

    def an_end(self, chance: random.Random, claim: Claim) -> End:
        state = chance.choice([TaskState.SUCCESS, TaskState.SUCCESS, TaskState.FAILED, TaskState.UP_FOR_RETRY, TaskState.SKIPPED, TaskState.LOST])
        skip: tuple[int, ...] = ()
        below = self.version.tasks[claim.index].downstream
        if state is TaskState.SUCCESS and below and chance.random() < 0.25:
            skip = tuple(some(chance, below))
        return End(run_key=claim.run_key, index=claim.index, try_number=claim.try_number, execution_id=claim.execution_id, state=state, skip=skip,
                   retry_in=chance.choice([0.0, 1000.0]), reason="exit code 1" if state is TaskState.FAILED else "",
                   xcoms={"return_value": '"x"'})

    @rule(chance=CHANCES, worker=st.sampled_from(WORKERS))
    def tell_an_old_end_again(self, chance: random.Random, worker: str) -> None:
        self.catch_up()
        if not self.past:
            return
        end = chance.choice(self.past)
        before = self.connection.hgetall(keys.task_key(self.run.key))
        assert self.brokers[worker].turn(queues=(), wanted=0, ends=[end]).accepted == ("stale",)
        assert self.connection.hgetall(keys.task_key(self.run.key)) == before

    @rule(worker=st.sampled_from(WORKERS))
    def vanish_and_come_back(self, worker: str) -> None:
        """A worker that lost what it claimed names nothing in its next heartbeat: all of it is queued again, same try."""
        self.catch_up()
        beat = self.brokers[worker].beat({})
        assert beat.cancel == beat.unknown == ()
        for claim in self.holding[worker]:
            self.model.requeue(claim.index)
        self.holding[worker] = []

    @rule(worker=st.sampled_from(WORKERS))
    def heartbeat(self, worker: str) -> None:
        self.catch_up()
        named = {claim.execution_id: (claim.run_key, claim.index, claim.try_number) for claim in self.holding[worker]}
        beat = self.brokers[worker].beat({**named, "stranger": (self.run.key, 0, 1000), "foreigner": ("no such run", 0, 1)})
        assert set(beat.unknown + beat.given_up) == {"stranger", "foreigner"}
        wanted_dead = {claim.execution_id for claim in self.holding[worker] if claim.index in self.model.stop or claim.index in self.model.marked}
        assert set(beat.cancel) == wanted_dead

    @rule(chance=CHANCES, worker=st.sampled_from(WORKERS))
    def die_and_be_followed(self, chance: random.Random, worker: str) -> None:
        """A worker dies; the next one has what the shepherd started, and the rest goes back to its queue."""
        self.catch_up()
        kept = some(chance, self.holding[worker])
        former = self.brokers[worker]
        self.brokers[worker] = self.broker(f"{former.caller}-next")
        taken, given_back = self.brokers[worker].take_over(former.caller, [claim.execution_id for claim in kept], is_lost=False)
        assert (taken, given_back) == (len(kept), len(self.holding[worker]) - len(kept))
        for claim in self.holding[worker]:
            if claim not in kept:
                self.model.requeue(claim.index)
        self.holding[worker] = kept
        assert former.turn(queues=QUEUES, wanted=3).claims == ()

    @rule(chance=CHANCES, worker=st.sampled_from(WORKERS), declared=st.booleans())
    def be_cut_off(self, chance: random.Random, worker: str, declared: bool) -> None:
        """Leases run out: the tasks count as running, until they are declared lost or the worker is heard of again."""
        self.catch_up()
        cut = self.holding[worker]
        if not cut:
            return
        for claim in cut:
            assert self.connection.zadd(keys.LEASES, {f"{claim.run_key}:{claim.index}:{claim.execution_id}": 1.0}, xx=True, ch=True) == 1
        seen = self.watch.look(pause=FOR_EVER)
        assert {held.execution_id for held in seen.expired} == {claim.execution_id for claim in cut}
        assert self.watch.mark_unreachable(seen.expired) == len(cut)
        assert self.watch.look(pause=FOR_EVER).expired == ()
        assert all(status.unreachable_since for status in self.control.task_statuses(self.run.key, [claim.index for claim in cut]))
        named = {claim.execution_id: (claim.run_key, claim.index, claim.try_number) for claim in cut}
        if declared:
            lost = chance.choice(cut)
            self.watch.lose(next(held for held in seen.expired if held.execution_id == lost.execution_id), reason="gone")
            self.model.lose(lost.index, told=False, retry_now=False)
            self.holding[worker] = [claim for claim in cut if claim is not lost]
            end = End(run_key=lost.run_key, index=lost.index, try_number=lost.try_number, execution_id=lost.execution_id, state=TaskState.SUCCESS)
            self.past.append(end)
            assert self.brokers[worker].beat(named).given_up == (lost.execution_id,)
        else:
            assert self.brokers[worker].beat(named).given_up == ()
        statuses = self.control.task_statuses(self.run.key)
        assert not any(status.unreachable_since for status in statuses)
        assert self.connection.zcard(keys.UNREACHABLE) == self.connection.zcard(keys.NOTICES) == 0

    @rule(wiped=st.booleans())
    def be_restored(self, wiped: bool) -> None:
        """Redis lost everything, or forgot a step or two; the history has it all."""
        self.catch_up()
        if self.model.run_state() is not RunState.RUNNING:
            return
        remembered = [self.remember(index, record) for index, record in self.records()]
        cancel = self.connection.hget(keys.RUN + self.run.key, "cancel")
        replies = {key: self.connection.hgetall(key) for key in self.connection.scan_iter(f"{keys.REPLY}*")}
        if wiped:
            self.connection.flushall()
            open_epoch(self.connection)
            for name, slots in POOLS.items():
                self.control.set_pool(name, slots)
            self.watch.look(pause=FOR_EVER)
        else:
            # As it was before some of the events.
            for index, record in self.records():
                older = {**record, "v": str(int(record.get("v", "1")) - 1)}
                self.connection.hset(keys.task_key(self.run.key), str(index), json.dumps(older))
        for key, reply in replies.items():
            self.connection.hset(key, mapping=reply)
        restore(self.control, self.run, self.version, remembered, cancelled_by=cancel.decode() if cancel else "")
        self.model.restore()
        for index, state in self.model.marked.items():
            self.control.mark(self.run.key, [index], TaskState(state), "somebody")

    def remember(self, index: int, record: dict[str, Any]) -> Remembered:
        return Remembered(
            index=index, state=TaskState(record["s"]), try_number=record["t"], max_tries=record["m"], seq=int(record.get("v", "0")),
            reason=record.get("z", ""), worker=record.get("w", ""), execution_id=record.get("e", ""), started_at=record.get("b"),
            ended_at=record.get("d"), due_at=record.get("n"), skips=tuple(record.get("k", ())), skipped_by=record.get("o"),
            is_derived=record.get("dv", False), asks=self.model.state[index] == ASKS, cancel_requested="y" in record)

    @rule(everything=st.booleans(), chance=CHANCES)
    def time_passes(self, everything: bool, chance: random.Random) -> None:
        self.catch_up()
        waiting = [index for index, state in self.model.state.items() if state == "up_for_retry"]
        due = waiting if everything else some(chance, waiting)
        for status in self.control.task_statuses(self.run.key, due):
            self.connection.zadd(keys.RQ_SCHEDULED_JOBS, {status.job_id: 1.0})
        assert self.control.move_due().moved == len(due)
        for index in due:
            self.model.due(index)

    @rule(chance=CHANCES)
    def cancel_run(self, chance: random.Random) -> None:
        if self.model.cancelled or chance.random() > 1 / 6:
            return
        self.catch_up()
        self.control.cancel_run(self.run.key, "somebody")
        self.model.cancel_run()

    @rule(chance=CHANCES)
    def cancel_task(self, chance: random.Random) -> None:
        if chance.random() > 1 / 3:
            return
        self.catch_up()
        task = chance.choice(self.version.tasks)
        self.control.cancel_task(self.run.key, task.task_id, "somebody")
        self.model.cancel_task(task.index)

    @rule(chance=CHANCES, wish=st.sampled_from([TaskState.PENDING, TaskState.SUCCESS, TaskState.FAILED, TaskState.SKIPPED]))
    def clear_or_mark(self, chance: random.Random, wish: TaskState) -> None:
        self.catch_up()
        index = chance.randrange(len(self.version.tasks))
        if wish is TaskState.PENDING:
            refused = self.control.clear(self.run.key, [index], "somebody")
            assert refused == ([index] if self.model.refuses_clear(index) else [])
        else:
            self.control.mark(self.run.key, [index], wish, "somebody")
        self.model.rewrite(index, wish.value)

    # -------------------------------------------------------------- what must hold after every step

    @invariant()
    def states_are_the_models(self) -> None:
        if not hasattr(self, "model") or self.behind:
            return
        statuses = self.control.task_statuses(self.run.key)
        real = {s.index: ASKS if "on_lost=wait" in s.reason and s.state is TaskState.PARKED
                else READY if s.state in {TaskState.QUEUED, TaskState.PARKED} else s.state.value for s in statuses}
        wrong = {i: (real[i], state, self.version.tasks[i].trigger_rule, {up: real[up] for up in self.version.tasks[i].upstream})
                 for i, state in self.model.state.items() if real[i] != state}
        assert not wrong, f"index: (real state, state of the model, rule, upstream): {wrong}"
        status = self.control.run_status(self.run.key)
        assert status is not None
        assert status.state is self.model.run_state()
        assert sum(status.counts.values()) == len(self.version.tasks)

    @invariant()
    def every_unfinished_task_waits_for_something(self) -> None:
        if not hasattr(self, "model"):
            return
        ready = {m.decode()[14:] for q in QUEUES for m in self.connection.zrange(keys.READY + q, 0, -1)}
        labelled = {m.decode()[14:] for q in QUEUES for m in self.connection.zrange(keys.LABELLED + q, 0, -1)}
        parked = {m.decode()[14:] for key in self.connection.scan_iter(f"{keys.PARKED}*") for m in self.connection.zrange(key, 0, -1)}
        held = {claim.index for claims in self.holding.values() for claim in claims}
        for index, record in self.records():
            ref = f"{self.run.key}:{index}"
            assert (ref in ready) == (record["s"] == "queued")
            assert (ref in parked or ref in labelled) == (record["s"] == "parked" and self.model.state[index] != ASKS)
            assert not (ref in parked and ref in labelled)
            assert (index in held) == (record["s"] == "running")
            assert (self.connection.hexists(keys.DUE, record["j"])) == (record["s"] == "up_for_retry")
            if record["s"] == "pending" and not self.behind:
                assert any(self.model.state[up] not in TERMINAL for up in self.version.tasks[index].upstream)
            if record["s"] == "parked":
                assert record["z"]

    @invariant()
    def slots_in_use_are_those_of_running_and_handed_over_tasks(self) -> None:
        if not hasattr(self, "model"):
            return
        used: dict[str, int] = {}
        for index, record in self.records():
            task = self.version.tasks[index]
            assert not (record["s"] == "running" and not record.get("h"))
            assert not (record.get("h") and record["s"] not in {"running", "queued", "parked"})
            if record.get("h"):
                used[f"pool:{task.pool}"] = used.get(f"pool:{task.pool}", 0) + task.pool_slots
                if self.version.max_active_tasks:
                    used[f"dag:{self.version.dag_id}"] = used.get(f"dag:{self.version.dag_id}", 0) + 1
                if task.max_active_per_dag:
                    name = f"task:{self.version.dag_id}.{task.task_id}"
                    used[name] = used.get(name, 0) + 1
        assert {name.decode(): int(n) for name, n in self.connection.hgetall(keys.USED).items()} == used
        assert all(used.get(f"pool:{name}", 0) <= slots for name, slots in POOLS.items())
        assert used.get(f"dag:{self.version.dag_id}", 0) <= (self.version.max_active_tasks or 99)

    @invariant()
    def recount_finds_nothing_wrong(self) -> None:
        if hasattr(self, "model") and not self.behind:
            wrong = self.control.recount(self.run.key)
            assert not wrong, f"counts that differ from the states: {wrong}"

    @invariant()
    def rq_shows_the_same(self) -> None:
        if not hasattr(self, "model"):
            return
        shown = self.shown_by_rq()
        for index, record in self.records():
            status = RQ_STATUS[TaskState(record["s"])]
            assert self.connection.hget(keys.RQ_JOB + record["j"], "status").decode() == status
            assert shown.get(record["j"], []) == [status], (index, record)

    # -------------------------------------------------------------- looking

    def records(self) -> Iterator[tuple[int, dict[str, object]]]:
        for index, text in self.connection.hgetall(keys.task_key(self.run.key)).items():
            yield int(index), json.loads(text)

    def shown_by_rq(self) -> dict[str, list[str]]:
        """Return {job id: the statuses of the lists and sets that hold it}."""
        shown: dict[str, list[str]] = {}
        for queue in QUEUES:
            for name in self.connection.lrange(keys.RQ_QUEUE + queue, 0, -1):
                shown.setdefault(name.decode(), []).append("queued")
            for prefix, status in ((keys.RQ_DEFERRED, "deferred"), (keys.RQ_FINISHED, "finished"), (keys.RQ_FAILED, "failed"),
                                   (keys.RQ_CANCELED, "canceled"), (keys.RQ_WIP, "started")):
                for name in self.connection.zrange(prefix + queue, 0, -1):
                    shown.setdefault(name.decode().partition(":")[0], []).append(status)
        for name in self.connection.zrange(keys.RQ_SCHEDULED_JOBS, 0, -1):
            shown.setdefault(name.decode(), []).append("scheduled")
        return shown


def check(db: redis.Redis, home: Path, *, part: int, examples: int, budgets: tuple[int, ...]) -> None:
    """Let so many random runs end, the steps touching at most one of `budgets` edges a call; where chance is fixed (CI), each part has its own."""
    if settings().derandomize:
        seed(part)(RandomRuns)
    RandomRuns.connection, RandomRuns.settings, RandomRuns.budgets = db, Settings(home=home), budgets
    # Shrinking an example of hundreds of steps takes minutes; the seed that is printed repeats it.
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    quick = settings(max_examples=examples, derandomize=False, stateful_step_count=30, suppress_health_check=list(HealthCheck), phases=phases,
                     print_blob=True, report_multiple_bugs=False)
    run_state_machine_as_test(RandomRuns, settings=quick)
