"""Removing a run from Redis that was deleted: nothing of it starts from the first moment on, and what runs of it is stopped."""

from __future__ import annotations

from rqflow.broker import keys
from rqflow.broker.broker import FORGET_CHUNK, Broker
from rqflow.broker.replies import items

#: Seconds for which no run of the key is begun, unless `remove` ends that before, and for which what runs of it on a machine that is away is
#: stopped when it comes back.
BURIED_FOR, DOOMED_FOR = 3600, 7 * 86400


def bury(broker: Broker, run_key: str, by: str) -> None:
    """Let nobody begin a run of this key, and cancel it when Redis has it: what waits ends, what runs is stopped by its worker.

    Safe to repeat. Raises BrokerError when Redis does not answer.
    """
    broker.steps.command("SET", keys.BURIED + run_key, by, "EX", BURIED_FOR)
    broker.cancel_run(run_key, by)


def remove(broker: Broker, run_key: str) -> bool:
    """Remove a run that is buried from Redis, whatever its state; False when it is not buried any more. Safe to repeat, and to break off.

    What still runs of it is stopped as soon as its worker is heard of. Raises BrokerError when Redis does not answer.
    """
    at = 0
    while at >= 0:
        reply = broker.steps.call("remove", {"run": run_key, "from": at, "count": FORGET_CHUNK, "life": DOOMED_FOR})
        broker.advance_all(key for key in items(reply["unfinished"]) if key != run_key)
        at = int(reply["next"])
    broker.forget_cached()
    return at == -1


def unbury(broker: Broker, run_key: str) -> None:
    """Let a run of this key be begun again: the removal is done."""
    broker.steps.command("DEL", keys.BURIED + run_key)
