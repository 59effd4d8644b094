"""Every place that speaks to Redis x every way in which the link or the server fails: nothing lost, nothing doubled, and said in words."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
import redis

from rqflow.broker.faults import LINK_ERRORS
from rqflow.broker.messages import End
from rqflow.exceptions import BrokerError
from rqflow.states import TaskState
from tests.integration.broker import link_rows_broker, link_rows_callbacks, link_rows_others  # noqa: F401 (fill the table)
from tests.integration.broker.call_sites import EXEMPT, found_in_the_code
from tests.integration.broker.link_world import LASTING, LOOKS, ONCE, QUIET, READ, ROWS, STEP, Case, World
from tests.profile import PATIENCE
from tests.services import loading_server
from tests.unit.builders import a_run, a_version
from tests.waiting import until

#: Seconds that a call may take: long where only resets happen, so that no noise of the machine looks like one more fault.
LONG, SHORT = 5.0, 0.4
#: What a person is told, by fault.
WORDS = {
    "black hole": "Redis does not answer", "LOADING": "Redis is still loading its data", "OOM": "Redis is full and takes no writes",
    "READONLY": "Redis is a replica and takes no writes",
}


def test_each_place_that_speaks_to_redis_has_a_row_and_each_row_a_place() -> None:
    found = found_in_the_code()
    assert found - ROWS.keys() - EXEMPT.keys() == set(), "these speak to Redis: give each a row in one of link_rows_*.py"
    assert (ROWS.keys() | EXEMPT.keys()) - found == set(), "these rows have no place in the code any more"


@pytest.fixture(scope="module")
def loading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The socket of a Redis that loads its data as long as the tests with it last, which follow each other."""
    with loading_server(tmp_path_factory.mktemp("loading"), seconds=300) as url:
        yield url.removeprefix("unix://")


def prepared(world: World, place: str) -> Case:
    case = ROWS[place][1](world)
    world.connection.ping()
    return case


def in_the_end(case: Case) -> Any:
    """Call until Redis answers, as the loop that calls a place does."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return case.call()
        except (BrokerError, *LINK_ERRORS):
            assert time.monotonic() < deadline, "it does not work again"


@pytest.mark.parametrize("fault", ["before", "after"])
@pytest.mark.parametrize("place", ROWS)
def test_a_reset_before_or_after_any_request_loses_and_doubles_nothing(place: str, fault: str, new_world: Callable[[float], World]) -> None:
    how = ROWS[place][0]
    for number in count(1):
        world = new_world(LONG)
        case = prepared(world, place)
        before = world.proxy.dropped
        drop = world.proxy.drop_request if fault == "before" else world.proxy.drop_reply
        drop(every=number)
        try:
            answer = case.call()
            assert how == QUIET or case.once(answer)
        except (BrokerError, *LINK_ERRORS):
            assert how == ONCE
            assert world.proxy.dropped == before + 1
            answer = in_the_end(case)
        if how == QUIET and world.proxy.dropped > before:
            answer = case.call()
        case.check(answer)
        if world.proxy.dropped == before:
            assert number > 1, "it has sent no request"
            return


@contextmanager
def black_hole(world: World, request: pytest.FixtureRequest) -> Iterator[None]:
    world.proxy.black_hole()
    yield
    world.proxy.heal()


@contextmanager
def load(world: World, request: pytest.FixtureRequest) -> Iterator[None]:
    before = world.proxy.upstream
    world.proxy.divert(request.getfixturevalue("loading"))
    try:
        yield
    finally:
        world.proxy.divert(before)


@contextmanager
def out_of_memory(world: World, request: pytest.FixtureRequest) -> Iterator[None]:
    world.db.config_set("maxmemory", 1)
    try:
        yield
    finally:
        world.db.config_set("maxmemory", 0)


@contextmanager
def read_only(world: World, request: pytest.FixtureRequest) -> Iterator[None]:
    world.db.replicaof("127.0.0.1", 1)
    try:
        yield
    finally:
        world.db.replicaof("NO", "ONE")


FAULTS = {"black hole": black_hole, "LOADING": load, "OOM": out_of_memory, "READONLY": read_only}


#: How to read what Redis holds, by type; DUMP tells a hash in any order.
READERS: dict[bytes, Callable[[redis.Redis, bytes], Any]] = {
    b"string": lambda db, key: db.get(key), b"hash": lambda db, key: db.hgetall(key), b"set": lambda db, key: db.smembers(key),
    b"zset": lambda db, key: db.zrange(key, 0, -1, withscores=True), b"list": lambda db, key: db.lrange(key, 0, -1),
    b"stream": lambda db, key: (db.xrange(key), [_given(db, key, group["name"]) for group in db.xinfo_groups(key)]),
}


def _given(db: redis.Redis, key: bytes, group: bytes) -> list[tuple[bytes, bytes]]:
    """Which entries of a stream who was given."""
    return [(entry["message_id"], entry["consumer"]) for entry in db.xpending_range(key, group, "-", "+", 1000)]


def snapshot(db: redis.Redis) -> dict[bytes, Any]:
    """All that Redis holds."""
    return {key: READERS[db.type(key)](db, key) for key in db.scan_iter()}


@pytest.mark.parametrize("place", [place for place, (how, _) in ROWS.items() if how != LASTING])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_lasts_is_told_in_time_changes_nothing_and_is_over_when_it_is_over(
    place: str, fault: str, new_world: Callable[[float], World], request: pytest.FixtureRequest,
) -> None:
    suffers(new_world, place, fault, request)


def suffers(new_world: Callable[[float], World], place: str, fault: str, request: pytest.FixtureRequest, seconds: float = SHORT) -> None:
    """Assert that a place, which may take so many seconds, takes a fault as its row says."""
    how = ROWS[place][0]
    world = new_world(seconds)
    case = prepared(world, place)
    before = snapshot(world.db)
    error: Exception | None = None
    answer = None
    with FAULTS[fault](world, request):
        began = time.monotonic()
        try:
            answer = case.call()
        except (BrokerError, *LINK_ERRORS) as caught:
            error = caught
        took = time.monotonic() - began
        if error is not None and fault in {"OOM", "READONLY"}:
            assert snapshot(world.db) == before
    if seconds == SHORT and fault != "black hole" and str(error).startswith(WORDS["black hole"]):
        # So busy was the machine that Redis, which is there, did not answer in time.
        suffers(new_world, place, fault, request, LONG)
        return
    assert took < 4 * seconds, "not one time for each attempt"
    # Redis tells the time while it loads.
    reached = fault in {"OOM", "READONLY"} or how == QUIET or (fault, place) == ("LOADING", "broker/reading.py:LiveState.now")
    assert error is not None or reached, "it answered without Redis"
    if isinstance(error, BrokerError):
        assert how in {STEP, LOOKS}
        assert str(error).startswith(WORDS[fault])
        assert "tried since 20" in str(error)
        assert "nothing is lost" in str(error)
    elif error is not None:
        assert how in {ONCE, READ, LOOKS}
    case.check(in_the_end(case) if error is not None or how == QUIET else answer)


@pytest.mark.parametrize("place", [place for place, (how, _) in ROWS.items() if how == LASTING])
@pytest.mark.parametrize("fault", FAULTS)
def test_what_must_not_be_given_up_lasts_as_long_as_the_fault(place: str, fault: str, new_world: Callable[[float], World],
                                                                 request: pytest.FixtureRequest) -> None:
    world = new_world(SHORT)
    case = prepared(world, place)
    answers: list[Any] = []
    caller = threading.Thread(target=lambda: answers.append(case.call()))
    with FAULTS[fault](world, request):
        caller.start()
        caller.join(3 * SHORT)
        # A full Redis carries out a step whose first write makes room.
        assert caller.is_alive() or (fault, len(answers)) == ("OOM", 1)
    caller.join(PATIENCE)
    case.check(*answers)


def test_a_turn_with_many_ends_waits_for_a_redis_that_is_away_no_longer_than_one_with_few(new_world: Callable[[float], World]) -> None:
    """The names of each end are asked for, and a worker that has just come back knows none of the runs. The first question that fails is the last."""
    world = new_world(SHORT)
    ends = [End(run_key=f"run{number}", index=0, try_number=1, execution_id=f"e{number}", state=TaskState.SUCCESS) for number in range(50)]
    world.connection.ping()
    world.proxy.black_hole()
    began = time.monotonic()
    with pytest.raises(LINK_ERRORS):
        world.far.turn(queues=["default"], wanted=1, ends=ends)
    assert time.monotonic() - began < len(ends) / 4 * SHORT
    world.proxy.heal()
    answer = in_the_end(Case(call=lambda: world.far.turn(queues=["default"], wanted=1), check=print))
    assert list(answer.ends) == ends


def test_a_turn_that_comes_after_its_own_repetition_and_newer_ones_claims_nothing(new_world: Callable[[float], World]) -> None:
    """What a broken link held back may arrive much later, when its sender has long got on."""
    world = new_world(SHORT)
    world.version = a_version([f"t{number}" for number in range(4)])
    world.run = a_run(world.version)
    world.start()
    world.connection.ping()
    world.proxy.black_hole()
    with pytest.raises(LINK_ERRORS):
        world.far.turn(queues=["default"], wanted=1)
    until(lambda: world.proxy.held, what="the turn to be on its way")
    world.proxy.heal(hold=True)
    first, = in_the_end(Case(call=lambda: world.far.turn(queues=["default"], wanted=1).claims, check=print))
    second, = world.far.turn(queues=["default"], wanted=1).claims
    up, _ = world.proxy.passed
    world.proxy.heal()
    until(lambda: world.proxy.passed[0] > up, what="the late turn to arrive")
    until(lambda: world.proxy.connections <= 1, what="its connection to end")
    world.far.beat({claim.execution_id: (claim.run_key, claim.index, claim.try_number) for claim in (first, second)})
    assert sorted(world.states().values()) == ["queued", "queued", "running", "running"]
