from __future__ import annotations

from pathlib import Path

import pytest

from rqflow.exceptions import ConfigError
from rqflow.settings import load
from rqflow.tunnel import Address, Direction, Forward, Target, parse_address, parse_target, parse_tunnel


def test_a_line_says_which_way_whom_and_what() -> None:
    found = parse_tunnel("hub", "-L rq@hub.example:2222 redis=/run/redis.sock database identity=keys/k jump=a,b@c:1 family=inet option=Compression=yes")
    assert found.direction is Direction.LOCAL
    assert found.target == Target("hub.example", "rq", 2222)
    assert found.forwards == (Forward("redis", Address(path="/run/redis.sock")), Forward("database"))
    assert found.jumps == (Target("a"), Target("c", "b", 1))
    assert (found.identity, found.family, found.options, found.rides) == ("keys/k", "inet", ("Compression=yes",), False)


def test_where_a_service_appears_is_a_port_of_loopback_or_any_address() -> None:
    found = parse_tunnel("hub", "-R h redis port=6380 database database_listen=/run/x/db.sock")
    assert [one.listen for one in found.forwards] == [Address(host="127.0.0.1", port=6380), Address(path="/run/x/db.sock")]
    assert parse_tunnel("hub", "-R h redis listen=10.0.0.1:7").forwards[0].listen == Address(host="10.0.0.1", port=7)


@pytest.mark.parametrize(("text", "control"), [("-L h redis control", ""), ("-L h redis control=~/.ssh/c", "~/.ssh/c")])
def test_a_tunnel_may_ride_on_the_connection_of_a_person(text: str, control: str) -> None:
    assert (parse_tunnel("x", text).rides, parse_tunnel("x", text).control) == (True, control)


@pytest.mark.parametrize(("text", "shown", "login"), [
    ("hub", "hub", "hub"), ("rq@hub:22", "rq@hub:22", "rq@hub"), ("[fe80::1%eth0]:7", "[fe80::1%eth0]:7", "fe80::1%eth0"), ("a@[::1]", "a@[::1]", "a@::1"),
])
def test_hosts_are_read_and_written(text: str, shown: str, login: str) -> None:
    assert (str(parse_target(text)), parse_target(text).login) == (shown, login)


@pytest.mark.parametrize("text", ["-oProxyCommand=x", "a b", "", "h:99999", "@h", "u@-h", "h/x", "h:"])
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no host"):
        parse_target(text)


@pytest.mark.parametrize("text", ["run/redis.sock", "h", "h:0", "h:x", "/a/${HOME}/b", ":1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no address|cannot be given to ssh"):
        parse_address(text)


@pytest.mark.parametrize(("text", "message"), [
    ("", "a tunnel is written as -L|-R"), ("hub redis", "a tunnel is written as"), ("-L hub", "a tunnel is written as"),
    ("-L hub database port=1", "it says where redis appears"), ("-L hub control", "nothing goes through it"), ("-L hub redis database_port=5", "that database goes"),
    ("-L hub redis colour=red", "'colour=red' is no word of a tunnel; there are redis, database, port"), ("-L hub redis jump", "'jump' is no word"),
    ("-L hub redis family=4", "family=4: there are any, inet, inet6"), ("-L hub redis option=x", "write it like option=Compression=yes"),
    ("-L hub redis 'x", "No closing quotation"),
])
def test_what_is_wrong_with_a_line_is_said(home: Path, text: str, message: str) -> None:
    (home / "rqflow.cfg").write_text(f"[tunnels]\nhub = {text}\n")
    with pytest.raises(ConfigError) as caught:
        load(home=home, environ={})
    assert message in caught.value.message
    assert "rqflow.cfg: tunnels.hub: " in caught.value.message


def test_a_misspelt_option_of_the_section_is_told_from_a_tunnel(home: Path) -> None:
    (home / "rqflow.cfg").write_text("[tunnels]\nfamly = inet\n")
    with pytest.raises(ConfigError) as caught:
        load(home=home, environ={})
    assert caught.value.hint == "Did you mean tunnels.family?"


@pytest.mark.parametrize("name", ["Hub", "-x", "a.b", "x" * 33, "a/b"])
def test_names_can_stand_in_paths_and_units(name: str) -> None:
    with pytest.raises(ValueError, match="a tunnel's name has small letters"):
        parse_tunnel(name, "-L h redis")


def test_a_tunnel_may_come_from_the_environment(home: Path) -> None:
    found = load(home=home, environ={"RQFLOW__TUNNELS__HUB": "-L h redis", "RQFLOW__TUNNELS__FAMILY": "inet"})
    assert (list(found.tunnels.named), found.tunnels.family, found.tunnels.lines) == (["hub"], "inet", {"hub": "-L h redis"})
    assert found.origins["tunnels.hub"] == "RQFLOW__TUNNELS__HUB"
