"""Calls of authors' functions on their way to a worker and back: the leading scheduler puts an order into the hash of a machine, its worker takes it,
and removes it in the same transaction that tells the end. So an order is there until its end is told.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Mapping
from typing import Any

from rqflow import logs
from rqflow.broker import keys, signed
from rqflow.broker.broker import Broker
from rqflow.broker.faults import patiently
from rqflow.broker.names import machine_of
from rqflow.broker.replies import text
from rqflow.broker.signed import Stored
from rqflow.clock import to_micros
from rqflow.dag.callbacks import Kind
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version
from rqflow.exceptions import RunNotFound
from rqflow.wire import decode, encode

logger = logging.getLogger(__name__)

#: Seconds for which the text of a version is kept for orders; one that lies longer is given anew.
KEEP_VERSION = 3600
#: What orders are called, and the bytes that one may have: of XComs with 48 KB each it may have many.
_ID, LARGEST_ORDER = re.compile(rb"[0-9a-z_-]{1,64}"), 64 << 20


def send(broker: Broker, worker: str, order_id: str, order: Mapping[str, Any], version: Version) -> None:
    """Give an order to the machine of a live worker, which is to look now, with the version that it is about. Safe to repeat. Raises BrokerError."""
    key = keys.CALLBACK_VERSION + version.sha
    if not broker.steps.command("EXPIRE", key, KEEP_VERSION):
        broker.steps.command("SET", key, version.json, "EX", KEEP_VERSION)
    if version.signatures:
        broker.steps.command("SET", key + keys.SIGNATURES, signed.field(version.signatures), "EX", KEEP_VERSION)
    given = ["HSET", keys.CALLBACKS + machine_of(worker), order_id, encode(dict(order)).decode()]
    broker.steps.together(given, ["PUBLISH", broker.hint_channel(worker), "look"])


def withdraw(broker: Broker, machine: str, order_id: str) -> bool:
    """Take an order back; False when it is not there any more. Who is carrying it out is not stopped."""
    return bool(broker.steps.command("HDEL", keys.CALLBACKS + machine, order_id))


def sent(broker: Broker, machine: str) -> set[str]:
    """Return the ids of the orders of a machine. Raises redis-py's errors."""
    return {text(name) for name in patiently(broker.connection, broker.connection.hkeys, keys.CALLBACKS + machine)}


def orders(broker: Broker, machine: str) -> dict[str, dict[str, Any]]:
    """Return {id: order} of a machine; what is no order is put away, and so given anew when the hub knows of it. Raises redis-py's errors."""
    found = patiently(broker.connection, broker.connection.hgetall, keys.CALLBACKS + machine)
    given: dict[str, dict[str, Any]] = {}
    for name, value in found.items():
        order = _order(name, value)
        if order is None:
            logger.warning("what lies in Redis as an order for a callback is none, and is put away: see who may write there",
                           extra=logs.context("order_forged", order=repr(name)[:80]))
            patiently(broker.connection, broker.connection.hdel, keys.CALLBACKS + machine, name)
        else:
            given[text(name)] = order
    return given


def _order(name: bytes | str, value: bytes | str) -> dict[str, Any] | None:
    """Return an order; None for what is none. Its name is one of a folder on its worker."""
    if not _ID.fullmatch(name if isinstance(name, bytes) else name.encode()) or len(value) > LARGEST_ORDER:
        return None
    try:
        order = decode(value)
        RunInfo.from_json(encode(order["run"]).decode())
        Kind(order["kind"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return order if {"version", "task_id"} <= order.keys() else None


def version(broker: Broker, sha: str) -> Stored | None:
    """Return a version that an order is about, as it lies in Redis; None when it lay for too long, or Redis lost it.

    Raises redis-py's errors, and TaskFailed for one that is too large to be one.
    """
    with contextlib.suppress(RunNotFound):
        return patiently(broker.connection, signed.of_callback, broker.connection, sha)
    return None


def tell(broker: Broker, machine: str, order_id: str, run: RunInfo, event: Mapping[str, Any]) -> None:
    """Tell the history how a call ended, and remove its order, both or neither. A repeated one changes nothing. Raises BrokerError.

    `event` holds `task`, `try`, `state`, `called`, `worker`, `reason`, `output`, and `started_at` in microseconds by Redis' clock.
    """
    whole = {"kind": "callback", "id": order_id, "run": run.key, "dag": run.dag_id, "run_id": run.run_id, "seq": to_micros(broker.now()), **event}
    broker.steps.together(["XADD", keys.EVENTS, "*", "e", encode([whole]).decode()], ["HDEL", keys.CALLBACKS + machine, order_id])
