"""Which releases may work together, decided from values."""

from __future__ import annotations

import pytest

from rqflow.broker import protocol
from rqflow.broker.protocol import Process, decide
from rqflow.exceptions import Conflict


def one(number: int, version: str = "9.1", name: str = "hpc1.abc") -> Process:
    return Process(kind="worker", name=name, host="hpc1", pid=7, version=version, protocol=number)


@pytest.mark.parametrize(("own", "stored", "live", "busy", "kept"), [
    (5, None, [], False, 5), (5, None, [], True, 5),
    (5, 5, [5, 5], True, 5), (5, 4, [4, 5], True, 5), (4, 5, [4, 5], True, 5), (5, 4, [], True, 5), (4, 5, [], True, 5),
    (9, 5, [], False, 9), (3, 5, [], False, 3),
])
def test_neighbours_work_together_and_with_nobody_there_any_may_begin(own: int, stored: int | None, live: list[int], busy: bool, kept: int) -> None:
    assert decide(own, stored, [one(number) for number in live], busy=busy) == kept


@pytest.mark.parametrize(("own", "stored", "live", "busy", "says"), [
    (3, 5, [5], False, "is too old to work with worker hpc1.abc on hpc1 (pid 7, rqflow 9.1, protocol 5)\nUpgrade rqflow here to 9.1."),
    (5, 4, [3, 4], False, "is too new to work with worker hpc1.abc on hpc1 (pid 7, rqflow 9.1, protocol 3)\nUpgrade that first, to a release of"),
    (3, 5, [], True, "is too old for this Redis, in which runs of protocol 5 are unfinished\nUse a release of protocol 5, or one next to it"),
    (7, 5, [], True, "is too new for this Redis"),
    (6, 4, [5], True, "is too new for this Redis"),
])
def test_releases_that_are_further_apart_are_refused_with_what_to_do(own: int, stored: int, live: list[int], busy: bool, says: str) -> None:
    with pytest.raises(Conflict) as caught:
        decide(own, stored, [one(number) for number in live], busy=busy)
    assert says in str(caught.value)
    assert caught.value.exit_code == 5


def test_many_that_are_in_the_way_are_counted() -> None:
    with pytest.raises(Conflict, match="and 2 more"):
        decide(1, 5, [one(5, name=f"w{n}") for n in range(5)], busy=False)


@pytest.mark.parametrize(("live", "says"), [
    (one(2), "while a newer one is live: worker hpc1.abc on hpc1"), (one(1, "99.0"), "while a newer one is live"), (one(-1, "0.0"), "too old for it"),
])
def test_database_is_not_upgraded_past_what_is_live(live: Process, says: str) -> None:
    with pytest.raises(Conflict, match=says):
        protocol.refuse_upgrade([live])


@pytest.mark.parametrize("live", [one(1, protocol.release()), one(0, "0.0"), one(1, "unknown")])
def test_database_is_upgraded_beside_the_same_and_the_release_before(live: Process) -> None:
    protocol.refuse_upgrade([live])
