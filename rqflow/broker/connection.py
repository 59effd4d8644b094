"""Opening connections to Redis, and refusing servers that would lose or double tasks."""

from __future__ import annotations

import logging
import math
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from rqflow import clock
from rqflow.broker import exposure
from rqflow.broker.faults import LINK_ERRORS, Outage, lastingly, patiently, unreachable
from rqflow.exceptions import BrokerError, ConfigError
from rqflow.settings import Settings, without_password

logger = logging.getLogger(__name__)

OLDEST = (6, 2)


def open_connection(url: str, settings: Settings, *, client_name: str = "") -> redis.Redis:
    """Return a client for `url` without speaking to the server yet; sentinel://host:port/name asks a Sentinel for the primary.

    redis-py's own retries are off: it would send a step again under conditions that only its caller can judge.
    """
    timeout = settings.redis.socket_timeout.total_seconds()
    options: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": Retry(NoBackoff(), 0), "retry_on_error": [],
               "health_check_interval": 0, "client_name": client_name or None}
    if not url.startswith("unix:"):
        options["socket_keepalive"] = True
    try:
        if url.startswith("sentinel://"):
            parts = urlsplit(url)
            sentinel: Any = Sentinel([(parts.hostname or "localhost", parts.port or 26379)], socket_timeout=timeout)  # type: ignore[no-untyped-call]
            primary: redis.Redis = sentinel.master_for(parts.path.strip("/") or "mymaster", password=parts.password, **options)
            return primary
        return redis.Redis.from_url(url, **options)
    except ValueError as error:
        raise ConfigError(f"redis.url: {error}") from error


def connect(url: str, settings: Settings, *, client_name: str = "", waits: bool = False) -> redis.Redis:
    """Return a checked connection; raises BrokerError saying what is wrong with the server and what to do, ConfigError for one that is open to all.

    With `waits` a server that is away, or not ready, is waited for, as long as it takes; one that refuses us is not.
    """
    connection, since = open_connection(url, settings, client_name=client_name), clock.utcnow()
    if not settings.redis.allow_open:
        exposure.refuse_open_url(url)

    def check() -> None:
        check_server(connection)
        if not settings.redis.allow_open:
            exposure.refuse_open_server(connection, url)

    try:
        if waits:
            lastingly(Outage(logger, where=without_password(url)), check)
        else:
            patiently(connection, check)
    except redis.exceptions.AuthenticationError as error:
        if connection.get_connection_kwargs().get("password"):
            raise BrokerError(f"Redis refuses the password: {error}", hint="Check user and password in redis.url.") from error
        raise BrokerError(f"Redis at {without_password(url)} asks for a password, and redis.url has none",
                          hint="Write it like redis://:PASSWORD@HOST/0 or unix://:PASSWORD@/PATH.") from error
    except LINK_ERRORS as error:
        raise unreachable(error, since, where=without_password(url)) from error
    except redis.exceptions.RedisError as error:
        raise BrokerError(f"Redis at {without_password(url)} refuses us: {error}", hint="What may the user in redis.url do there?") from error
    return connection


def check_server(connection: redis.Redis) -> None:
    """Raise BrokerError for a server that rqflow cannot trust with tasks: too old, a cluster, or one that evicts keys.

    Raises redis-py's errors when it does not answer, or still loads its data.
    """
    info = connection.info()
    if info.get("loading"):
        raise redis.exceptions.BusyLoadingError(f"{info.get('loading_loaded_perc', '0')} % are loaded")
    version = tuple(int(part) for part in str(info.get("redis_version", "0")).split(".")[:2])
    if version < OLDEST:
        raise BrokerError(f"Redis {info['redis_version']} is too old", hint="rqflow needs Redis 6.2 or Valkey.")
    if info.get("cluster_enabled"):
        raise BrokerError("Redis Cluster is not supported", hint="Use one primary, with Sentinel for failover.")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise BrokerError(f"Redis may throw tasks away: its maxmemory-policy is {policy}", hint="Set `maxmemory-policy noeviction` in redis.conf.")
    if not info.get("aof_enabled") and not _has_save_points(connection):
        logger.warning("Redis keeps nothing on disk: its end loses the runs that have not ended; set `appendonly yes` in redis.conf")


def _has_save_points(connection: redis.Redis) -> bool:
    """Tell whether Redis writes snapshots by itself; True when it does not let us ask."""
    try:
        return bool(connection.config_get("save").get("save", "?"))
    except redis.exceptions.ResponseError:
        return True


def longest_wait(connection: redis.Redis) -> float:
    """Return for how many seconds a blocking call on `connection` may wait: one that outlasts the socket's timeout looks like a broken link."""
    timeout = connection.connection_pool.connection_kwargs.get("socket_timeout")
    return timeout / 2 if timeout else math.inf


def block(connection: redis.Redis, milliseconds: int) -> int | None:
    """Return `milliseconds` as XREAD's BLOCK takes them, no longer than the socket allows; None, which does not wait, for 0."""
    return int(min(milliseconds, 1000 * longest_wait(connection))) or None
