"""Which errors of Redis are broken links, and what is said of them."""

from __future__ import annotations

import itertools
import logging

import pytest
import redis

from rqflow import clock
from rqflow.broker import faults
from rqflow.broker.faults import Outage, TakesNoWrites, is_away, lastingly, translated, unreachable, what_is_wrong

#: What Redis 6 says when a script meets a refusal of a write.
IN_A_SCRIPT = "Error running script (call to f_6676): @user_script:971: @user_script: 971: -{}"

#: What redis-py says when a pipeline meets one.
IN_A_PIPELINE = "Command # 1 (HSET key field value) of pipeline caused error: {}"


@pytest.mark.parametrize(("words", "kind"), [
    ("MISCONF Errors writing to the AOF file", TakesNoWrites),
    ("NOREPLICAS Not enough good replicas to write.", TakesNoWrites),
    (IN_A_SCRIPT.format("MISCONF Redis is configured to save RDB snapshots"), TakesNoWrites),
    (IN_A_SCRIPT.format("OOM command not allowed when used memory > 'maxmemory'."), redis.exceptions.OutOfMemoryError),
    (IN_A_SCRIPT.format("READONLY You can't write against a read only replica."), redis.exceptions.ReadOnlyError),
    (IN_A_PIPELINE.format("MISCONF Errors writing to the AOF file"), TakesNoWrites),
    ("WRONGTYPE Operation against a key holding the wrong kind of value", redis.exceptions.ResponseError),
    ("unknown command 'ROOMS '", redis.exceptions.ResponseError),
])
def test_a_refusal_of_writes_is_told_from_other_errors(words: str, kind: type[Exception]) -> None:
    def refuse() -> None:
        raise redis.exceptions.ResponseError(words)

    with pytest.raises(kind) as caught:
        translated(refuse)
    assert type(caught.value) is kind
    assert is_away(caught.value) == (kind is not redis.exceptions.ResponseError)


@pytest.mark.parametrize(("error", "words"), [
    (redis.exceptions.ConnectionError("refused"), "Redis does not answer"),
    (redis.exceptions.TimeoutError("late"), "Redis does not answer"),
    (redis.exceptions.BusyLoadingError("3 %"), "Redis is still loading its data"),
    (redis.exceptions.ReadOnlyError("replica"), "Redis is a replica and takes no writes"),
    (redis.exceptions.OutOfMemoryError("full"), "Redis is full and takes no writes"),
    (TakesNoWrites("MISCONF"), "Redis takes no writes"),
    (redis.exceptions.ResponseError("no"), "Redis refuses a call"),
])
def test_each_error_is_said_in_words_with_what_is_lost_and_since_when(error: Exception, words: str) -> None:
    told = unreachable(error, clock.from_micros(0), where="redis://hub")
    assert told.message.startswith(f"{words} at redis://hub: {error}; tried since 1970-01-01 00:00:00 UTC, nothing is lost")
    assert told.hint == what_is_wrong(error)[1] != ""
    assert told.exit_code == 7


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the clock, to be moved."""
    now = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    monkeypatch.setattr(clock, "utcnow", lambda: clock.from_micros(int(now[0] * 1_000_000)))
    monkeypatch.setattr(clock, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def test_an_outage_is_told_once_again_every_minute_and_at_its_end(moment: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="rqflow")
    outage = Outage(logging.getLogger("rqflow"), where="redis://hub")
    outage.over()
    for _ in range(130):
        outage.note(redis.exceptions.ConnectionError("refused"))
        moment[0] += 1
    outage.note(redis.exceptions.BusyLoadingError("3 %"))
    outage.over()
    outage.over()
    first = "Redis does not answer at redis://hub: refused; waiting for it since 1970-01-01 00:01:40 UTC, nothing is lost"
    loads = "Redis is still loading its data at redis://hub: 3 %; waiting for it since 1970-01-01 00:01:40 UTC, nothing is lost"
    assert caplog.messages == [first, first, first, loads, "Redis at redis://hub answers again, after 130.0 s"]


def test_a_step_that_gave_up_is_told_by_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    error = unreachable(cause := redis.exceptions.OutOfMemoryError("full"), clock.from_micros(0))
    error.__cause__ = cause
    Outage(logging.getLogger("rqflow")).note(error)
    assert caplog.messages[0].startswith("Redis is full and takes no writes: full; waiting for it since")


@pytest.mark.usefixtures("moment")
def test_what_lasts_is_asked_again_for_days_and_a_refusal_never() -> None:
    asked = []

    def ask() -> str:
        asked.append(clock.monotonic())
        if asked[-1] < 86_400:
            raise redis.exceptions.ConnectionError("refused")
        return "here"

    assert lastingly(Outage(logging.getLogger("rqflow")), ask) == "here"
    waits = [after - before for before, after in itertools.pairwise(asked)]
    assert max(waits) <= faults.LONGEST_WAIT
    assert len(set(waits)) > len(waits) / 2, "two processes must not ask in step"

    def refuse() -> None:
        asked.clear()
        raise redis.exceptions.AuthenticationError("wrong")

    with pytest.raises(redis.exceptions.AuthenticationError):
        lastingly(Outage(logging.getLogger("rqflow")), refuse)
