"""What other machines may not reach."""

from __future__ import annotations

import pytest

from rqflow.deploy import exposure
from rqflow.exceptions import ConfigError


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False),
                                                ("::", False), ("192.0.2.1", False), ("10.0.0.1", False)])
def test_which_addresses_only_this_machine_reaches(host: str, expected: bool) -> None:
    assert exposure.is_loopback(host) is expected


@pytest.mark.parametrize("host", ["0.0.0.0", "", "192.0.2.1", "::"])
def test_r75_a_page_without_logins_is_not_shown_to_other_machines(host: str) -> None:
    """Reliability 75: the web server refuses, and says why."""
    with pytest.raises(ConfigError, match="no logins yet") as refused:
        exposure.refuse_open_page(host)
    assert "ssh -L" in refused.value.hint


def test_a_host_that_there_is_not_is_said() -> None:
    with pytest.raises(ConfigError, match=r"there is no host 'no\.such\.host\.invalid'"):
        exposure.is_loopback("no.such.host.invalid")
