"""Epochs of Redis, as the leader sees and makes them; what they mean to a step stands in lua/_epoch.lua.

An epoch begins when the server process is another one than before (a restart, a failover), when its data are gone, and when the history
knows a later epoch (an old copy was put back). Until it is open nobody claims; a queue gives work again when all machines that served it
have said what they hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import redis

from rqflow.broker import keys
from rqflow.broker.mirror import GENERATION
from rqflow.broker.replies import text


@dataclass(frozen=True, slots=True)
class MachineSeen:
    """A work_dir whose worker serves queues. `name` is host.work_dir, `worker` RQ's name of its present worker."""

    name: str
    worker: str
    queues: tuple[str, ...]
    #: Its worker signed off with empty hands: nobody waits for it.
    has_left: bool = False
    #: Whether it runs only what was signed by somebody whom it trusts.
    verifies: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochSeen:
    """How Redis stands."""

    #: The id of the server process, and the one that the epoch is about.
    server: str
    about: str
    number: int
    is_open: bool
    machines: Mapping[str, MachineSeen] = field(default_factory=dict)
    admitted: frozenset[str] = frozenset()
    announced: frozenset[str] = frozenset()
    closed_queues: frozenset[str] = frozenset()

    def is_believed(self, known: int) -> bool:
        """Tell whether its data are those that the leader put right, `known` being the last epoch in the history."""
        return self.is_open and self.about == self.server and self.number >= known


class Epochs:
    """Reads and makes epochs, over one connection."""

    def __init__(self, connection: redis.Redis) -> None:
        """Use `connection`."""
        self._connection = connection
        self.outside = ""

    def look(self) -> EpochSeen:
        """Return how Redis stands; raises redis-py's errors."""
        with self._connection.pipeline() as pipe:
            pipe.info("server")
            pipe.hgetall(keys.EPOCH)
            pipe.hgetall(keys.MACHINES)
            pipe.hkeys(keys.ADMITTED)
            pipe.smembers(keys.ANNOUNCED)
            pipe.smembers(keys.CLOSED)
            info, epoch, machines, admitted, announced, closed = pipe.execute()
        said = {text(name): text(value) for name, value in epoch.items()}
        return EpochSeen(
            server=str(info["run_id"]), about=said.get("run_id", ""), number=int(said.get("number", "0")), is_open=said.get("state") == "open",
            machines={text(name): _machine(text(name), text(value)) for name, value in machines.items()},
            admitted=frozenset(map(text, admitted)), announced=frozenset(map(text, announced)), closed_queues=frozenset(map(text, closed)),
        )

    def believed(self) -> int | None:
        """Return the number of the epoch; None while Redis is not what the leader has put right. Raises redis-py's errors.

        In passing, `outside` learns the generation of the Variables and Connections.
        """
        with self._connection.pipeline() as pipe:
            pipe.info("server")
            pipe.hmget(keys.EPOCH, "run_id", "number", "state")
            pipe.hget(keys.OUTSIDE, GENERATION)
            info, said, generation = pipe.execute()
        self.outside = text(generation or "")
        about, number, state = (text(value or "") for value in said)
        return int(number) if about == info["run_id"] and state == "open" else None

    def begin(self, number: int, server: str) -> None:
        """Begin an epoch: nobody claims before `open`."""
        with self._connection.pipeline() as pipe:
            pipe.hset(keys.EPOCH, mapping={"run_id": server, "number": str(number), "state": "rebuilding"})
            pipe.delete(keys.ANNOUNCED)
            pipe.execute()

    def open(self, closed_queues: Iterable[str]) -> None:
        """Let workers announce what they hold, and claim from all queues but these."""
        with self._connection.pipeline() as pipe:
            pipe.delete(keys.CLOSED)
            if closed := sorted(closed_queues):
                pipe.sadd(keys.CLOSED, *closed)
            pipe.hset(keys.EPOCH, "state", "open")
            pipe.execute()

    def open_queue(self, queue: str) -> None:
        """Let a queue give work."""
        with self._connection.pipeline() as pipe:
            pipe.srem(keys.CLOSED, queue)
            pipe.delete(keys.BELL + queue)
            pipe.lpush(keys.BELL + queue, "1")
            pipe.execute()

    def admit(self, machines: Iterable[MachineSeen]) -> None:
        """Let these machines claim: the history knows them now. Rings for work on their queues."""
        with self._connection.pipeline() as pipe:
            for machine in machines:
                pipe.hset(keys.ADMITTED, machine.name, "1")
                for queue in machine.queues:
                    pipe.delete(keys.BELL + queue)
                    pipe.lpush(keys.BELL + queue, "1")
            pipe.execute()

    def forget(self, machine: str) -> None:
        """Wait for a machine no more."""
        with self._connection.pipeline() as pipe:
            pipe.hdel(keys.MACHINES, machine)
            pipe.hdel(keys.ADMITTED, machine)
            pipe.srem(keys.ANNOUNCED, machine)
            pipe.execute()

    def wait_call(self, seconds: float) -> bool:
        """Wait up to so long until a worker calls for recovery; True when one did."""
        return self._connection.blpop([keys.CALL], timeout=seconds) is not None


def _machine(name: str, plain: str) -> MachineSeen:
    said = json.loads(plain)
    queues = said["queues"] if isinstance(said["queues"], list) else []
    return MachineSeen(name, worker=said["name"], queues=tuple(queues), has_left=bool(said.get("left")),
                       verifies=bool(said.get("verifies")))
