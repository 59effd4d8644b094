"""One connection for a caller that asks again and again.

What redis-py does around each call (a connection from the pool, a look whether it still lives, retries, callbacks) takes the time in which Redis
carries out a small step. A worker's turn goes without it.
"""

from __future__ import annotations

from typing import Any

import redis

from rqflow import clock

#: After so many seconds without a call a connection is looked at before it is used: the other side may have closed it.
_TRUSTED = 1.0


class Line:
    """A connection of a client's pool, kept from one call to the next. For one thread."""

    def __init__(self, client: redis.Redis) -> None:
        """Speak to the server of `client`; nothing is opened yet."""
        self._pool = client.connection_pool
        self._kept: Any = None
        self._used_at = 0.0

    def __call__(self, *words: str | int) -> Any:
        """Send one command and return its reply; raises redis-py's errors. After a broken link the next call has another connection."""
        connection = self._connection()
        try:
            connection.send_command(*words)
            reply = connection.read_response()
        except redis.exceptions.ResponseError:
            # An answer, too: the connection is in order.
            raise
        except BaseException:
            connection.disconnect()
            self._give_back()
            raise
        self._used_at = clock.monotonic()
        return reply

    def _connection(self) -> Any:
        if self._kept and clock.monotonic() - self._used_at > _TRUSTED:
            self._give_back()
        if not self._kept:
            self._kept = self._pool.get_connection()
        return self._kept

    def _give_back(self) -> None:
        kept, self._kept = self._kept, None
        self._pool.release(kept)
