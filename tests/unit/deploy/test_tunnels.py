"""The command of ssh, what its words mean, where the ends are, and how long is waited: all without any ssh."""

from __future__ import annotations

import shlex
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from rqflow.deploy import statedir
from rqflow.deploy.statedir import Machine
from rqflow.deploy.tunnels import checks, command, failures, places, status
from rqflow.deploy.tunnels.command import Ssh
from rqflow.deploy.tunnels.failures import Failure, State
from rqflow.deploy.tunnels.patience import Patience
from rqflow.exceptions import ConfigError
from rqflow.settings import Settings, Tunnels, load
from rqflow.tunnel import Tunnel, parse_tunnel

STATE = Path("/state")
MACHINE = Machine(host="here", uid=1000, mountinfo="")


def configured(home: Path, line: str, redis: str = "", database: str = "", **more: str) -> Settings:
    """Settings with one tunnel, hub."""
    given = {"RQFLOW__TUNNELS__HUB": line, "RQFLOW__REDIS__URL": redis, "RQFLOW__DATABASE__URL": database}
    return load(home=home, environ=given | {f"RQFLOW__TUNNELS__{key.upper()}": value for key, value in more.items()})


def held(settings: Settings) -> list[str]:
    """The command that holds the tunnel hub."""
    tunnel = settings.tunnels.named["hub"]
    return Ssh(tunnel=tunnel, settings=settings.tunnels, home=settings.home).forwarding(places.routes(tunnel, settings, STATE, MACHINE, "/there"))


def options(words: list[str]) -> dict[str, str]:
    """What is given by -o; the first of a name counts."""
    pairs = [words[place + 1].split("=", 1) for place, word in enumerate(words) if word == "-o"]
    return dict(reversed([(name, value) for name, value in pairs]))


def ends(words: list[str]) -> list[tuple[str, str]]:
    """What is given by -L and -R."""
    return [(word, words[place + 1]) for place, word in enumerate(words) if word in {"-L", "-R"}]


# ---------------------------------------------------------------- the command


def test_ssh_asks_nobody_trusts_only_known_hosts_and_ends_with_its_forwards(home: Path) -> None:
    words = held(configured(home, "-L rq@hub:2222 redis"))
    assert words[:2] == ["ssh", "-NT"]
    assert words[-4:] == ["-p", "2222", "--", "rq@hub"]
    expected = {
        "BatchMode": "yes", "ExitOnForwardFailure": "yes", "StrictHostKeyChecking": "yes", "UserKnownHostsFile": f'"{home}/keys/known_hosts"',
        "ServerAliveInterval": "15", "ServerAliveCountMax": "3", "StreamLocalBindUnlink": "yes", "StreamLocalBindMask": "0177", "ConnectTimeout": "10",
        "AddressFamily": "any", "ControlMaster": "no", "ControlPath": "none", "ForwardAgent": "no", "RemoteCommand": "none",
    }
    assert expected.items() <= options(words).items()
    assert "IdentityFile" not in options(words), "ssh takes what it takes by itself"
    assert "-F" not in words, "the person's own configuration holds"


def test_a_key_of_ours_is_the_only_one_that_is_shown(home: Path) -> None:
    (home / "keys").mkdir()
    (home / "keys" / "tunnel").touch()
    assert {"IdentityFile": f'"{home}/keys/tunnel"', "IdentitiesOnly": "yes"}.items() <= options(held(configured(home, "-L hub redis"))).items()
    named = options(held(configured(home, "-L hub redis identity=/k/100%")))
    assert named["IdentityFile"] == '"/k/100%%"', "% means something to ssh"


def test_the_kind_of_address_is_that_of_the_line_or_of_the_section(home: Path) -> None:
    assert options(held(configured(home, "-L hub redis", family="inet")))["AddressFamily"] == "inet"
    assert options(held(configured(home, "-L hub redis family=inet6", family="inet")))["AddressFamily"] == "inet6"


def test_services_over_there_appear_on_sockets_here_and_on_ports_only_when_asked(home: Path) -> None:
    plain = ends(held(configured(home, "-L hub redis database=/run/my:sql%.sock")))
    assert plain == [("-L", "/state/tunnels/hub/redis.sock:127.0.0.1:6379"), ("-L", "/state/tunnels/hub/database.sock:/run/my\\:sql%%.sock")]
    with_port = ends(held(configured(home, "-L hub redis=[::1]:7 port=6380", redis="tunnel://:secret@hub")))
    assert with_port == [("-L", "/state/tunnels/hub/redis.sock:[::1]:7"), ("-L", "127.0.0.1:6380:[::1]:7")]


def test_services_here_appear_over_there_and_are_tried_from_there(home: Path) -> None:
    found = ends(held(configured(home, "-R hub redis database", redis="unix:///run/r.sock", database="mysql://u:p@db:3307/rqflow")))
    assert found == [("-R", "/there/redis.sock:/run/r.sock"), ("-L", "/state/tunnels/hub/redis.check:/there/redis.sock"),
                     ("-R", "/there/database.sock:db:3307"), ("-L", "/state/tunnels/hub/database.check:/there/database.sock")]
    found = ends(held(configured(home, "-R hub redis port=6380", redis="redis://:pw@10.0.0.1")))
    assert found == [("-R", "127.0.0.1:6380:10.0.0.1:6379"), ("-L", "/state/tunnels/hub/redis.check:127.0.0.1:6380")]


@pytest.mark.parametrize(("database", "address"), [
    ("mysql://u@h/d", "h:3306"), ("mariadb://u@localhost/d?unix_socket=/run/m.sock", "/run/m.sock"), ("postgresql://u@h:6/d", "h:6"),
    ("postgresql://u@/d?host=/run/pg", "/run/pg/.s.PGSQL.5432"),
])
def test_where_the_own_database_is_stands_in_its_url(home: Path, database: str, address: str) -> None:
    assert ends(held(configured(home, "-R hub database", database=database)))[0] == ("-R", f"/there/database.sock:{address}")


def test_the_private_redis_may_go_through_a_tunnel_and_sqlite_not(home: Path) -> None:
    assert ends(held(configured(home, "-R hub redis")))[0] == ("-R", "/there/redis.sock:/state/redis.sock")
    with pytest.raises(ConfigError, match="where is the database that goes through it"):
        held(configured(home, "-R hub database"))


@pytest.mark.parametrize(("line", "redis"), [
    ("-L hub redis port=6380", ""), ("-L hub redis port=6380", "tunnel://hub"), ("-L hub redis port=6380", "tunnel://user@hub"),
    ("-L hub redis port=6380", "redis://:pw@other"), ("-R hub redis port=6380", "unix:///run/r.sock"), ("-R hub redis listen=0.0.0.0:6380", ""),
])
def test_a_port_without_a_password_of_redis_is_refused(home: Path, line: str, redis: str) -> None:
    with pytest.raises(ConfigError, match=r"would let every account of its machine use redis, and redis.url has no password"):
        held(configured(home, line, redis=redis))


def test_the_way_over_other_hosts_takes_our_key_and_our_known_hosts(home: Path) -> None:
    one = options(held(configured(home, "-L hub redis jump=me@gate:23")))["ProxyCommand"]
    words = shlex.split(one)
    assert words[0] == "ssh", "ssh puts exec before it"
    assert words[-2:] == ["-W", "[%h]:%p"]
    assert {"BatchMode": "yes", "UserKnownHostsFile": f'"{home}/keys/known_hosts"'}.items() <= options(words).items()
    assert "me@gate" in words
    two = shlex.split(options(held(configured(home, "-L hub redis jump=a,b")))["ProxyCommand"])
    inner = shlex.split(options([word.replace("%%", "%") for word in two])["ProxyCommand"])
    assert (two[-3], inner[-3], inner[-1]) == ("b", "a", "[%h]:%p"), "a is asked for b, and b for the hub"


def test_a_tunnel_that_rides_names_the_control_socket_or_leaves_it_to_ssh(home: Path) -> None:
    for line, path in (("-L hub redis control=/c", "/c"), ("-L hub redis control", None)):
        settings = configured(home, line)
        words = Ssh(tunnel=settings.tunnels.named["hub"], settings=settings.tunnels, home=home).control("check")
        assert options(words).get("ControlPath") == path
        assert words[words.index("-O") + 1] == "check"


# ---------------------------------------------------------------- URLs


@pytest.mark.parametrize(("url", "told"), [
    ("tunnel://hub", "unix:///state/tunnels/hub/redis.sock"), ("tunnel://hub/3", "unix:///state/tunnels/hub/redis.sock?db=3"),
    ("tunnel://u:p%40/w@hub/0", "unix://u:p%40/w@/state/tunnels/hub/redis.sock?db=0"), ("redis://h", "redis://h"),
])
def test_a_redis_behind_a_tunnel_is_a_socket(home: Path, url: str, told: str) -> None:
    assert places.resolve(configured(home, "-L hub redis", redis=url), STATE, MACHINE).redis.url == told


@pytest.mark.parametrize(("url", "told"), [
    ("mysql+tunnel://u:p@hub/rqflow?charset=utf8mb4", "mysql://u:p@localhost/rqflow?unix_socket=/state/tunnels/hub/database.sock&charset=utf8mb4"),
    ("postgresql+tunnel://u@hub/rqflow", "postgresql://u@/rqflow?host=/state/tunnels/hub"), ("sqlite:////x.db", "sqlite:////x.db"),
])
def test_a_database_behind_a_tunnel_is_a_socket(home: Path, url: str, told: str) -> None:
    assert places.resolve(configured(home, "-L hub redis database", database=url), STATE, MACHINE).database.url == told


@pytest.mark.parametrize(("line", "redis", "database", "message"), [
    ("-L h redis", "tunnel://hum", "", "redis.url: there is no tunnel 'hum'"), ("-L h database", "tunnel://hub", "", "no Redis goes through tunnel hub"),
    ("-R h redis", "tunnel://hub", "", "which leads from here to h"), ("-L h redis", "", "mysql+tunnel://u@hub/d", "no database goes through tunnel hub"),
    ("-L h database", "", "oracle+tunnel://u@hub/d", "is none that goes through a tunnel"),
])
def test_a_url_that_leads_nowhere_is_refused(home: Path, line: str, redis: str, database: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        places.resolve(configured(home, line, redis=redis, database=database), STATE, MACHINE)


def test_sockets_of_a_state_folder_with_a_long_path_are_elsewhere(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    found = places.place(deep, MACHINE, "hub")
    assert len(str(found.socket("database"))) < 108
    assert found.status.is_relative_to(deep)
    assert statedir.SOCKET_FOLDER_MAX + len("/database.check") <= 107


# ---------------------------------------------------------------- what ssh says


TUNNEL: Tunnel = parse_tunnel("hub", "-L rq@hub:2222 redis")


@pytest.mark.parametrize(("said", "state", "remedy"), [
    ("ssh: Could not resolve hostname hub: Name or service not known", State.NAME_UNKNOWN, "name"),
    ("ssh: connect to host hub port 22: No route to host", State.NO_ROUTE, "network"),
    ("ssh: connect to host hub port 22: Network is unreachable", State.NO_ROUTE, "network"),
    ("ssh: connect to host hub port 22: Connection refused", State.NO_SSHD, "sshd"),
    ("ssh: connect to host hub port 22: Connection timed out", State.NO_ANSWER, "firewall"),
    ("Connection timed out during banner exchange\nConnection to 192.0.2.1 port 22 timed out", State.NO_ANSWER, "firewall"),
    ("@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.", State.HOST_KEY_CHANGED, "-R '[hub]:2222'"),
    ("@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nOffending ED25519 key in /my keys:3\n", State.HOST_KEY_CHANGED, "sed -i 3d '/my keys'"),
    ("No ED25519 host key is known for hub and you have requested strict checking.\nHost key verification failed.", State.HOST_KEY_UNKNOWN,
     "rqflow tunnel trust hub"),
    ("rq@hub: Permission denied (publickey).", State.DENIED, "(/k.pub)"),
    ("Load key \"/k\": Permission denied\nrq@hub: Permission denied (publickey).", State.UNUSABLE, "chmod 600"),
    ("Error: remote port forwarding failed for listen port 6380", State.FORWARD_REFUSED, "ClientAliveInterval"),
    ("debug1: Remote: Server has disabled port forwarding.\nError: remote port forwarding failed for listen port 6380", State.FORWARD_REFUSED,
     "AllowTcpForwarding"),
    ("bind [127.0.0.1]:6380: Address already in use\nchannel_setup_fwd_listener_tcpip: cannot listen to port: 6380", State.FORWARD_REFUSED, "this machine"),
    ("kex_exchange_identification: read: Connection reset by peer\nConnection reset by 192.0.2.1 port 22", State.TURNED_AWAY, "MaxStartups"),
    ("Control socket connect(/c): No such file or directory", State.NEEDS_PERSON, "needs a person: ssh rq@hub -p 2222"),
    ("channel 0: open failed: connect failed: No route to host\nstdio forwarding failed\nkex_exchange_identification: Connection closed by remote host",
     State.NO_ROUTE, "on the way"),
    ("ssh: connect to host gate port 22: Connection refused\nkex_exchange_identification: Connection closed by remote host", State.NO_SSHD, "sshd"),
    ("Timeout, server hub not responding.", State.LOST, ""),
    ("client_loop: send disconnect: Broken pipe", State.LOST, ""),
    ("/x: line 1: Bad configuration option: foo", State.UNUSABLE, "Mend"),
    ("something else", State.FAILED, "by hand"), ("", State.LOST, ""),
])
def test_failures_are_told_apart_each_with_what_to_do(said: str, state: State, remedy: str) -> None:
    found = failures.understood(said.splitlines(), 255, TUNNEL, known_hosts="/kh", identity="/k")
    assert found.state is state
    assert remedy in found.remedy
    assert found.error


def test_a_remedy_has_no_open_place() -> None:
    for saying in failures._SAYINGS:
        assert "{" not in failures._filled(saying.remedy, TUNNEL, "forget", "")


# ---------------------------------------------------------------- waits


def waits(*states: State) -> list[float]:
    patience = Patience(Tunnels(retry_first=timedelta(seconds=1)))
    return [patience.after(Failure(state, "")) for state in states]


def test_waits_grow_to_a_limit_that_is_short_while_the_host_is_not_reached() -> None:
    found = waits(*[State.NO_ROUTE] * 8)
    assert all(0.8 * limit <= wait <= limit for wait, limit in zip(found, [1, 2, 4, 5, 5, 5, 5, 5], strict=True))
    assert 24 <= waits(*[State.FORWARD_REFUSED] * 9)[-1] <= 30


def test_after_three_refusals_of_our_key_it_is_tried_every_quarter_of_an_hour() -> None:
    assert waits(*[State.DENIED] * 4)[2:] == [900, 900]
    assert waits(State.DENIED, State.DENIED, State.NO_ROUTE, State.DENIED)[3] <= 30


def test_the_words_of_a_landing_are_carried_out_by_a_shell(tmp_path: Path) -> None:
    ssh = Ssh(tunnel=TUNNEL, settings=Tunnels(), home=tmp_path)
    script = ssh.landing("host:/it's home")[-1]
    (tmp_path / ".rqflow/tunnels/hub").mkdir(parents=True)
    (tmp_path / ".rqflow/tunnels/hub/redis.sock").touch()
    for _ in range(2):
        done = subprocess.run(["sh", "-c", script], env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=True)
        assert done.stdout == f"{command.MARK}{tmp_path.resolve()}/.rqflow/tunnels/hub\n"
    assert not (tmp_path / ".rqflow/tunnels/hub/redis.sock").exists()
    assert (tmp_path / ".rqflow/tunnels/hub").stat().st_mode & 0o777 == 0o700
    other = ssh.landing("other:/home")[-1]
    done = subprocess.run(["sh", "-c", other], env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, f"{command.TAKEN}host:/it's home\n")


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path leaves room for the names of sockets."""
    with tempfile.TemporaryDirectory(prefix="rq-") as name:
        yield Path(name)


def test_who_is_at_the_end_of_a_tunnel_of_another_machine_is_told_whose_it_is(home: Path, short: Path) -> None:
    folder = short / ".rqflow/tunnels/lab"
    folder.mkdir(parents=True)
    settings = load(home=home, environ={"RQFLOW__REDIS__URL": f"unix://:pw@{folder}/redis.sock?db=1",
                                        "RQFLOW__DATABASE__URL": f"mysql://u:p@localhost/d?unix_socket={folder}/database.sock"})
    assert [path.name for path in places.landed(settings)] == ["redis.sock", "database.sock"]
    assert "which has never come" in status.hint(settings, STATE, MACHINE)
    (folder / "owner").write_text("inside:/home/me\n")
    assert "the end of tunnel lab of the other side, which inside:/home/me keeps up" in status.hint(settings, STATE, MACHINE)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "redis.sock"))
        server.listen()
        seen = list(checks.look(settings))
    assert [(one.check, one.is_well) for one in seen] == [("tunnel lab: redis", True), ("tunnel lab: database", False)]
    assert "inside:/home/me lends it to us" in seen[0].detail
    assert places.landed(load(home=home, environ={"RQFLOW__REDIS__URL": "unix:///run/redis.sock"})) == []
