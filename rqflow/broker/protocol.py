"""Releases that meet in one Redis: which processes live, of which release, and which may work together.

PROTOCOL counts changes of what is in Redis or goes through it. A release understands its own protocol and the one before; so neighbours
work together, and an upgrade may go machine by machine. Redis keeps the highest number that was used; a process that starts is refused
when it, or one that lives, is further away than one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import redis

from rqflow.broker import keys
from rqflow.broker.faults import translated
from rqflow.broker.replies import text
from rqflow.exceptions import Conflict

PROTOCOL = 1
_AGREE = Path(__file__).with_name("lua").joinpath("agree.lua").read_text(encoding="utf-8")
#: How a worker and a scheduler are called.
WORKER, SCHEDULER = "worker", "scheduler"


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """A process that lives and has said of which release it is."""

    kind: str
    name: str
    host: str
    pid: int
    version: str
    protocol: int

    def __str__(self) -> str:
        """Return it as messages name it."""
        return f"{self.kind} {self.name} on {self.host} (pid {self.pid}, rqflow {self.version}, protocol {self.protocol})"


@cache
def release() -> str:
    """Return the version of the rqflow that runs here; "unknown" when it was not installed but only put on the path."""
    try:
        return metadata.version("rqflow")
    except metadata.PackageNotFoundError:
        return "unknown"


def about() -> dict[Any, Any]:
    """Return the fields in which a process that registers says of which release it is."""
    return {"rqflow": release(), "protocol": str(PROTOCOL)}


def processes(connection: redis.Redis) -> list[Process]:
    """Return the workers and schedulers that live, by kind and name; stock RQ workers, which run whatever is installed, are left out."""
    found = []
    for kind, members in ((WORKER, keys.RQ_WORKERS), (SCHEDULER, keys.SCHEDULERS)):
        for key in sorted(map(text, connection.smembers(members))):
            plain = {text(name): text(value) for name, value in connection.hgetall(key).items()}
            if "protocol" in plain and "death" not in plain:
                name = key.removeprefix(keys.RQ_WORKER).removeprefix(keys.RQ_SCHEDULER_INSTANCE)
                found.append(Process(kind=kind, name=name, host=plain.get("hostname", ""), pid=int(plain.get("pid") or 0),
                                     version=plain.get("rqflow", ""), protocol=int(plain["protocol"])))
            elif not plain and kind == SCHEDULER:
                connection.srem(members, key)
    return found


def decide(own: int, stored: int | None, live: Sequence[Process], *, busy: bool) -> int:
    """Return the number that Redis keeps from now on, `stored` being the one that it has, when a process of protocol `own` starts.

    `busy` says that there are unfinished runs. Raises Conflict, for people, when it cannot work with what lives, or with those runs.
    """
    here = f"this rqflow {release()} (protocol {own})"
    newer = [process for process in live if process.protocol > own + 1]
    older = [process for process in live if process.protocol < own - 1]
    if newer:
        raise Conflict(f"{here} is too old to work with {_named(newer)}", hint=f"Upgrade rqflow here to {newer[0].version}. Nothing was changed.")
    if older:
        raise Conflict(f"{here} is too new to work with {_named(older)}",
                       hint=f"Upgrade that first, to a release of protocol {own - 1} or {own}. Nothing was changed; what runs there goes on.")
    if stored is None or (not live and not busy):
        return own
    if abs(stored - own) > 1:
        word = "old" if stored > own else "new"
        raise Conflict(f"{here} is too {word} for this Redis, in which runs of protocol {stored} are unfinished",
                       hint=f"Use a release of protocol {stored}, or one next to it, until they have ended. Nothing was changed.")
    return max(stored, own)


def check(connection: redis.Redis) -> None:
    """Raise Conflict when this release is too old, or too new, for what lives in Redis. Changes nothing."""
    stored = connection.get(keys.PROTOCOL)
    if stored is not None and abs(int(stored) - PROTOCOL) > 1:
        decide(PROTOCOL, int(stored), processes(connection), busy=_is_busy(connection))


def join(connection: redis.Redis) -> None:
    """Agree on the protocol before a process registers; raises Conflict when it may not work here."""
    while True:
        stored = connection.get(keys.PROTOCOL)
        number = decide(PROTOCOL, None if stored is None else int(stored), processes(connection), busy=_is_busy(connection))
        if stored is not None and number == int(stored):
            return
        # Again when another one started at the same moment.
        if translated(connection.eval, _AGREE, 1, keys.PROTOCOL, "" if stored is None else text(stored), number):
            return


def refuse_upgrade(live: Sequence[Process]) -> None:
    """Raise Conflict when the database must not be upgraded by this release, because of what lives: newer ones, or ones left too far behind."""
    newer = [process for process in live if (process.protocol, _numbers(process.version)) > (PROTOCOL, _numbers(release()))]
    older = [process for process in live if process.protocol < PROTOCOL - 1]
    if newer:
        raise Conflict(f"the database is not upgraded by rqflow {release()} while a newer one is live: {_named(newer)}",
                       hint=f"Run `rqflow db upgrade` of rqflow {newer[0].version}, or stop that process first.")
    if older:
        raise Conflict(f"the database is not upgraded to rqflow {release()} while one is live that is too old for it: {_named(older)}",
                       hint="Upgrade or stop that process first; its tasks go on.")


def _is_busy(connection: redis.Redis) -> bool:
    return bool(connection.zcard(keys.LIVE) or connection.zcard(keys.PREPARING))


def _named(found: Sequence[Process]) -> str:
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return ", ".join(map(str, found[:3])) + more


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version; none when it is unknown, which is older than any."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()
