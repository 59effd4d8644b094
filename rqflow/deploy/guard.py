"""What must not be done while processes of other releases are live."""

from __future__ import annotations

import redis

from rqflow.broker import protocol
from rqflow.deploy.live import peek
from rqflow.settings import Settings


def may_upgrade(settings: Settings) -> bool:
    """Raise Conflict when the database must not be upgraded, because of what lives; tell whether Redis could be asked for that."""
    try:
        with peek(settings) as connection:
            if connection is None:
                # The private Redis runs as long as anybody uses it.
                return not settings.redis.url
            protocol.refuse_upgrade(protocol.processes(connection))
    except redis.exceptions.RedisError:
        return False
    return True
