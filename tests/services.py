"""Private servers for tests: started on sockets of their own in a folder of their own, stopped by pid."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.waiting import until


def answers(connection: redis.Redis) -> bool:
    """Tell whether Redis answers a PING."""
    try:
        return bool(connection.ping())
    except redis.exceptions.ConnectionError:
        return False


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[str]:
    """Run a redis-server on a unix socket in `folder`; give its URL."""
    path = folder / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder), "--maxmemory-policy", "noeviction"]
    with (folder / "redis.log").open("wb") as log, subprocess.Popen([*command, *options], stdout=log, stderr=log) as server:
        try:
            with redis.Redis(unix_socket_path=str(path)) as connection:
                until(lambda: answers(connection), what="redis-server to answer")
            yield f"unix://{path}"
        finally:
            server.terminate()
            server.wait()
