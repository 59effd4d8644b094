"""A lock in Redis with its owner's name: only its owner prolongs or releases it, and it ends by itself.

What an owner left that was killed on this very machine is free at once: nobody has to wait for a process that is known to be gone.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import redis

from rqflow import process
from rqflow.broker import keys
from rqflow.broker.faults import translated
from rqflow.broker.replies import text

_HOLD, _RELEASE = (Path(__file__).with_name("lua").joinpath(f"lock_{step}.lua").read_text(encoding="utf-8") for step in ("hold", "release"))


class Lock:
    """One lock as one owner sees it."""

    def __init__(self, connection: redis.Redis, name: str, *, ttl: timedelta) -> None:
        """Name the lock (its key) and how long it lasts without being held on to; nothing is taken yet."""
        self.name = name
        self.token = process.name_of_this()
        self._connection = connection
        self._ttl = max(int(ttl.total_seconds() * 1000), 1)

    def hold(self) -> bool:
        """Take the lock or prolong it; return whether it is ours. Raises redis' own errors."""
        return self._held() or (self._left_by_the_dead() and self._held())

    def release(self) -> bool:
        """Give the lock back; return whether it was ours. Raises redis' own errors."""
        return self._release(self.token)

    def _held(self) -> bool:
        return bool(translated(self._connection.eval, _HOLD, 1, self.name, self.token, self._ttl))

    def _left_by_the_dead(self) -> bool:
        """Give the lock back for an owner that is gone; return whether it is free now, as far as that is known."""
        owner = translated(self._connection.get, self.name)
        return owner is None or (process.is_gone(text(owner)) and self._release(text(owner)))

    def _release(self, token: str) -> bool:
        return bool(translated(self._connection.eval, _RELEASE, 1, self.name, token))


def leader(connection: redis.Redis, *, ttl: timedelta) -> Lock:
    """Return the lock that the leading scheduler holds."""
    return Lock(connection, keys.LEADER, ttl=ttl)


def has_leader(connection: redis.Redis) -> bool:
    """Tell whether a scheduler leads. Raises redis' own errors."""
    return bool(connection.exists(keys.LEADER))
