"""Asking the hub: what needs the history is an entry in one stream, answered by the leading scheduler.

A request is answered once, but may be carried out twice when the leader dies in between: what is asked for must be safe to repeat. A handler
knows a request again by the moment of its asking, which no other one has.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import redis
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, stop_any, stop_when_event_set, wait_exponential_jitter

from rqflow import clock
from rqflow.broker import keys
from rqflow.broker.connection import block, longest_wait
from rqflow.broker.faults import LINK_ERRORS, unreachable
from rqflow.broker.replies import text
from rqflow.exceptions import BrokerError, RqflowError

logger = logging.getLogger(__name__)

#: An answer that nobody fetched is dropped after this many seconds.
KEEP = 600
#: Under which name a handler finds when it was asked, microseconds since the epoch by Redis' clock.
ASKED_AT = "asked_at"

Handler = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def ask(connection: redis.Redis, kind: str, payload: Mapping[str, Any], *, timeout: float = 30.0,
        stop: threading.Event | None = None) -> dict[str, Any]:
    """Ask the hub and wait up to `timeout` seconds, over broken links too, unless told to `stop`.

    Raises BrokerError when no leader answers or Redis is away, RqflowError with the hub's own words.
    """
    name, since, deadline = uuid.uuid4().hex, clock.utcnow(), clock.monotonic() + timeout
    fields: dict[Any, Any] = {"id": name, "kind": kind, "payload": json.dumps(payload)}
    stop = stop or threading.Event()
    again = Retrying(retry=retry_if_exception_type(LINK_ERRORS), stop=stop_any(stop_after_delay(timeout), stop_when_event_set(stop)), reraise=True,
                     wait=wait_exponential_jitter(multiplier=0.05, max=1.0, jitter=0.1))
    try:
        again(connection.xadd, keys.REQUESTS, fields)
        answer = again(_fetch, connection, keys.ANSWER + name, deadline, stop)
    except LINK_ERRORS as error:
        raise unreachable(error, since) from error
    if answer is None:
        # Taken back, so that requests do not pile up while no leader is there, and nobody starts tomorrow what was given up today.
        _take_back(connection, name)
        raise BrokerError(f"the hub did not answer within {timeout:g} s", hint="Is `rqflow scheduler` running there?")
    reply: dict[str, Any] = json.loads(answer)
    if "error" in reply:
        raise RqflowError(reply["error"], hint=reply.get("hint", ""))
    return dict(reply["answer"])


def _take_back(connection: redis.Redis, name: str) -> None:
    """Remove a request that nobody has answered: its entry, or more where the answer to the first was lost."""
    with suppress(*LINK_ERRORS):
        waiting: Any = connection.xrange(keys.REQUESTS)
        entries = [entry_id for entry_id, fields in waiting if text(fields.get(b"id", b"")) == name]
        if entries:
            connection.xdel(keys.REQUESTS, *entries)


def _fetch(connection: redis.Redis, box: str, deadline: float, stop: threading.Event) -> Any:
    """Return what is in the box of an answer, None when nothing is at the deadline.

    It is turned over, not taken: an answer that gets lost on the way is still there.
    """
    answer: Any = None
    while answer is None and not stop.is_set() and (left := deadline - clock.monotonic()) > 0:
        answer = connection.blmove(box, box, min(left, longest_wait(connection)))  # type: ignore[arg-type]  # Redis takes fractions
    if answer is not None:
        with suppress(*LINK_ERRORS):  # it ends by itself
            connection.delete(box)
    return answer


class RequestDesk:
    """The leader's side: takes requests in their order and answers them through the handlers of their kinds."""

    def __init__(self, connection: redis.Redis, handlers: Mapping[str, Handler]) -> None:
        """Take the connection and {kind: what carries it out}."""
        self.connection = connection
        self.handlers = handlers

    def step(self, *, block_ms: int = 1000, count: int = 50) -> int:
        """Answer the requests that wait, up to `count`, waiting `block_ms` for the first; returns how many."""
        answer: Any = self.connection.xread({keys.REQUESTS: "0"}, count=count, block=block(self.connection, block_ms))
        entries = [entry for _, part in answer or [] for entry in part]
        for entry_id, fields in entries:
            reply = self._reply(text(fields.get(b"kind", b"")), fields.get(b"payload", b""), _moment(text(entry_id)))
            with self.connection.pipeline() as pipe:
                box = keys.ANSWER + text(fields.get(b"id", entry_id))
                pipe.rpush(box, json.dumps(reply))
                pipe.expire(box, KEEP)
                pipe.xdel(keys.REQUESTS, entry_id)
                pipe.execute()
        return len(entries)

    def _reply(self, kind: str, payload: bytes, asked_at: int) -> dict[str, Any]:
        if kind not in self.handlers:
            return {"error": f"the hub does not know requests of kind {kind}", "hint": "Does an older release run there?"}
        try:
            return {"answer": self.handlers[kind]({**json.loads(payload), ASKED_AT: asked_at})}
        except (BrokerError, *LINK_ERRORS):
            # Redis is away: the request stays, and is answered when it is back.
            raise
        except RqflowError as error:
            return {"error": error.message, "hint": error.hint}
        except Exception:
            # One bad request must not keep the others waiting for ever.
            logger.exception("request of kind %s failed", kind)
            return {"error": f"the hub failed at a request of kind {kind}", "hint": "Its log says more."}


def _moment(entry_id: str) -> int:
    """Return when an entry of a stream was made, in microseconds; no two entries have the same."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds) * 1000 + int(number)
