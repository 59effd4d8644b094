"""Redis over TLS, with a user who may only do what docs/how-to/security-redis.md says: enough for all, and nothing else."""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
import trustme

from tests.e2e.lab import Lab, states, tasks
from tests.services import OwnRedis
from tests.waiting import until

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "security-redis.md"
SOURCE = """
from datetime import timedelta
from rqflow import DAG, BashOperator
with DAG("wide"):
    a = BashOperator(task_id="a", bash_command="echo hello; echo 7", do_xcom_push=True, pool="small")
    b = BashOperator(task_id="b", bash_command="test -e FOLDER/once || (touch FOLDER/once; exit 1)", retries=1, retry_delay=timedelta(milliseconds=200))
    a >> b >> BashOperator(task_id="c", bash_command="test {{ ti.xcom_pull('a') }} = 7; echo {{ var.value.site }}")
with DAG("slow"):
    BashOperator(task_id="a", bash_command="touch FOLDER/began; sleep 600")
"""


@dataclass
class Guarded:
    """A Redis that speaks TLS, to which only its user may log in."""

    server: OwnRedis
    url: str
    admin: redis.Redis


def acl_line() -> str:
    """The line of the page, without its name and password."""
    found = re.search(r"^user rqflow on >PASSWORD (.+)$", PAGE.read_text(), re.MULTILINE)
    assert found
    return found[1]


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    folder = tmp_path / "guarded"
    folder.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    own = authority.issue_cert("localhost", "127.0.0.1")
    own.private_key_pem.write_to_path(folder / "key.pem")
    own.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = OwnRedis(folder, "--tls-port", str(port), "--tls-cert-file", str(folder / "cert.pem"), "--tls-key-file", str(folder / "key.pem"),
                      "--tls-ca-cert-file", str(folder / "ca.pem"), "--tls-auth-clients", "no", "--bind", "127.0.0.1")
    server.start()
    password = secrets.token_hex(16)
    admin = redis.Redis(unix_socket_path=str(server.socket), username="admin", password="admin")
    with redis.Redis(unix_socket_path=str(server.socket)) as first:
        first.execute_command("ACL", "SETUSER", "admin", "on", ">admin", "~*", "&*", "+@all")
        first.execute_command("ACL", "SETUSER", "rqflow", "on", f">{password}", *acl_line().split())
        first.execute_command("ACL", "SETUSER", "default", "off")
    yield Guarded(server, f"rediss://rqflow:{password}@127.0.0.1:{port}/0?ssl_ca_certs={folder / 'ca.pem'}", admin)
    admin.close()
    server.kill()


@pytest.mark.timeout(240)  # a score of commands, on a busy machine
def test_a_user_with_what_the_page_lists_is_enough_for_all_over_tls_and_is_refused_nothing(
    new_lab: Callable[..., Lab], guarded: Guarded,
) -> None:
    lab = new_lab(redis_url=guarded.url)
    lab.hub()
    lab.start("worker", "-n", "2")
    lab.together(["pool", "set", "small", "1"], ["var", "set", "site", "north"],
             ["submit", str(lab.dag(SOURCE.replace("FOLDER", str(lab.folder))))], ["run", "start", "wide", "--run-id", "w"])
    assert states(lab.finish("w")) == {"a": "success", "b": "success", "c": "success"}
    lab.together(["run", "start", "slow", "--run-id", "s"], ["task", "clear", "w", "c", "--yes"], ["queue", "pause", "default"],
             ["queue", "resume", "default"], ["top", "--once"])
    until((lab.folder / "began").exists, what="the task to run")
    said = lab.together(["task", "logs", "w", "a"], ["task", "logs", "w", "c"], ["run", "cancel", "s"])
    assert ("hello" in said, "north" in said) == (True, True)
    assert states(lab.finish("s")) == {"a": "cancelled"}
    until(lambda: tasks(again := lab.show("w"))["c"]["try_number"] == 2 and again["state"] == "success", what="the task to be done again")
    said = lab.together(["run", "delete", "w", "--yes"], ["health", "--component", "redis"], ["metrics"])
    assert "rqflow_up{component=\"redis\"} 1.0" in said
    assert {one["object"] for one in guarded.admin.acl_log()} <= {"config|get", "client|setinfo"}


#: What that user may not do.
FORBIDDEN = [
    ("FLUSHALL",), ("CONFIG", "SET", "dir", "/tmp"), ("CONFIG", "GET", "*"), ("SHUTDOWN",), ("KEYS", "*"), ("MODULE", "LIST"),
    ("ACL", "LIST"), ("GET", "someone:else"), ("SET", "someone:else", "1"), ("EVAL", "return redis.call('GET', KEYS[1])", "1", "someone:else"),
    ("EVAL", "return redis.call('FLUSHALL')", "0"), ("PUBLISH", "elsewhere", "x"), ("MONITOR",), ("REPLICAOF", "NO", "ONE"), ("SAVE",), ("CLIENT", "LIST"),
    ("FUNCTION", "FLUSH"), ("SCRIPT", "FLUSH"), ("SWAPDB", "0", "1"),
]


def test_that_user_may_do_nothing_else(guarded: Guarded) -> None:
    with redis.Redis.from_url(guarded.url) as connection:
        for words in FORBIDDEN:
            with pytest.raises(redis.exceptions.ResponseError, match=r"(?i)no permissions|can't run|can't access"):
                connection.execute_command(*words)


def test_nobody_gets_in_without_the_password_or_without_tls(guarded: Guarded) -> None:
    with redis.Redis.from_url(guarded.url.replace("rqflow:", "rqflow:not")) as connection, pytest.raises(redis.exceptions.AuthenticationError):
        connection.ping()
    with redis.Redis.from_url(guarded.url.replace("rediss://", "redis://").partition("?")[0]) as connection, pytest.raises(redis.exceptions.RedisError):
        connection.ping()
