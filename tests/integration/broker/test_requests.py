"""Requests to the hub: answered in order, with errors in words, and said plainly when nobody answers."""

from __future__ import annotations

import threading

import pytest
import redis

from rqflow.broker import keys
from rqflow.broker.requests import RequestDesk, ask
from rqflow.exceptions import BrokerError, Conflict, RqflowError
from tests.profile import PATIENCE


def refuse(_: object) -> dict[str, str]:
    raise Conflict("that run exists", hint="Take another id.")


@pytest.fixture
def desk(db: redis.Redis) -> RequestDesk:
    return RequestDesk(db, {"double": lambda payload: {"value": payload["value"] * 2}, "refuse": refuse, "break": lambda payload: payload["absent"]})


def served(desk: RequestDesk, url: str, kind: str, payload: dict[str, int]) -> dict[str, int]:
    clerk = threading.Thread(target=lambda: desk.step(block_ms=int(PATIENCE * 1000)))
    clerk.start()
    try:
        with redis.Redis.from_url(url) as connection:
            return ask(connection, kind, payload, timeout=PATIENCE)
    finally:
        clerk.join()


def test_an_answer_comes_back_and_nothing_stays(desk: RequestDesk, db: redis.Redis, redis_url: str) -> None:
    assert served(desk, redis_url, "double", {"value": 21}) == {"value": 42}
    assert db.xlen(keys.REQUESTS) == 0
    assert not list(db.scan_iter(f"{keys.ANSWER}*"))


@pytest.mark.parametrize(("kind", "words"), [("refuse", "that run exists"), ("break", "failed at a request"), ("unknown", "does not know requests")])
def test_what_goes_wrong_at_the_hub_is_said_where_it_was_asked(desk: RequestDesk, redis_url: str, kind: str, words: str) -> None:
    with pytest.raises(RqflowError, match=words):
        served(desk, redis_url, kind, {})


def test_an_entry_that_is_no_request_holds_up_no_other(desk: RequestDesk, db: redis.Redis, redis_url: str) -> None:
    db.xadd(keys.REQUESTS, {"odd": "entry"})
    db.xadd(keys.REQUESTS, {"id": "x", "kind": "double", "payload": "{"})
    assert desk.step() == 2
    assert served(desk, redis_url, "double", {"value": 4}) == {"value": 8}
    assert db.xlen(keys.REQUESTS) == 0


def test_no_hub_is_said_with_its_remedy(db: redis.Redis) -> None:
    with pytest.raises(BrokerError, match="did not answer within"):
        ask(db, "double", {}, timeout=0.1)
    assert db.xlen(keys.REQUESTS) == 0, "what was given up is not carried out later"
