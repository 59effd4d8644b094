"""What a worker claims ahead of its slots, and the shepherd's queue for it."""

from __future__ import annotations

from rqflow.worker.ahead import Ahead
from rqflow.worker.shepherd_protocol import Start
from rqflow.worker.waiting import Waiting
from tests.unit.worker.test_shepherd_parts import a_try


def a_start(name: str, slots: int = 2) -> Start:
    return Start(id=name, argv=("true",), log="l", cwd="/", slots=slots, patience=5.0)


def named(requests: list[Start]) -> list[str]:
    return [request.id for request in requests]


def test_nothing_is_claimed_ahead_before_some_tasks_were_short() -> None:
    ahead = Ahead(4)
    assert ahead.room == 0
    for _ in range(10):
        ahead.learn(0.005)
    assert ahead.room > 0


def test_nothing_is_claimed_ahead_after_a_long_task_or_one_that_waited_in_vain() -> None:
    ahead = Ahead(4)
    for _ in range(10):
        ahead.learn(0.005)
    ahead.learn(1.0)
    assert ahead.room == 0
    for _ in range(20):
        ahead.learn(0.005)
    ahead.give_up()
    assert ahead.room == 0


def test_more_slots_have_more_ahead_up_to_a_limit() -> None:
    rooms = []
    for slots in (1, 2, 1000):
        ahead = Ahead(slots)
        for _ in range(10):
            ahead.learn(0.0)
        rooms.append(ahead.room)
    assert rooms[0] < rooms[1] < rooms[2] < 1000


def test_one_that_the_shepherd_says_nothing_of_has_begun_after_a_while() -> None:
    ahead = Ahead(1)
    one, two = a_try("1"), a_try("2")
    ahead.send(one, 100.0)
    ahead.send(two, 100.2)
    assert ahead.sure_at
    assert ahead.begun(ahead.sure_at - 0.01) == []
    assert ahead.begun(ahead.sure_at) == [one]
    assert ahead.settle(two)
    assert (ahead.settle(two), len(ahead), ahead.sure_at) == (False, 0, None)


def test_starts_wait_for_their_slots_in_their_order() -> None:
    waiting = Waiting()
    for name in ("a", "b", "c"):
        waiting.put(a_start(name), 100.0)
    assert named(waiting.take(2)) == []
    assert named(waiting.take(0)) == ["a", "b"]
    assert named(waiting.take(1)) == ["c"]
    assert (len(waiting), waiting.slots, waiting.late_at) == (0, 0, None)


def test_starts_that_waited_too_long_do_not_start() -> None:
    waiting = Waiting()
    waiting.put(a_start("a"), 100.0)
    waiting.put(a_start("b"), 104.0)
    assert waiting.late_at == 105.0
    assert named(waiting.late(105.0)) == []
    assert named(waiting.late(105.1)) == ["a"]
    assert named(waiting.take(0)) == ["b"]


def test_a_start_that_is_not_wanted_any_more_does_not_wait() -> None:
    waiting = Waiting()
    waiting.put(a_start("a"), 100.0)
    assert (waiting.remove("a"), waiting.remove("a")) == (True, False)
    waiting.put(a_start("b"), 100.0)
    waiting.clear()
    assert named(waiting.take(0)) == []
