"""Asking through a tunnel: PING of Redis and SELECT 1 of the database, from end to end. That ssh runs proves nothing."""

from __future__ import annotations

import socket
from contextlib import closing
from math import ceil
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rqflow.exceptions import StoreError


class ProbeFailed(Exception):
    """A service did not answer through the tunnel. `is_silent`: nothing came back at all, so that it may be the connection that is dead."""

    def __init__(self, said: str, *, is_silent: bool) -> None:
        """Keep what was seen."""
        super().__init__(said)
        self.is_silent = is_silent


def ask_redis(path: Path, user: str, password: str, seconds: float) -> None:
    """Let Redis behind a socket answer a PING. One that asks for another password has answered, too. Raises ProbeFailed."""
    client = redis.Redis(unix_socket_path=str(path), username=user or None, password=password or None, socket_timeout=seconds,
                         socket_connect_timeout=seconds, retry=Retry(NoBackoff(), 0))
    with closing(client):
        try:
            client.ping()
        except redis.exceptions.TimeoutError as error:
            raise ProbeFailed(f"Redis did not answer for {seconds:g} s", is_silent=True) from error
        except redis.exceptions.AuthenticationError:
            return
        except redis.exceptions.ConnectionError as error:
            if isinstance(error, redis.exceptions.BusyLoadingError):
                return
            raise ProbeFailed(f"Redis: {error}", is_silent=False) from error
        except redis.exceptions.RedisError:
            return  # it refuses a PING of us, which is an answer


def ask_database(url: str, seconds: float) -> None:
    """Let the database carry out SELECT 1. Raises ProbeFailed."""
    from rqflow.store.engine import ask  # here: SQLAlchemy takes much memory, which tunnels of Redis alone do not need

    try:
        ask(url, ceil(seconds))
    except StoreError as error:
        raise ProbeFailed(error.message, is_silent="timed out" in error.message or "timeout" in error.message) from error


def greet_database(path: Path, seconds: float, *, speaks_first: bool) -> None:
    """Let a database, to which we have no password here, say anything. MariaDB and MySQL do so first, PostgreSQL when it is asked.

    Raises ProbeFailed.
    """
    with socket.socket(socket.AF_UNIX) as own:
        own.settimeout(seconds)
        try:
            own.connect(str(path))
            if not speaks_first:
                own.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")  # its SSLRequest
            if not own.recv(1):
                raise ProbeFailed("the connection to the database was closed", is_silent=False)
        except TimeoutError as error:
            raise ProbeFailed(f"the database did not answer for {seconds:g} s", is_silent=True) from error
        except OSError as error:
            raise ProbeFailed(f"the database: {error.strerror or error}", is_silent=False) from error
