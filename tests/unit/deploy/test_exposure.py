"""What other machines may not reach."""

from __future__ import annotations

import pytest

from rqflow.broker.exposure import has_login, is_loopback, is_of_network, refuse_open_url
from rqflow.deploy import exposure
from rqflow.exceptions import ConfigError


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False),
                                                ("::", False), ("192.0.2.1", False), ("10.0.0.1", False)])
def test_which_addresses_only_this_machine_reaches(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize("host", ["0.0.0.0", "", "192.0.2.1", "::"])
def test_r75_a_page_without_a_user_is_not_shown_to_other_machines(host: str) -> None:
    """Reliability 75: the web server refuses, and says why."""
    with pytest.raises(ConfigError, match="there is no user yet") as refused:
        exposure.refuse_open_page(host, lambda: False)
    assert "rqflow user add" in refused.value.hint
    exposure.refuse_open_page(host, lambda: True)


def test_a_host_that_there_is_not_is_said() -> None:
    with pytest.raises(ConfigError, match=r"there is no host 'no\.such\.host\.invalid'"):
        exposure.refuse_open_page("no.such.host.invalid", lambda: True)


@pytest.mark.parametrize(("url", "of_network", "login"), [
    ("redis://127.0.0.1:6379/0", False, False), ("redis://:pw@127.0.0.1/0", False, True), ("unix:///run/redis.sock", False, False),
    ("unix://:pw@/run/redis.sock", False, True), ("redis://192.0.2.1:6379", True, False), ("rediss://me:pw@192.0.2.1/0", True, True),
    ("rediss://192.0.2.1/0?ssl_certfile=/a.pem", True, True), ("redis://192.0.2.1/0?password=x", True, True), ("redis://no.such.host.invalid", True, False),
    ("sentinel://192.0.2.1:26379/hub", True, False), ("redis://", False, False),
])
def test_r75_a_redis_of_the_network_needs_a_login_in_its_url(url: str, of_network: bool, login: bool) -> None:
    """Reliability 75: without one it is refused before anybody is asked."""
    assert (is_of_network(url), has_login(url)) == (of_network, login)
    if of_network and not login:
        with pytest.raises(ConfigError, match="has no password") as refused:
            refuse_open_url(url)
        assert "redis.allow_open" in refused.value.hint
    else:
        refuse_open_url(url)
