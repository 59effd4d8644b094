"""The proxy itself, in front of a real Redis: each fault is what it says, and ends."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.proxy import Proxy
from tests.waiting import until

#: Seconds that a call may take.
TIMEOUT = 0.3


@pytest.fixture
def proxy(redis_url: str, db: redis.Redis) -> Iterator[Proxy]:
    with Proxy(redis_url.removeprefix("unix://")) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(proxy.redis_url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0)) as client:
        assert client.ping()
        yield client


def test_what_is_sent_passes_both_ways(client: redis.Redis, proxy: Proxy, db: redis.Redis) -> None:
    value = bytes(range(256)) * 4000
    client.set("k", value)
    assert db.get("k") == value
    assert client.get("k") == value
    up, down = proxy.passed
    assert up > len(value) < down


def test_a_reset_breaks_what_is_connected_and_what_comes_until_healed(client: redis.Redis, proxy: Proxy) -> None:
    proxy.reset()
    assert proxy.connections == 0
    for _ in range(2):
        with pytest.raises(redis.exceptions.ConnectionError, match="reset"):
            client.ping()
    proxy.heal()
    assert client.ping()


def test_a_cut_is_over_at_once(client: redis.Redis, proxy: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as other:
        until(lambda: proxy.connections == 2, what="the other connection")
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            other.recv(1)
    assert client.ping()  # redis-py looks at an idle connection before it uses it


def test_a_tunnel_that_is_not_there_refuses_and_keeps_its_port(client: redis.Redis, proxy: Proxy) -> None:
    proxy.refuse()
    with socket.socket() as other, pytest.raises(ConnectionRefusedError):
        other.connect(("127.0.0.1", proxy.port))
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", proxy.port))
    proxy.heal()
    assert client.ping()


def test_a_black_hole_holds_what_is_sent_and_lets_it_pass_when_it_ends(client: redis.Redis, proxy: Proxy, db: redis.Redis) -> None:
    proxy.black_hole()
    for _ in range(2):  # on the old connection, then on a new one
        with pytest.raises(redis.exceptions.TimeoutError):
            client.incr("n")
    assert proxy.held
    assert not db.exists("n")
    proxy.heal()
    until(lambda: db.get("n") == b"1", what="the held request to pass")
    assert client.ping()


def test_what_a_black_hole_holds_may_come_after_what_is_sent_later(client: redis.Redis, proxy: Proxy, db: redis.Redis) -> None:
    proxy.black_hole()
    with pytest.raises(redis.exceptions.TimeoutError):
        client.set("k", "old")
    proxy.heal(hold=True)
    client.set("k", "new")
    assert proxy.held
    proxy.heal()
    until(lambda: db.get("k") == b"old", what="the old request to pass")


def test_a_lost_reply_leaves_its_request_carried_out(client: redis.Redis, proxy: Proxy, db: redis.Redis) -> None:
    proxy.drop_reply(b"INCR")
    assert client.ping()
    with pytest.raises(redis.exceptions.ConnectionError, match="reset"):
        client.incr("n")
    assert db.get("n") == b"1"
    assert client.incr("n") == 2
    assert proxy.dropped == 1


def test_a_lost_request_is_not_carried_out(client: redis.Redis, proxy: Proxy, db: redis.Redis) -> None:
    proxy.drop_request(lambda request: b"INCR" in request)
    with pytest.raises(redis.exceptions.ConnectionError, match="reset"):
        client.incr("n")
    assert proxy.dropped == 1
    assert client.incr("n") == 1


def test_every_third_reply_is_lost_however_large_the_request(client: redis.Redis, proxy: Proxy, db: redis.Redis) -> None:
    proxy.drop_reply(b"APPEND", times=None, every=3)
    lost = 0
    for _ in range(9):
        try:
            client.append("n", b"x" * 200_000)
        except redis.exceptions.ConnectionError:
            lost += 1
    assert lost == 3
    assert db.strlen("n") == 9 * 200_000


def test_a_whole_pipeline_reaches_the_server_although_its_reply_is_lost(client: redis.Redis, proxy: Proxy, db: redis.Redis) -> None:
    proxy.drop_reply(b"INCR")
    with client.pipeline(transaction=False) as pipe:
        for _ in range(100):
            pipe.incr("n")
        with pytest.raises(redis.exceptions.ConnectionError, match="reset"):
            pipe.execute()
    assert db.get("n") == b"100"


def test_delay_and_rate_make_it_slow_and_heal_makes_it_fast(client: redis.Redis, proxy: Proxy) -> None:
    def took() -> float:
        began = time.monotonic()
        client.echo("x" * 1000)
        return time.monotonic() - began

    proxy.delay(0.1)
    assert took() >= 0.2
    proxy.heal()
    proxy.rate(100_000)
    assert took() >= 0.16
    proxy.heal()
    assert min(took() for _ in range(3)) < 0.1


def test_a_diverted_client_comes_to_the_other_server(client: redis.Redis, proxy: Proxy) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        other.settimeout(5)
        proxy.divert(other.getsockname())
        with pytest.raises(redis.exceptions.TimeoutError):
            client.ping()
        other.accept()[0].close()
