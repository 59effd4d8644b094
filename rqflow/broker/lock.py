"""A lock in Redis with an owner's token: only its owner prolongs or releases it, and it ends by itself."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import redis

from rqflow.broker import keys
from rqflow.broker.faults import translated

_HOLD, _RELEASE = (Path(__file__).with_name("lua").joinpath(f"lock_{step}.lua").read_text(encoding="utf-8") for step in ("hold", "release"))


class Lock:
    """One lock as one owner sees it."""

    def __init__(self, connection: redis.Redis, name: str, *, ttl: timedelta) -> None:
        """Name the lock (its key) and how long it lasts without being held on to; nothing is taken yet."""
        self.name = name
        self.token = uuid4().hex
        self._connection = connection
        self._ttl = max(int(ttl.total_seconds() * 1000), 1)

    def hold(self) -> bool:
        """Take the lock or prolong it; return whether it is ours. Raises redis' own errors."""
        return bool(translated(self._connection.eval, _HOLD, 1, self.name, self.token, self._ttl))

    def release(self) -> bool:
        """Give the lock back; return whether it was ours. Raises redis' own errors."""
        return bool(translated(self._connection.eval, _RELEASE, 1, self.name, self.token))


def leader(connection: redis.Redis, *, ttl: timedelta) -> Lock:
    """Return the lock that the leading scheduler holds."""
    return Lock(connection, keys.LEADER, ttl=ttl)


def has_leader(connection: redis.Redis) -> bool:
    """Tell whether a scheduler leads. Raises redis' own errors."""
    return bool(connection.exists(keys.LEADER))
